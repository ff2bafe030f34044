/* A control group for each run: v2 where it is delegated to us, v1 where its hierarchies may be written. */
#ifndef SALLYPORT_CGROUP_H
#define SALLYPORT_CGROUP_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CGROUP_NONE = 0, CGROUP_V1 = 1, CGROUP_V2 = 2 };
/* v1's memory, pids and cpu; v2 has one. */
enum { CGROUP_HIERARCHIES = 3 };

struct cgroup {
    int mode, locks[CGROUP_HIERARCHIES];
    char name[48];
};
/* 0 where the kernel does not tell. */
struct cgroup_usage {
    uint64_t memory_peak, pids_peak, pids_hits, user_us, system_us;
    bool oom;
};

/* Finds where groups can be made (once, before the first run; moves this process into a child group on v2, since an inner
   group may hold no process). Returns CGROUP_*. */
int cgroup_setup(void);
/* Removes what a killed predecessor left. True: not all of it yet, try again. */
bool cgroup_sweep(void);
/* Makes a group; cpu: one in v1's `cpu` too. False with errno; cgroup_remove takes what was made. */
bool cgroup_make(struct cgroup *group, unsigned serial, bool cpu);
/* False with errno: no run may start with half its limits. memory, pids, cpu_milli: 0 is none. */
bool cgroup_limit(const struct cgroup *group, uint64_t memory, uint64_t pids, uint64_t cpu_milli);
/* v2: a descriptor for CLONE_INTO_CGROUP, else -1. */
int cgroup_open(const struct cgroup *group);
/* v1: opens the group's lists of tasks, CGROUP_HIERARCHIES descriptors (-1: none), for the new process to enter by. False with errno. */
bool cgroup_lists(const struct cgroup *group, int lists[CGROUP_HIERARCHIES]);
void cgroup_lists_close(int lists[CGROUP_HIERARCHIES]);
/* v1, in the new process: moves it into the group. False with errno. */
bool cgroup_enter(const int lists[CGROUP_HIERARCHIES]);
/* Kills what is in it (v2; on v1 the pid namespace does it). */
void cgroup_kill(const struct cgroup *group);
/* v1: the kernel has killed a process of it for memory. v2 itself ends the whole group then, v1 only the one. */
bool cgroup_lost_one(const struct cgroup *group);
void cgroup_usage(const struct cgroup *group, struct cgroup_usage *usage);
/* False while the kernel still holds it: try again later, or forget it. */
bool cgroup_remove(struct cgroup *group);
/* Leaves it to the next launcher. */
void cgroup_forget(struct cgroup *group);
#endif

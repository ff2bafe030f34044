/* One run as the launcher sees it. */
#ifndef SALLYPORT_RUN_H
#define SALLYPORT_RUN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "cgroup.h"
#include "proto.h"
#include "spec.h"
#include "watch.h"

/* A predecessor that was killed may have processes that take a while to die: 10 s. */
enum { SWEEP_RETRY_MS = 100, SWEEPS = 100 };
enum { SPARES = 2, DENIED_CALLS = 512 /* x86-64 has numbers below */ };
enum run_state { RUN_FREE = 0, RUN_SETUP, RUN_RUNNING, RUN_CLEANUP /* dead, its cgroup not yet removable */ };

struct run {
    enum run_state state;
    uint64_t handle;
    pid_t pid;
    int pidfd, ctl, notify, mounts /* its mount namespace */;
    uint32_t host_uid;
    bool started, failed, ended, hung_up /* init's end of ctl is closed */, wall_hit, killed;
    struct failure failure; /* of set-up; step points to failure_step */
    char failure_step[65];
    uint32_t flags, denied, denied_sent, window_count;
    uint64_t denied_told[DENIED_CALLS / 64]; /* a bit a system call */
    int64_t started_ms, deadline_ms, window_ms; /* CLOCK_MONOTONIC; deadline 0: none */
    uint64_t grace_ms, wall_ms;
    int64_t started_us;
    int status;
    struct rusage usage;
    struct cgroup cgroup;
    struct watch watch;
    struct learn *learn; /* NULL but in mode `learn` */
};

/* What the loop does with events: `out` is -1 in `once`. */
struct loop {
    int out;
    struct run runs[MAX_RUNS];
    struct run spares[SPARES]; /* RUN_SETUP: waits for an order */
    int64_t refill_ms, sweep_ms /* 0: nothing to sweep */;
    int sweeps;
    unsigned serial;
    int cgroup, self_pidfd;
    char *title; /* our argv in memory: a run's init blanks its copy, since /proc/1/cmdline would name a path of the host */
    size_t title_size;
    bool learn;  /* mode `learn`: a spec may ask for it */
    bool ending; /* no new spares */
    const struct spec *may; /* NULL: whoever asks us may name anything that we can read */
    bool broken; /* end */
    bool deaf;   /* the runner can't be told any more */
};

int64_t now_ms(void);
int64_t now_us(void);
/* Tells the runner, where there is one that still listens; else the loop ends. */
void tell(struct loop *loop, uint8_t kind, uint64_t handle, const void *payload, size_t size);

/* Starts a run from `spec`, which it frees; spec_fd: where it was read from, when it is sealed and can be read again, else -1.
   stdio[0..3]: descriptors that the caller keeps and closes, -1: absent. Never fails visibly: a run that could not begin
   is told as FAILED. */
void run_begin(struct loop *loop, uint64_t handle, struct spec *spec, int spec_fd, const int stdio[4]);
/* start.c. The step that failed, with errno, when there is no process; else what fails is told when the process has ended. */
const char *run_start(struct loop *loop, struct run *run, struct spec *spec, int spec_fd, const int stdio[4]);
/* Makes a spare when one is missing and it is time; returns ms to the next, or -1. */
int spares_clock(struct loop *loop);
/* Kills, when it has not died by itself, and forgets a spare. */
void spare_end(struct loop *loop, struct run *spare);
void run_refuse(struct loop *loop, uint64_t handle, const char *step, int error);
struct run *run_find(struct loop *loop, uint64_t handle);
/* 9 ends the run at once, any other signal goes to every process of it. */
void run_signal(struct run *run, int sig);
/* Reads what the run's init has said. */
void run_hear(struct loop *loop, struct run *run);
/* The run's init is dead, and with it everything: reap, tell, clean. */
void run_reap(struct loop *loop, struct run *run);
/* Deadlines; returns ms to the next one, or -1. */
int run_clock(struct loop *loop);
/* Its calls that the kernel asks about: notify_answer, in mode `learn` learn_answer. */
void run_notified(struct loop *loop, struct run *run);
/* Answers pending seccomp notifications of the run: always EPERM. */
void notify_answer(struct loop *loop, struct run *run);

/* The loop: until `sock` (a runner; -1 in once) ends. In once `only` is the run; returns when it is over. */
void serve_loop(struct loop *loop, int sock, int signals, void (*on_signal)(struct loop *loop, int signals));
void loop_init(struct loop *loop, int out);
void loop_kill_all(struct loop *loop);
/* Whether a run wants no more of the host than the confinement of its runner lists. */
bool allowed(const struct spec *may, const struct spec *wanted);
#endif

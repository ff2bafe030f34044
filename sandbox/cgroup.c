#define _GNU_SOURCE
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_files.h"
#include "die.h"

/* The directories under which groups are made; -1: that hierarchy can't be used. */
static int mode, unified = -1, memory_v1 = -1, pids_v1 = -1, cpu_v1 = -1;
/* In the names of our groups, beside our pid: two launchers of two pid namespaces may have the same. */
static uint32_t token;

/* Whoever makes a group holds a lock on it as long as it is in use, and the kernel lets go of it with the process, however
   that ended. A pid would not tell: it comes again, in a container soon, and means nothing in another pid namespace. */
static int lock_group(int dir, const char *name, int how) {
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, how) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* What launchers that are gone have left. True: something stays, as its processes are still dying. */
static bool remove_stale(int dir) {
    int copy = dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    bool stays = false;
    if (!list) return false;
    for (struct dirent *e; (e = readdir(list));) {
        unsigned pid, theirs, serial;
        if (sscanf(e->d_name, "sallyport-%u-%8x-%u", &pid, &theirs, &serial) != 3) continue;
        int lock = lock_group(dir, e->d_name, LOCK_EX | LOCK_NB);
        if (lock < 0) continue;
        if (unlinkat(dir, e->d_name, AT_REMOVEDIR)) stays |= errno == EBUSY;
        close(lock);
    }
    closedir(list);
    return stays;
}

bool cgroup_sweep(void) {
    const int dirs[] = {unified, memory_v1, pids_v1, cpu_v1};
    bool stays = false;
    for (size_t i = 0; mode && i < sizeof dirs / sizeof *dirs; i++) stays |= remove_stale(dirs[i]);
    return stays;
}

/* Where `controller`'s hierarchy (NULL: the unified one) is mounted and we are in it. Writable only. */
static int open_own(const char *controller) {
    char line[1024], own[512] = "", path[1200] = "";
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':');
        char *where = names ? strchr(names + 1, ':') : NULL;
        if (!where) continue;
        *where++ = 0;
        where[strcspn(where, "\n")] = 0;
        bool match = controller ? strcmp(names + 1, controller) == 0 : names[1] == 0;
        if (match) snprintf(own, sizeof own, "%s", where);
    }
    if (f) fclose(f);
    if (!own[0]) return -1;
    f = fopen("/proc/self/mountinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        char root[256], point[256], type[32], super[256];
        char *dash = strstr(line, " - ");
        if (!dash || sscanf(line, "%*d %*d %*s %255s %255s", root, point) != 2) continue;
        if (sscanf(dash, " - %31s %*s %255s", type, super) != 2) continue;
        if (strcmp(type, controller ? "cgroup" : "cgroup2") != 0) continue;
        if (controller) {
            char list[260], want[36];
            snprintf(list, sizeof list, ",%s,", super);
            snprintf(want, sizeof want, ",%s,", controller);
            if (!strstr(list, want)) continue;
        }
        /* A container shows a part of the hierarchy: what lies above its root is not in our path below the mount. */
        const char *below = own;
        size_t n = strcmp(root, "/") ? strlen(root) : 0;
        if (n && strncmp(own, root, n) == 0) below = own + n;
        snprintf(path, sizeof path, "%s%s", point, below);
    }
    if (f) fclose(f);
    if (!path[0] || access(path, W_OK)) return -1;
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool setup_v2(void) {
    unified = open_own(NULL);
    if (unified >= 0 && cgroup_hand_on(&unified)) return true;
    if (unified >= 0) close(unified);
    unified = -1;
    return false;
}

int cgroup_setup(void) {
    /* Once: after it we may sit one level lower, where looking again would find the wrong place. */
    static bool done;
    if (done) return mode;
    done = true;
    must(getrandom(&token, sizeof token, 0) != sizeof token, "random");
    if (setup_v2()) return mode = CGROUP_V2;
    memory_v1 = open_own("memory");
    pids_v1 = open_own("pids");
    cpu_v1 = open_own("cpu");
    if (cpu_v1 < 0) cpu_v1 = open_own("cpu,cpuacct");
    if (memory_v1 < 0 || pids_v1 < 0) return mode = CGROUP_NONE;
    return mode = CGROUP_V1;
}

static bool limit_v2(const char *name, uint64_t memory, uint64_t pids, uint64_t cpu_milli) {
    if (memory && !cgroup_write_number(unified, name, "memory.max", memory)) return false;
    /* Secrets lie in tmpfs: they must not reach a disk. No swap accounting in the kernel: nothing to forbid. */
    if (!cgroup_write_number(unified, name, "memory.swap.max", 0) && errno != ENOENT) return false;
    if (!cgroup_write_number(unified, name, "memory.oom.group", 1) && errno != ENOENT) return false;
    if (pids && !cgroup_write_number(unified, name, "pids.max", pids + 1)) return false;
    char text[48], path[96];
    snprintf(path, sizeof path, "%s/cpu.max", name);
    snprintf(text, sizeof text, "%llu 100000", (unsigned long long)cpu_milli * 100);
    return !cpu_milli || cgroup_write(unified, path, text) || errno == ENOENT;
}

static bool limit_v1(const char *name, uint64_t memory, uint64_t pids, uint64_t cpu_milli) {
    if (memory && !cgroup_write_number(memory_v1, name, "memory.limit_in_bytes", memory)) return false;
    if (memory && !cgroup_write_number(memory_v1, name, "memory.memsw.limit_in_bytes", memory) && errno != ENOENT) return false;
    if (!cgroup_write_number(memory_v1, name, "memory.swappiness", 0) && errno != ENOENT) return false;
    if (pids && !cgroup_write_number(pids_v1, name, "pids.max", pids + 1)) return false;
    if (!cpu_milli || cpu_v1 < 0) return true;
    return cgroup_write_number(cpu_v1, name, "cpu.cfs_period_us", 100000) && cgroup_write_number(cpu_v1, name, "cpu.cfs_quota_us", cpu_milli * 100);
}

/* 0700: nobody else may open it, and so hold its lock. */
static bool make_locked(int dir, const char *name, int *lock) {
    for (int tries = 0; tries < 3; tries++) {
        if (mkdirat(dir, name, 0700)) return false;
        *lock = lock_group(dir, name, LOCK_EX);
        if (*lock >= 0 && faccessat(dir, name, F_OK, 0) == 0) return true;
        if (*lock >= 0) close(*lock);
        *lock = -1;
        /* A launcher that starts took it for a stale one, before it was locked. */
        if (errno != ENOENT) return false;
    }
    return false;
}

bool cgroup_make(struct cgroup *group, unsigned serial, bool cpu) {
    *group = (struct cgroup){mode, {-1, -1, -1}, ""};
    snprintf(group->name, sizeof group->name, "sallyport-%d-%08x-%u", (int)getpid(), token, serial);
    if (mode == CGROUP_NONE) return true;
    if (mode == CGROUP_V2) return make_locked(unified, group->name, &group->locks[0]);
    return make_locked(memory_v1, group->name, &group->locks[0]) && make_locked(pids_v1, group->name, &group->locks[1]) &&
           (cpu_v1 < 0 || !cpu || make_locked(cpu_v1, group->name, &group->locks[2]));
}

bool cgroup_limit(const struct cgroup *group, uint64_t memory, uint64_t pids, uint64_t cpu_milli) {
    if (group->mode == CGROUP_NONE) return true;
    return (group->mode == CGROUP_V2 ? limit_v2 : limit_v1)(group->name, memory, pids, cpu_milli);
}

int cgroup_open(const struct cgroup *group) {
    return group->mode == CGROUP_V2 ? openat(unified, group->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

void cgroup_lists_close(int lists[CGROUP_HIERARCHIES]) {
    for (int i = 0; i < CGROUP_HIERARCHIES; i++) {
        if (lists[i] >= 0) close(lists[i]);
        lists[i] = -1;
    }
}

bool cgroup_lists(const struct cgroup *group, int lists[CGROUP_HIERARCHIES]) {
    const int dirs[CGROUP_HIERARCHIES] = {memory_v1, pids_v1, cpu_v1};
    char path[64];
    snprintf(path, sizeof path, "%s/tasks", group->name);
    for (int i = 0; i < CGROUP_HIERARCHIES; i++) lists[i] = -1;
    if (group->mode != CGROUP_V1) return true;
    for (int i = 0; i < CGROUP_HIERARCHIES; i++) {
        if (dirs[i] < 0) continue;
        lists[i] = openat(dirs[i], path, O_WRONLY | O_CLOEXEC);
        /* The group in `cpu` is only made for a run that has such a limit. */
        if (lists[i] >= 0 || (dirs[i] == cpu_v1 && errno == ENOENT)) continue;
        int error = errno;
        cgroup_lists_close(lists);
        errno = error;
        return false;
    }
    return true;
}

/* A thread that moves itself ("0" into `tasks`) is the one case in which the kernel takes no lock on all forks and exits
   (cgroup_procs_write_start); for any other it waits for an RCU grace period, 7 to 19 ms. */
bool cgroup_enter(const int lists[CGROUP_HIERARCHIES]) {
    for (int i = 0; i < CGROUP_HIERARCHIES; i++)
        if (lists[i] >= 0 && write(lists[i], "0", 1) != 1) return false;
    return true;
}

void cgroup_kill(const struct cgroup *group) {
    /* Linux 5.14; where it is missing, the end of the run's init does the same. */
    if (group->mode == CGROUP_V2 && !cgroup_write_number(unified, group->name, "cgroup.kill", 1)) errno = 0;
}

bool cgroup_lost_one(const struct cgroup *group) {
    return group->mode == CGROUP_V1 && cgroup_number(memory_v1, group->name, "memory.oom_control", "oom_kill ") > 0;
}

void cgroup_usage(const struct cgroup *group, struct cgroup_usage *usage) {
    *usage = (struct cgroup_usage){0};
    if (group->mode == CGROUP_V2) {
        usage->memory_peak = cgroup_number(unified, group->name, "memory.peak", "");
        usage->oom = cgroup_number(unified, group->name, "memory.events", "oom_kill ") > 0;
        usage->pids_hits = cgroup_number(unified, group->name, "pids.events", "max ");
        usage->pids_peak = cgroup_number(unified, group->name, "pids.peak", "");
        usage->user_us = cgroup_number(unified, group->name, "cpu.stat", "user_usec ");
        usage->system_us = cgroup_number(unified, group->name, "cpu.stat", "system_usec ");
    } else if (group->mode == CGROUP_V1) {
        usage->memory_peak = cgroup_number(memory_v1, group->name, "memory.max_usage_in_bytes", "");
        usage->oom = cgroup_number(memory_v1, group->name, "memory.oom_control", "oom_kill ") > 0;
        usage->pids_hits = cgroup_number(pids_v1, group->name, "pids.events", "max ");
        usage->pids_peak = cgroup_number(pids_v1, group->name, "pids.peak", "");
    }
}

bool cgroup_remove(struct cgroup *group) {
    const int dirs[] = {unified, memory_v1, pids_v1, cpu_v1};
    bool gone = true;
    for (size_t i = 0; group->mode && i < sizeof dirs / sizeof *dirs; i++)
        if (dirs[i] >= 0 && unlinkat(dirs[i], group->name, AT_REMOVEDIR) && errno != ENOENT) gone = false;
    if (gone) cgroup_forget(group);
    return gone;
}

void cgroup_forget(struct cgroup *group) {
    for (int i = 0; group->mode && i < CGROUP_HIERARCHIES; i++)
        if (group->locks[i] >= 0) close(group->locks[i]);
    group->mode = CGROUP_NONE;
}

/* Resource limits of the Op's own process; the cgroup bounds the whole run (cgroup.c). */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>

#include "child.h"
#include "die.h"

/* gVisor knows some limits that nobody can set there. */
static bool unsettable;

/* V8 makes 512 MiB writable for the code of each worker, threads have their stacks, and nearly nothing of it is ever touched.
   Enough for the program and three workers. */
static const rlim_t NODE_RESERVES = (rlim_t)4 * 576 << 20;

static void lower(__rlimit_resource_t which, rlim_t value, const char *step) {
    struct rlimit now;
    must(getrlimit(which, &now), step);
    if (now.rlim_max != RLIM_INFINITY && value > now.rlim_max) value = now.rlim_max;
    struct rlimit next = {value, value};
    must(setrlimit(which, &next) && !(unsettable && errno == EPERM), step);
}

void limits_apply(const struct child *c) {
    const uint64_t *limit = c->spec->limit;
    unsettable = c->inner;
    /* 1, not 0: a core_pattern that names a program (systemd-coredump) ignores 0 but not this, see core(5). */
    lower(RLIMIT_CORE, 1, "rlimit(core)");
    lower(RLIMIT_MEMLOCK, 64 << 10, "rlimit(memlock)");
    lower(RLIMIT_MSGQUEUE, 819200, "rlimit(msgqueue)");
    lower(RLIMIT_SIGPENDING, 1024, "rlimit(sigpending)");
    lower(RLIMIT_NICE, 0, "rlimit(nice)");
    lower(RLIMIT_RTPRIO, 0, "rlimit(rtprio)");
    lower(RLIMIT_NOFILE, limit[LIMIT_NOFILE], "rlimit(nofile)");
    /* Counted in the run's own user namespace since Linux 5.14, so other processes of the user do not matter. +1: init;
       one more where a cgroup bounds them, since only that can tell when its limit was reached. */
    if (limit[LIMIT_PIDS]) lower(RLIMIT_NPROC, limit[LIMIT_PIDS] + (c->cgroup ? 2 : 1), "rlimit(nproc)");
    if (limit[LIMIT_CPU_SECONDS]) lower(RLIMIT_CPU, limit[LIMIT_CPU_SECONDS], "rlimit(cpu)");
    if (limit[LIMIT_FSIZE]) lower(RLIMIT_FSIZE, limit[LIMIT_FSIZE], "rlimit(fsize)");
    /* Without a cgroup the best there is: per process, and written pages only (RLIMIT_AS would count V8's reservations). */
    rlim_t reserved = c->spec->node ? NODE_RESERVES : 0;
    if (!c->cgroup && limit[LIMIT_MEMORY]) lower(RLIMIT_DATA, limit[LIMIT_MEMORY] + reserved, "rlimit(data)");
}

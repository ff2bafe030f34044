/* What a run uses, looked at from outside: the bound where no cgroup keeps one (`limits: best-effort`). */
#ifndef SALLYPORT_WATCH_H
#define SALLYPORT_WATCH_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Between two looks at a run. What it does in between goes unseen: rlimits and tmpfs sizes are all that holds then. */
enum { WATCH_MS = 250 };
enum watch_over { WATCH_FINE = 0, WATCH_MEMORY, WATCH_PIDS };

struct watch {
    uint64_t memory, pids; /* limits; bytes, threads; 0: none */
    uint64_t memory_peak, pids_peak; /* seen */
    int64_t next_ms; /* 0: not watched */
    enum watch_over over;
};

/* Looks at `init` and all its descendants. True: over a limit, `over` says which. Never fails: what is gone uses nothing. */
bool watch_look(struct watch *watch, pid_t init);
#endif

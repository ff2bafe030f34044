/* The launcher's side of a run: its beginning (start.c), then what its init says, and its end. */
#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "die.h"
#include "engine.h"
#include "learn.h"

enum { SETUP_MS = 10000, CLEANUP_RETRY_MS = 10, CLEANUP_MS = 5000 };

int64_t now_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}
int64_t now_ms(void) {
    return now_us() / 1000;
}

void run_refuse(struct loop *loop, uint64_t handle, const char *step, int error) {
    char payload[4 + 64];
    uint32_t number = (uint32_t)error;
    size_t n = strnlen(step, 64);
    memcpy(payload, &number, 4);
    memcpy(payload + 4, step, n);
    tell(loop, FRAME_FAILED, handle, payload, 4 + n);
    if (loop->out < 0) {
        dprintf(2, "launcher: %s: %s\n", step, strerror(error));
    }
}

struct run *run_find(struct loop *loop, uint64_t handle) {
    for (int i = 0; i < MAX_RUNS; i++)
        if ((loop->runs[i].state == RUN_SETUP || loop->runs[i].state == RUN_RUNNING) && loop->runs[i].handle == handle)
            return &loop->runs[i];
    return NULL;
}

void run_begin(struct loop *loop, uint64_t handle, struct spec *spec, int spec_fd, const int stdio[4]) {
    struct run *run = NULL;
    /* Where Ops run for an appliance, nothing that the kernel asks about is ever let through. */
    if (spec->learn && !loop->learn) {
        run_refuse(loop, handle, "learn", EPERM);
        spec_free(spec);
        return;
    }
    for (int i = 0; i < MAX_RUNS && !run; i++)
        if (loop->runs[i].state == RUN_FREE) run = &loop->runs[i];
    if (!run || run_find(loop, handle) || !handle) {
        run_refuse(loop, handle, run ? "handle" : "busy", run ? EEXIST : EAGAIN);
        spec_free(spec);
        return;
    }
    *run = (struct run){.state = RUN_SETUP, .handle = handle, .pidfd = -1, .ctl = -1, .notify = -1, .mounts = -1};
    run->wall_ms = spec->limit[LIMIT_WALL_MS];
    run->watch.memory = engine_allow(spec->limit[LIMIT_MEMORY], engine_memory(spec->engine));
    run->watch.pids = engine_allow(spec->limit[LIMIT_PIDS], engine_pids(spec->engine));
    run->grace_ms = spec->limit[LIMIT_GRACE_MS];
    run->deadline_ms = now_ms() + SETUP_MS;
    const char *step = spec->learn && !learn_begin(run, spec) ? "learn" : run_start(loop, run, spec, spec_fd, stdio);
    int error = errno;
    spec_free(spec);
    if (!step) return;
    if (run->ctl >= 0) close(run->ctl);
    if (!cgroup_remove(&run->cgroup)) cgroup_forget(&run->cgroup);
    learn_end(run);
    run->state = RUN_FREE;
    run->failed = true;
    run_refuse(loop, handle, step, error);
}

void run_signal(struct run *run, int sig) {
    if (run->state != RUN_SETUP && run->state != RUN_RUNNING) return;
    if (sig == SIGKILL) {
        run->killed = true;
        cgroup_kill(&run->cgroup);
    }
    /* ESRCH: it ended by itself, its end is about to be read. */
    if (syscall(SYS_pidfd_send_signal, run->pidfd, sig, NULL, 0)) errno = 0;
}

static void on_started(struct loop *loop, struct run *run, uint32_t flags, int listener) {
    run->started = true;
    run->state = RUN_RUNNING;
    run->flags = flags;
    run->notify = listener;
    run->started_us = now_us();
    run->deadline_ms = run->wall_ms ? now_ms() + (int64_t)run->wall_ms : 0;
    run->watch.next_ms = run->cgroup.mode == CGROUP_V2 ? 0 : now_ms() + WATCH_MS;
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)run->pid);
    /* As long as we hold it, the end of the run's init needs not wait for its file systems' (an RCU grace period). Only
       root may, and without it only that is lost. */
    run->mounts = open(path, O_RDONLY | O_CLOEXEC);
    struct msg_started m = {(uint32_t)run->pid, (uint32_t)run->cgroup.mode, flags};
    tell(loop, FRAME_STARTED, run->handle, &m, sizeof m);
}

void run_hear(struct loop *loop, struct run *run) {
    for (;;) {
        char data[128];
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = {data, sizeof data};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
        ssize_t n = recvmsg(run->ctl, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) run->hung_up = true;
        if (n <= 0) return;
        int listener = -1;
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        if (h && h->cmsg_type == SCM_RIGHTS) memcpy(&listener, CMSG_DATA(h), sizeof listener);
        if (data[0] == 'F' && n >= 5 && !run->failed && !run->started) {
            uint32_t error;
            memcpy(&error, data + 1, 4);
            size_t size = (size_t)n - 5 < 64 ? (size_t)n - 5 : 64;
            memcpy(run->failure_step, data + 5, size);
            run->failed = true;
            run->failure = (struct failure){run->failure_step, (int)error};
        } else if (data[0] == 'S' && n == sizeof(struct pkt_started) && !run->started) {
            struct pkt_started p;
            memcpy(&p, data, sizeof p);
            on_started(loop, run, p.flags, listener);
            listener = -1;
        } else if (data[0] == 'E' && n == sizeof(struct pkt_ended)) {
            struct pkt_ended p;
            memcpy(&p, data, sizeof p);
            run->ended = true;
            run->status = p.status;
        }
        if (listener >= 0) close(listener);
    }
}

static uint64_t micros(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static uint64_t greater(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void tell_exit(struct loop *loop, struct run *run) {
    struct cgroup_usage used;
    cgroup_usage(&run->cgroup, &used);
    struct msg_exited m = {0};
    /* No word from init: it was killed with all the rest. */
    if (!run->ended) run->status = SIGKILL;
    if (WIFEXITED(run->status)) m.code = (uint32_t)WEXITSTATUS(run->status);
    else m.signal = (uint32_t)WTERMSIG(run->status);
    m.flags = (run->wall_hit ? EXITED_WALL : 0) | (run->killed && !run->wall_hit ? EXITED_KILLED : 0) |
              (used.oom || run->watch.over == WATCH_MEMORY ? EXITED_OOM : 0) | (run->watch.over == WATCH_PIDS ? EXITED_PIDS : 0);
    m.denied = run->denied;
    m.wall_us = (uint64_t)(now_us() - run->started_us);
    /* A process whose parent ignores SIGCHLD is missing in what wait4 tells, so the group's word is better. */
    m.user_us = greater(used.user_us, micros(run->usage.ru_utime));
    m.system_us = greater(used.system_us, micros(run->usage.ru_stime));
    m.max_rss = greater((uint64_t)run->usage.ru_maxrss * 1024, run->watch.memory_peak);
    m.memory_peak = used.memory_peak;
    m.pids_hits = used.pids_hits;
    /* Less init, which is ours. The Op itself was there, seen or not. */
    m.pids_peak = used.pids_peak > 1 ? used.pids_peak - 1 : greater(run->watch.pids_peak, 1);
    tell(loop, FRAME_EXITED, run->handle, &m, sizeof m);
}

/* It ended before the Op began, and said nothing. What it is given counts as its memory, and files that don't fit are the
   Op's fault, not the host's. */
static struct failure unexplained(const struct run *run) {
    struct cgroup_usage used;
    cgroup_usage(&run->cgroup, &used);
    return used.oom ? (struct failure){"memory", ENOMEM} : (struct failure){"lost", ECHILD};
}

void run_notified(struct loop *loop, struct run *run) {
    if (run->learn) learn_answer(loop, run);
    else notify_answer(loop, run);
}

void run_reap(struct loop *loop, struct run *run) {
    run_hear(loop, run);
    if (run->notify >= 0) run_notified(loop, run);
    int status;
    if (wait4(run->pid, &status, WNOHANG | __WALL, &run->usage) != run->pid) return;
    close(run->pidfd);
    close(run->ctl);
    if (run->notify >= 0) close(run->notify);
    run->pidfd = run->ctl = run->notify = -1;
    if (run->started) {
        tell_exit(loop, run);
    } else {
        if (!run->failed) run->failure = unexplained(run);
        run->failed = true;
        run_refuse(loop, run->handle, run->failure.step, run->failure.error);
    }
    if (run->mounts >= 0) close(run->mounts);
    run->mounts = -1;
    learn_end(run);
    run->state = RUN_CLEANUP;
    run->deadline_ms = now_ms() + CLEANUP_MS;
    if (cgroup_remove(&run->cgroup)) run->state = RUN_FREE;
}

static void past_deadline(struct run *run) {
    if (run->state == RUN_SETUP) {
        if (!run->failed) run->failure = (struct failure){"set-up time", ETIMEDOUT};
        run->failed = true;
        run_signal(run, SIGKILL);
        run->deadline_ms = 0;
    } else if (!run->wall_hit && run->grace_ms) {
        run->wall_hit = true;
        run_signal(run, SIGTERM);
        run->deadline_ms = now_ms() + (int64_t)run->grace_ms;
    } else {
        run->wall_hit = true;
        run_signal(run, SIGKILL);
        run->deadline_ms = 0;
    }
}

static int64_t sooner(int64_t a, int64_t b) {
    return b >= 0 && (a < 0 || b < a) ? b : a;
}

/* Where no cgroup bounds it, or does not end it as a whole. Returns ms to the next look. */
static int64_t watched(struct run *run, int64_t now) {
    if (now < run->watch.next_ms) return run->watch.next_ms - now;
    if (run->cgroup.mode == CGROUP_V1 ? cgroup_lost_one(&run->cgroup) : watch_look(&run->watch, run->pid)) {
        run_signal(run, SIGKILL);
        run->watch.next_ms = 0;
        return -1;
    }
    run->watch.next_ms = now_ms() + WATCH_MS;
    return WATCH_MS;
}

int run_clock(struct loop *loop) {
    int64_t now = now_ms(), next = -1;
    for (int i = 0; i < MAX_RUNS; i++) {
        struct run *run = &loop->runs[i];
        int64_t left = -1;
        if (run->state == RUN_CLEANUP) {
            bool gone = cgroup_remove(&run->cgroup);
            if (!gone && now > run->deadline_ms) cgroup_forget(&run->cgroup);
            if (gone || now > run->deadline_ms) run->state = RUN_FREE;
            else left = CLEANUP_RETRY_MS;
        } else if (run->state != RUN_FREE && run->deadline_ms) {
            if (now >= run->deadline_ms) past_deadline(run);
            left = run->deadline_ms ? run->deadline_ms - now : -1;
        }
        next = sooner(next, left);
        if (run->state == RUN_RUNNING && run->watch.next_ms) next = sooner(next, watched(run, now));
    }
    if (loop->sweep_ms && now >= loop->sweep_ms)
        loop->sweep_ms = cgroup_sweep() && ++loop->sweeps < SWEEPS ? now + SWEEP_RETRY_MS : 0;
    if (loop->sweep_ms) next = sooner(next, loop->sweep_ms - now);
    return next > 60000 ? 60000 : (int)next;
}

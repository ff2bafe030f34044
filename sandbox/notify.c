/* Refused calls that are events: the kernel asks us, we say EPERM and tell the runner. Never anything else: CONTINUE would
   let another thread change what a pointer points to after we looked. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "caller.h"
#include "run.h"

/* Told to the runner: the first of each call, so that a flood of one hides no other; then so many a second, so many a run.
   Further ones are counted. A flood is also slowed down, since each call waits for us and we take only some at a turn of
   the loop. */
enum { TELL_PER_SECOND = 32, TELL_PER_RUN = 256, PER_TURN = 16, SPARE = 256 };

static bool is_first(struct run *run, int nr) {
    if (nr < 0 || nr >= DENIED_CALLS) return false;
    uint64_t bit = UINT64_C(1) << (nr % 64), *told = &run->denied_told[nr / 64];
    bool first = !(*told & bit);
    *told |= bit;
    return first;
}

static void tell_denied(struct loop *loop, struct run *run, const struct seccomp_notif *n) {
    run->denied++;
    int64_t now = now_ms();
    if (now - run->window_ms >= 1000) {
        run->window_ms = now;
        run->window_count = 0;
    }
    if (!is_first(run, n->data.nr)) {
        if (run->window_count >= TELL_PER_SECOND || run->denied_sent >= TELL_PER_RUN) return;
        run->window_count++;
        run->denied_sent++;
    }
    struct msg_denied m = {.nr = (uint32_t)n->data.nr, .arch = n->data.arch, .pid = n->pid, .count = run->denied};
    for (int i = 0; i < 6; i++) m.args[i] = n->data.args[i];
    struct caller caller;
    caller_read((pid_t)n->pid, &caller);
    /* Killed meanwhile: the number may be somebody else's by now. */
    uint64_t id = n->id;
    if (ioctl(run->notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0) {
        m.run_pid = caller.pid;
        memcpy(m.run_name, caller.name, sizeof m.run_name);
    }
    tell(loop, FRAME_DENIED, run->handle, &m, sizeof m);
}

void notify_answer(struct loop *loop, struct run *run) {
    static struct seccomp_notif_sizes sizes;
    if (!sizes.seccomp_notif && syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes)) return;
    union {
        struct seccomp_notif notif;
        char space[sizeof(struct seccomp_notif) + SPARE];
    } in;
    union {
        struct seccomp_notif_resp resp;
        char space[sizeof(struct seccomp_notif_resp) + SPARE];
    } out;
    if (sizes.seccomp_notif > sizeof in || sizes.seccomp_notif_resp > sizeof out) return;
    for (int turn = 0; turn < PER_TURN; turn++) {
        struct pollfd p = {run->notify, POLLIN, 0};
        if (poll(&p, 1, 0) <= 0) return;
        if (!(p.revents & POLLIN)) {
            /* No process has the filter any more. */
            close(run->notify);
            run->notify = -1;
            return;
        }
        memset(&in, 0, sizeof in);
        if (ioctl(run->notify, SECCOMP_IOCTL_NOTIF_RECV, &in)) {
            if (errno == EINTR || errno == ENOENT) continue;
            /* None at all: an engine hands on what a container gave it. It would be readable for ever. */
            close(run->notify);
            run->notify = -1;
            return;
        }
        tell_denied(loop, run, &in.notif);
        memset(&out, 0, sizeof out);
        out.resp.id = in.notif.id;
        out.resp.error = -EPERM;
        /* ENOENT: the caller was killed meanwhile. */
        if (ioctl(run->notify, SECCOMP_IOCTL_NOTIF_SEND, &out)) errno = 0;
    }
}

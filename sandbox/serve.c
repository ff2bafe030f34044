/* The launcher's loop: the runner's frames, the runs' control sockets, pidfds and notifications, signals, deadlines. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "die.h"
#include "run.h"

enum { QUEUE = 64, MAX_PING = 64 };

/* Bytes and descriptors that came, not yet used. A frame's descriptors arrive with its first byte, so by the time that the
   frame is whole they are the oldest ones here. */
struct inbox {
    char data[2 * FRAME_MAX];
    size_t size;
    int fds[QUEUE];
    size_t fd_count;
};

static int take_fd(struct inbox *in) {
    if (!in->fd_count) return -1;
    int fd = in->fds[0];
    in->fd_count--;
    memmove(in->fds, in->fds + 1, in->fd_count * sizeof(int));
    return fd;
}

/* What a run may hold: a pipe, a socket, a memfd, /dev/null. Never a file or directory of the host, through which it would
   reach out of its root (CVE-2024-21626). */
static bool may_hold(int fd) {
    struct stat st;
    if (fstat(fd, &st)) return false;
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) return true;
    if (S_ISCHR(st.st_mode)) return st.st_rdev == makedev(1, 3);
    return S_ISREG(st.st_mode) && st.st_nlink == 0 && fcntl(fd, F_GET_SEALS) >= 0;
}

static bool on_run(struct loop *loop, struct inbox *in, uint64_t handle, const uint8_t *payload, size_t size) {
    if (size != 1 || (payload[0] & ~HAS_ALL)) return false;
    int fds[5];
    fds[0] = take_fd(in);
    bool ok = fds[0] >= 0;
    for (int i = 0; i < 4; i++) {
        bool has = payload[0] & (1 << i);
        fds[i + 1] = has ? take_fd(in) : -1;
        if (has && fds[i + 1] < 0) ok = false;
    }
    if (ok) {
        struct failure why;
        struct spec *spec = spec_load(fds[0], SPEC_RUN, true, &why);
        bool fit = true;
        for (int i = 1; i < 5; i++) fit &= fds[i] < 0 || may_hold(fds[i]);
        if (!spec) {
            run_refuse(loop, handle, why.step, why.error);
        } else if (fit) {
            run_begin(loop, handle, spec, fds[0], fds + 1);
        } else {
            run_refuse(loop, handle, "stdio", EISDIR);
            spec_free(spec);
        }
    }
    for (int i = 0; i < 5; i++)
        if (fds[i] >= 0) close(fds[i]);
    return ok;
}

static bool on_frame(struct loop *loop, struct inbox *in, const struct frame_header *h, const uint8_t *payload) {
    size_t size = h->total - FRAME_HEADER;
    switch (h->kind) {
    case FRAME_RUN:
        return on_run(loop, in, h->handle, payload, size);
    case FRAME_KILL: {
        uint32_t sig;
        if (size != sizeof sig) return false;
        memcpy(&sig, payload, sizeof sig);
        if (sig == 0 || sig > 64) return false;
        /* No such run: it has just ended, and EXITED is on its way. */
        struct run *run = run_find(loop, h->handle);
        if (run) run_signal(run, (int)sig);
        return true;
    }
    case FRAME_PING:
        if (size > MAX_PING) return false;
        tell(loop, FRAME_PONG, h->handle, payload, size);
        return true;
    default:
        return false;
    }
}

static bool read_more(int sock, struct inbox *in) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * RUN_MAX_FDS)];
    } control;
    struct iovec iov = {in->data + in->size, sizeof in->data - in->size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    bool ok = n > 0 && !(msg.msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (in->fd_count < QUEUE) in->fds[in->fd_count++] = fd;
            else ok = (close(fd), false);
        }
    }
    in->size += n > 0 ? (size_t)n : 0;
    return ok;
}

/* False: the peer is gone, or said something that is not in the protocol. */
static bool on_readable(struct loop *loop, int sock, struct inbox *in) {
    if (!read_more(sock, in)) return false;
    size_t at = 0;
    while (in->size - at >= FRAME_HEADER) {
        struct frame_header h;
        memcpy(&h, in->data + at, sizeof h);
        if (h.total < FRAME_HEADER || h.total > FRAME_MAX) return false;
        if (in->size - at < h.total) break;
        if (!on_frame(loop, in, &h, (const uint8_t *)in->data + at + FRAME_HEADER)) return false;
        at += h.total;
    }
    in->size -= at;
    memmove(in->data, in->data + at, in->size);
    return true;
}

void loop_init(struct loop *loop, int out) {
    *loop = (struct loop){.out = out, .title = loop->title, .title_size = loop->title_size};
    for (int i = 0; i < MAX_RUNS; i++) loop->runs[i].pidfd = loop->runs[i].ctl = loop->runs[i].notify = loop->runs[i].mounts = -1;
    loop->cgroup = cgroup_setup();
    if (cgroup_sweep()) loop->sweep_ms = now_ms() + SWEEP_RETRY_MS;
    loop->self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    must(loop->self_pidfd < 0, "pidfd_open");
    if (out < 0) return;
    struct msg_hello m = {PROTO_VERSION, (uint32_t)loop->cgroup};
    tell(loop, FRAME_HELLO, 0, &m, sizeof m);
}

static size_t live(const struct loop *loop) {
    size_t n = 0;
    for (int i = 0; i < MAX_RUNS; i++) n += loop->runs[i].state != RUN_FREE;
    return n;
}

/* One turn. False: the runner's socket is finished. */
static bool turn(struct loop *loop, int sock, struct inbox *in, int signals, void (*on_signal)(struct loop *, int)) {
    struct pollfd polls[2 + 3 * MAX_RUNS + SPARES];
    struct run *owner[2 + 3 * MAX_RUNS + SPARES];
    nfds_t count = 0;
    polls[count++] = (struct pollfd){sock, POLLIN, 0};
    polls[count++] = (struct pollfd){signals, POLLIN, 0};
    for (int i = 0; i < MAX_RUNS; i++) {
        struct run *run = &loop->runs[i];
        if (run->state != RUN_SETUP && run->state != RUN_RUNNING) continue;
        int fds[3] = {run->ctl, run->notify, run->pidfd};
        for (int k = 0; k < 3; k++) {
            /* Init's end is closed some time before its namespace is gone, which the pidfd tells: till then it would spin. */
            if (fds[k] < 0 || (k == 0 && (run->ended || run->hung_up))) continue;
            owner[count] = run;
            polls[count++] = (struct pollfd){fds[k], POLLIN, 0};
        }
    }
    nfds_t spares = count;
    int timeout = run_clock(loop), refill = loop->ending ? -1 : spares_clock(loop);
    if (refill >= 0 && (timeout < 0 || refill < timeout)) timeout = refill;
    for (int i = 0; i < SPARES; i++) {
        if (loop->spares[i].state == RUN_FREE) continue;
        owner[count] = &loop->spares[i];
        polls[count++] = (struct pollfd){loop->spares[i].pidfd, POLLIN, 0};
    }
    int n = poll(polls, count, timeout);
    if (n <= 0) return n == 0 || errno == EINTR;
    for (nfds_t i = spares; i < count; i++)
        if (polls[i].revents) spare_end(loop, owner[i]);
    for (nfds_t i = 2; i < spares; i++) {
        struct run *run = owner[i];
        if (!polls[i].revents) continue;
        if (polls[i].fd == run->ctl) run_hear(loop, run);
        else if (polls[i].fd == run->notify) run_notified(loop, run);
        else if (polls[i].fd == run->pidfd) run_reap(loop, run);
    }
    if (polls[1].revents && on_signal) on_signal(loop, signals);
    return !polls[0].revents || on_readable(loop, sock, in);
}

void loop_kill_all(struct loop *loop) {
    int64_t end = now_ms() + 3000;
    loop->ending = true;
    for (int i = 0; i < SPARES; i++)
        if (loop->spares[i].state != RUN_FREE) spare_end(loop, &loop->spares[i]);
    for (int i = 0; i < MAX_RUNS; i++) run_signal(&loop->runs[i], 9);
    static struct inbox none;
    while (live(loop) && now_ms() < end) turn(loop, -1, &none, -1, NULL);
}

void serve_loop(struct loop *loop, int sock, int signals, void (*on_signal)(struct loop *, int)) {
    static struct inbox inbox;
    while (!loop->broken && (sock >= 0 || live(loop)))
        if (!turn(loop, sock, &inbox, signals, on_signal)) break;
    loop_kill_all(loop);
}

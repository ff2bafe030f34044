/* The descriptors of a run's process: what it has from its start, and what comes with the order. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

static int above(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    must(copy < 0, "descriptors");
    return copy;
}

/* Both ends of the control channel were made at once, and the runner's must not block. The Op's must: its `read` waits for
   an answer, and its writes for a busy runner. */
static void make_blocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    must(flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), "descriptors");
}

void descriptors_place(struct child *c, const int stdio[4], int ctl, int self) {
    int from[4], ctl_copy = above(ctl), self_copy = above(self);
    for (int i = 0; i < 4; i++) {
        from[i] = -1;
        /* In a spare 3 is kept from being used for something else until its order comes. */
        if (i == 3 && stdio[i] < 0 && c->spec) continue;
        int null = -1;
        if (stdio[i] < 0) must((null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0, "descriptors");
        from[i] = above(stdio[i] < 0 ? null : stdio[i]);
    }
    for (int i = 0; i < 4; i++) {
        if (from[i] >= 0) must(dup2(from[i], i) < 0, "descriptors");
        else close(i);
    }
    c->has_fd3 = stdio[3] >= 0;
    if (c->has_fd3) make_blocking(3);
    must(dup3(ctl_copy, CHILD_CTL, O_CLOEXEC) < 0, "descriptors");
    must(dup3(self_copy, CHILD_PARENT, O_CLOEXEC) < 0, "descriptors");
    must(close_range(CHILD_FIRST_FREE, ~0U, 0), "descriptors");
}

/* A spare's: spec, then the descriptors of the mask, replace its places. */
static void take(struct child *c, uint8_t mask, const int *fds, size_t count) {
    size_t next = 1;
    for (int i = 0; i < 4; i++) {
        if (!(mask & (1 << i))) continue;
        if (next >= count) die_errno("order", EPROTO);
        must(dup2(fds[next++], i) < 0, "descriptors");
    }
    c->has_fd3 = mask & HAS_FD3;
    if (c->has_fd3) make_blocking(3);
    else close(3);
    struct failure why;
    if (next != count) die_errno("order", EPROTO);
    /* Read again, since the launcher forgets what it read; the same bytes, as it takes only sealed ones. */
    c->spec = spec_load(fds[0], SPEC_RUN, true, &why);
    if (!c->spec) die_errno(why.step, why.error);
    must(close_range(CHILD_FIRST_FREE, ~0U, 0), "descriptors");
}

void order_wait(struct child *c) {
    struct pkt_go go = {0};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * RUN_MAX_FDS)];
    } control;
    struct iovec iov = {&go, sizeof go};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t n;
    do n = recvmsg(CHILD_CTL, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != sizeof go || go.kind != 'G') die_errno("wait", n < 0 ? errno : EPIPE);
    if (c->spec) return;
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    if (!h || h->cmsg_type != SCM_RIGHTS || (msg.msg_flags & MSG_CTRUNC)) die_errno("order", EPROTO);
    int fds[RUN_MAX_FDS];
    size_t size = h->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(h), size);
    take(c, go.mask, fds, size / sizeof(int));
}

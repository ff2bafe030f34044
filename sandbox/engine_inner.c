/* PID 1 of a container: the same steps and the same end as in a run of our own (init.c), told over the socket on stdin. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "die.h"
#include "engine.h"
#include "engine_packet.h"

/* What would be refused and told is refused. */
static void without_reports(struct spec *spec) {
    for (size_t i = 0; i < spec->filter_len; i++) {
        struct sock_filter *f = &spec->filter[i];
        if (f->code == (BPF_RET | BPF_K) && (f->k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
            f->k = SECCOMP_RET_ERRNO | EPERM;
    }
}

_Noreturn void engine_inner(int fd) {
    /* At its place before /dev/null takes 0; above the Op's own. */
    must(dup3(fd, CHILD_CTL, O_CLOEXEC) < 0, "engine.inner");
    die_to(CHILD_CTL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    must(null < 0 || dup2(null, fd) < 0, "engine.inner");
    close(null);
    struct pkt_order *order = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(order == MAP_FAILED, "engine.inner");
    ssize_t n = recv(CHILD_CTL, order, sizeof *order, 0);
    must(n < 0, "engine.inner");
    if (n <= (ssize_t)offsetof(struct pkt_order, spec) || order->kind != 'O') die_errno("engine.inner", EPROTO);
    size_t size = (size_t)n - offsetof(struct pkt_order, spec);
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map == MAP_FAILED, "engine.inner");
    memcpy(map, order->spec, size);
    static struct child child;
    child = (struct child){.has_fd3 = order->has_fd3, .cgroup = order->cgroup, .listener = -1, .inner = true};
    bool quiet = order->no_listener;
    explicit_bzero(order, (size_t)n);
    munmap(order, sizeof *order);
    struct failure why;
    child.spec = spec_parse(map, size, SPEC_RUN, &why);
    if (!child.spec) die_errno(why.step, why.error);
    if (quiet) without_reports(child.spec);
    caps_drop();
    init_run(&child);
}

/* As init's own, but the signals to pass on come as words: an engine between us and the outer init may keep its own. */
int engine_inner_supervise(pid_t op, const sigset_t *set) {
    int signals = signalfd(-1, set, SFD_CLOEXEC);
    if (signals < 0) _exit(EXIT_SETUP);
    struct pollfd polls[2] = {{signals, POLLIN, 0}, {CHILD_CTL, POLLIN, 0}};
    for (;;) {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == op) return status;
        if (poll(polls, 2, -1) < 0) continue;
        struct signalfd_siginfo info;
        if (polls[0].revents && read(signals, &info, sizeof info) < 0) continue;
        if (!polls[1].revents) continue;
        struct pkt_signal word;
        ssize_t n = recv(CHILD_CTL, &word, sizeof word, MSG_DONTWAIT);
        /* Nobody is left to bound this run. */
        if (n == 0) _exit(EXIT_SETUP);
        if (n != sizeof word || word.kind != 'K') continue;
        kill(-1, word.signal);
        kill(-1, SIGCONT);
    }
}

/* PID 1 of an engine's run, outside of the container. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "die.h"
#include "engine.h"
#include "engine_packet.h"

enum { MAX_ARGS = 16, LOG_BYTES = 4096 };

/* Detached: the engine's own process leaves, and stdin, stdout and stderr are the Op's without a copy in between. */
static void engine_args(const struct child *c, const char *argv[MAX_ARGS]) {
    static const char *const crun[] = {"--root=/run/state", "--log=/run/log", "--cgroup-manager=disabled",
                                       "run", "--bundle=/bundle", NULL};
    static const char *const runc[] = {"--root=/run/state", "--log=/run/log", "run", "--detach", "--bundle=/bundle", NULL};
    /* ptrace: the one platform that needs no device and that every version has. */
    static const char *const runsc[] = {"--root=/run/state", "--rootless", "--network=none", "--ignore-cgroups",
                                        "--platform=ptrace", "run", "--bundle=/bundle", NULL};
    static const char *const *const table[ENGINE_LAST + 1] = {
        [ENGINE_CRUN] = crun, [ENGINE_RUNC] = runc, [ENGINE_RUNSC] = runsc};
    size_t n = 0;
    argv[n++] = c->spec->engine_program;
    for (const char *const *arg = table[c->spec->engine]; *arg; arg++) argv[n++] = *arg;
    /* gVisor's "host" is the run's own network namespace, where nothing but its two listeners is; with a stack of its own it
       would not find them. */
    if (c->spec->engine == ENGINE_RUNSC && c->spec->egress_path) argv[3] = "--network=host";
    if (c->has_fd3) argv[n++] = "--preserve-fds=1";
    argv[n++] = "op";
    argv[n] = NULL;
}

static _Noreturn void engine_exec(struct child *c, int inner) {
    static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/run",
                                      "XDG_RUNTIME_DIR=/run", "TMPDIR=/tmp", NULL};
    const char *argv[MAX_ARGS];
    must(setsid() < 0, "setsid");
    if (c->spec->limit[LIMIT_PIDS]) c->spec->limit[LIMIT_PIDS] += engine_pids(c->spec->engine);
    if (c->spec->limit[LIMIT_MEMORY]) c->spec->limit[LIMIT_MEMORY] += engine_memory(c->spec->engine);
    limits_apply(c);
    must(chdir("/bundle"), "engine.bundle");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    setid_refuse(c);
    sigset_t none;
    sigemptyset(&none);
    must(sigprocmask(SIG_SETMASK, &none, NULL), "sigmask");
    must(dup2(inner, 0) < 0, "descriptors");
    must(close_range(c->has_fd3 ? 4 : 3, ~0U, CLOSE_RANGE_CLOEXEC), "close_range");
    engine_args(c, argv);
    execve(argv[0], (char **)(uintptr_t)argv, (char **)(uintptr_t)env);
    die("engine.exec");
}

/* What the container's init needs of the spec: everything but files and what only the outer side does. */
static void send_order(const struct child *c, int sock) {
    static struct pkt_order order;
    size_t used = 0;
    order.kind = 'O';
    order.has_fd3 = c->has_fd3;
    order.cgroup = c->cgroup;
    order.no_listener = c->spec->engine == ENGINE_RUNSC;
    for (size_t at = 0; at < c->spec->map_size;) {
        struct record_header h;
        memcpy(&h, c->spec->map + at, sizeof h);
        size_t size = sizeof h + h.length;
        /* The last two: what Landlock and the limits make of them; they are mounted already. */
        if (h.type == REC_VERSION || h.type == REC_ARGV || h.type == REC_ENV || h.type == REC_CWD || h.type == REC_SECCOMP ||
            h.type == REC_LIMIT || h.type == REC_BIND || h.type == REC_NODE) {
            if (size > sizeof order.spec - used) die_errno("engine.order", E2BIG);
            memcpy(order.spec + used, c->spec->map + at, size);
            used += size;
        }
        at += size;
    }
    size_t total = offsetof(struct pkt_order, spec) + used;
    must(send(sock, &order, total, MSG_NOSIGNAL) != (ssize_t)total, "engine.order");
    explicit_bzero(&order, sizeof order);
}

/* Where the engine wrote down what went wrong instead of saying it. */
static void tell_log(void) {
    char text[LOG_BYTES];
    int fd = open("/run/log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    /* A pipe that is full or closed: then the step's name alone is told. */
    if (n > 0 && write(2, text, (size_t)n) < 0) errno = 0;
}

static void pass_on(const void *packet, size_t size, int fd) {
    struct iovec iov = {(void *)(uintptr_t)packet, size};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
    }
    if (sendmsg(CHILD_CTL, &msg, MSG_NOSIGNAL) < 0) _exit(EXIT_SETUP);
}

/* One packet of the container's init. False: nothing more will come. Ends with the Op. */
static bool hear(int sock, bool *started) {
    char data[80];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {data, sizeof data};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t n;
    do n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return false;
    int listener = -1;
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&listener, CMSG_DATA(h), sizeof listener);
    bool is_start = data[0] == 'S' && n == sizeof(struct pkt_started);
    if (!*started && is_start) *started = true;
    else if (!(!*started && data[0] == 'F' && n >= 5) && !(*started && data[0] == 'E' && n == sizeof(struct pkt_ended)))
        die_errno("engine.word", EPROTO);
    pass_on(data, (size_t)n, listener);
    if (listener >= 0) close(listener);
    if (!is_start) _exit(0);
    for (int fd = 0; fd < CHILD_CTL; fd++) close(fd);
    return true;
}

/* The Op's numbers are closed once it has them. */
static int above(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FIRST_FREE);
    must(copy < 0, "descriptors");
    close(fd);
    return copy;
}

static void supervise(pid_t engine, int sock, const sigset_t *set) {
    int signals = above(signalfd(-1, set, SFD_CLOEXEC)), last = SIGKILL;
    bool started = false;
    struct pollfd polls[2] = {{signals, POLLIN, 0}, {sock, POLLIN, 0}};
    for (;;) {
        if (poll(polls, 2, -1) < 0 && errno != EINTR) die("poll");
        if (polls[1].revents && !hear(sock, &started)) {
            /* The container is gone without a word: killed from outside, or never made. */
            if (!started) {
                tell_log();
                die_errno("engine", ECHILD);
            }
            int status;
            while (waitpid(-1, &status, WNOHANG | __WALL) > 0) last = status;
            struct pkt_ended ended = {'E', WIFSIGNALED(last) ? last : SIGKILL};
            pass_on(&ended, sizeof ended, -1);
            _exit(0);
        }
        struct signalfd_siginfo info;
        if (!polls[0].revents || read(signals, &info, sizeof info) != sizeof info) continue;
        if (info.ssi_signo != SIGCHLD) {
            struct pkt_signal word = {'K', (uint8_t)info.ssi_signo};
            /* Not there yet, or already gone: who sent it kills the rest when its patience ends. */
            if (send(sock, &word, sizeof word, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) errno = 0;
            continue;
        }
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
            last = status;
            if (pid != engine || started || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) continue;
            /* What the container's init may have said before is the better word. */
            struct pollfd word = {sock, POLLIN, 0};
            while (poll(&word, 1, 0) > 0 && hear(sock, &started)) continue;
            if (started) continue;
            tell_log();
            die_errno("engine", ECHILD);
        }
    }
}

void engine_run(struct child *c) {
    must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
    must(prctl(PR_SET_NAME, "init", 0, 0, 0), "name");
    sigset_t set;
    sigemptyset(&set);
    static const int passed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) sigaddset(&set, passed[i]);
    must(sigprocmask(SIG_BLOCK, &set, NULL), "sigmask");
    /* gVisor takes stdin, stdout and stderr along, nothing else. */
    if (c->spec->engine == ENGINE_RUNSC && c->has_fd3) {
        close(3);
        c->has_fd3 = false;
    }
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
    int sock = above(pair[0]);
    send_order(c, sock);
    pid_t engine = fork();
    must(engine < 0, "fork");
    if (engine == 0) engine_exec(c, pair[1]);
    close(pair[1]);
    explicit_bzero(c->spec->arena, c->spec->arena_used);
    munmap(c->spec->map, c->spec->map_size);
    caps_drop();
    supervise(engine, sock, &set);
    _exit(EXIT_SETUP);
}

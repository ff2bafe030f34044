/* PID 1 of a run: starts the Op as PID 2, reaps, passes signals on, and ends when the Op ends; the kernel then kills the rest. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "die.h"
#include "engine.h"
#include "learn.h"

/* Leaves the reason to init: a filter that refuses send would have its refusal asked about while nobody listens yet. */
static _Noreturn void exec_failed(struct child *c, int error) {
    c->started = false;
    c->exec_error = error;
    _exit(EXIT_EXEC);
}

static _Noreturn void exec_op(struct child *c) {
    char **argv = c->spec->argv, **envp = c->spec->envp;
    c->started = true;
    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, envp);
        exec_failed(c, errno);
    }
    const char *path = NULL;
    for (size_t i = 0; i < c->spec->envc; i++)
        if (strncmp(envp[i], "PATH=", 5) == 0) path = envp[i] + 5;
    int error = ENOENT;
    while (path && *path) {
        const char *end = strchrnul(path, ':');
        char full[4096];
        size_t n = (size_t)(end - path), m = strlen(argv[0]);
        /* An empty element would mean the current directory; the grant never does. */
        if (n && n + m + 2 <= sizeof full) {
            memcpy(full, path, n);
            full[n] = '/';
            memcpy(full + n + 1, argv[0], m + 1);
            execve(full, argv, envp);
            if (errno != ENOENT && errno != ENOTDIR) error = errno;
        }
        path = *end ? end + 1 : end;
    }
    exec_failed(c, error);
}

/* Runs with init's memory and descriptors (CLONE_VM, CLONE_FILES) while init waits, as after vfork: so init learns the
   listener's number, and nothing has to be sent through a filter that may refuse sendmsg. exec parts the two. */
static int op_main(void *arg) {
    struct child *c = arg;
    must(setsid() < 0, "setsid");
    /* EACCES: gVisor, which has no keyrings but the one that it starts with. */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS && !(c->inner && errno == EACCES)) die("keyring");
    limits_apply(c);
    must(chdir(c->spec->cwd ? c->spec->cwd : "/op"), "cwd");
    sigset_t none;
    sigemptyset(&none);
    must(sigprocmask(SIG_SETMASK, &none, NULL), "sigmask");
    /* No descriptor is above INT_MAX, and gVisor refuses more. */
    must(close_range(c->has_fd3 ? 4 : 3, INT_MAX, CLOSE_RANGE_CLOEXEC), "close_range");
    landlock_op(c);
    if (c->spec->learn) learn_rewrite(c->spec);
    else core_limit_keep(c->spec);
    setid_refuse(c);
    c->listener = seccomp_install(c->spec->filter, c->spec->filter_len);
    exec_op(c);
}

static void send_packet(const void *packet, size_t size, int fd) {
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
    /* No launcher to hear it: nobody would bound this run any more. */
    if (sendmsg(CHILD_CTL, &msg, MSG_NOSIGNAL) < 0) _exit(EXIT_SETUP);
}

/* Waits for one of `set`; children that died are reaped. Returns the Op's status once it ended. */
static int supervise(pid_t op, const sigset_t *set) {
    for (;;) {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == op) return status;
        int sig = sigwaitinfo(set, NULL);
        if (sig <= 0 || sig == SIGCHLD) continue;
        /* To everything in the run: a shell's children should hear of the coming end too. */
        kill(-1, sig);
        kill(-1, SIGCONT);
    }
}

void init_run(struct child *c) {
    /* Before anything of the Op's exists: our memory holds the spec, and /proc/1 must tell nothing. Exec resets it for the Op. */
    must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable");
    must(prctl(PR_SET_NAME, "init", 0, 0, 0), "name");
    sigset_t set;
    sigemptyset(&set);
    static const int passed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) sigaddset(&set, passed[i]);
    must(sigprocmask(SIG_BLOCK, &set, NULL), "sigmask");

    static char stack[64 << 10] __attribute__((aligned(16)));
    c->listener = -1;
    pid_t op = clone(op_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, c);
    must(op < 0, "fork");

    /* The Op has executed its program, or failed; before its filter it said so itself. */
    struct pkt_started started = {'S', c->flags};
    if (c->exec_error) die_errno("exec", c->exec_error);
    if (!c->started) _exit(EXIT_SETUP);
    send_packet(&started, sizeof started, c->listener);
    if (c->listener >= 0) close(c->listener);
    for (int fd = 0; fd < CHILD_CTL; fd++) close(fd);
    explicit_bzero(c->spec->arena, c->spec->arena_used);
    munmap(c->spec->map, c->spec->map_size);

    struct pkt_ended ended = {'E', c->inner ? engine_inner_supervise(op, &set) : supervise(op, &set)};
    send_packet(&ended, sizeof ended, -1);
    _exit(0);
}

void child_main(struct child *c) {
    die_to(CHILD_CTL);
    /* While it is still whose it was made: afterwards its mode may forbid it. Only a spare has no spec yet. */
    if (c->spec && c->spec->engine) must((c->self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)) < 0, "engine.init");
    ns_enter(c);
    mounts_build(c);
    if (c->spec->engine) engine_run(c);
    caps_drop();
    init_run(c);
}

/* sallyport's launcher. argv holds a mode and a descriptor; everything else comes from there (proto.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "die.h"
#include "engine.h"
#include "run.h"

static struct loop loop;
static pid_t runner = -1; /* the confined child, in mode `runner` */
static int runner_status = -1;

static int open_signals(void) {
    static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) sigaddset(&set, taken[i]);
    /* Blocked from before the first run: a run inherits the mask, so none is lost before its init waits for it. */
    must(sigprocmask(SIG_BLOCK, &set, NULL), "sigmask");
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    must(fd < 0, "signalfd");
    return fd;
}

static void on_signal(struct loop *l, int fd) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == sizeof info) {
        int sig = (int)info.ssi_signo;
        if (sig == SIGCHLD) {
            int status;
            if (runner > 0 && waitpid(runner, &status, WNOHANG) == runner) {
                runner_status = status;
                runner = -1;
                l->broken = true;
            }
        } else if (runner > 0) {
            kill(runner, sig);
        } else if (l->out < 0) {
            for (int i = 0; i < MAX_RUNS; i++) run_signal(&l->runs[i], sig);
        } else if (sig == SIGTERM || sig == SIGINT) {
            l->broken = true;
        }
    }
}

static struct spec *load(int fd, enum spec_kind kind) {
    struct failure why;
    struct spec *spec = spec_load(fd, kind, false, &why);
    if (!spec) die_errno(why.step, why.error);
    if (kind == SPEC_RUN || spec->exec_fd != fd) close(fd);
    return spec;
}

static int status_to_exit(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int mode_serve(int fd, bool learn) {
    int signals = open_signals();
    loop_init(&loop, fd);
    loop.learn = learn;
    serve_loop(&loop, fd, signals, on_signal);
    return 0;
}

static int mode_runner(int fd, pid_t parent) {
    struct spec *spec = load(fd, SPEC_CONFINE);
    confine_close(spec, -1);
    int pair[2], signals = open_signals();
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    if (spec->pdeathsig) {
        must(prctl(PR_SET_PDEATHSIG, spec->pdeathsig, 0, 0, 0), "pdeathsig");
        if (getppid() != parent) die_errno("parent", ESRCH);
    }
    /* Before the fork: on cgroup v2 both move out of the inner group. */
    cgroup_setup();
    pid_t self = getpid();
    runner = fork();
    must(runner < 0, "fork");
    if (runner == 0) {
        spec->pdeathsig = SIGKILL;
        confine_exec(spec, self, pair[1]);
    }
    /* The role's own: as long as we held them, their peers would not see it end. */
    for (size_t i = 0; i < spec->keep_count; i++)
        if (spec->keep[i] > 2) close(spec->keep[i]);
    if (spec->exec_fd > 2) close(spec->exec_fd);
    close(pair[1]);
    loop_init(&loop, pair[0]);
    loop.may = spec;
    serve_loop(&loop, pair[0], signals, on_signal);
    if (runner > 0) {
        kill(runner, SIGKILL);
        if (waitpid(runner, &runner_status, 0) != runner) return EXIT_SETUP;
    }
    return status_to_exit(runner_status);
}

static int mode_once(int fd) {
    /* Asked before anything else is opened, since 3 may be the spec itself. */
    bool has_fd3 = fd != 3 && fcntl(3, F_GETFD) >= 0;
    struct spec *spec = load(fd, SPEC_RUN);
    int stdio[4] = {0, 1, 2, has_fd3 ? 3 : -1};
    int signals = open_signals();
    loop_init(&loop, -1);
    run_begin(&loop, 1, spec, -1, stdio);
    struct run *run = &loop.runs[0];
    serve_loop(&loop, -1, signals, on_signal);
    if (run->failed || !run->started) return run->failure.step && strcmp(run->failure.step, "exec") == 0 ? EXIT_EXEC : EXIT_SETUP;
    if (run->wall_hit) return EXIT_TIMED_OUT;
    return status_to_exit(run->status);
}

/* A missing 0, 1 or 2 would be filled by the next open and then written to. */
static void fill_stdio(void) {
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd < 3);
    if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
    pid_t parent = getppid();
    fill_stdio();
    char *end = NULL;
    long fd = argc == 3 && argv[2][0] >= '0' && argv[2][0] <= '9' ? strtol(argv[2], &end, 10) : -1;
    if (fd < 0 || fd > 1 << 20 || *end) {
        dprintf(2, "usage: launcher confine|runner|serve|learn|once|op DESCRIPTOR\n");
        return 2;
    }
    if (fcntl((int)fd, F_GETFD) < 0) die("descriptor");
    /* 1, not 0: see limits.c. Fails only where the limit is 0 already and we may not raise it. */
    struct rlimit none = {1, 1};
    if (setrlimit(RLIMIT_CORE, &none) && errno != EPERM) die("rlimit(core)");
    for (int sig = 1; sig < 32; sig++)
        if (sig != SIGKILL && sig != SIGSTOP) signal(sig, SIG_DFL);
    loop.title = argv[0];
    loop.title_size = strlen(argv[0]) + 1 + strlen(argv[1]) + 1 + strlen(argv[2]);
    if (strcmp(argv[1], "confine") == 0) confine_exec(load((int)fd, SPEC_CONFINE), parent, -1);
    if (strcmp(argv[1], "runner") == 0) return mode_runner((int)fd, parent);
    if (strcmp(argv[1], "serve") == 0) return mode_serve((int)fd, false);
    if (strcmp(argv[1], "learn") == 0) return mode_serve((int)fd, true);
    if (strcmp(argv[1], "once") == 0) return mode_once((int)fd);
    if (strcmp(argv[1], "op") == 0) engine_inner((int)fd);
    dprintf(2, "launcher: unknown mode %.20s\n", argv[1]);
    return 2;
}

/* The measuring end of launch.ts: start-to-exit of /bin/true by each way, from one small process, so that no event loop and
 * no garbage collector is part of a time.
 *
 *   driver time LAUNCHER SPEC FILTER SAMPLES [NAME COMMAND... ;]...    one after the other, each round in a new random order
 *   driver rate LAUNCHER SPEC FILTER MS [NAME COMMAND... ;]...         runs a second, by 1 and by 2 at a time, in turns
 *
 * OCI_MOUNTS in the environment names a mount namespace that crun and runc are started in.
 * In a COMMAND, `@` is replaced by a number that is new each time; descriptor 8 is SPEC and 9 is FILTER. "fork", "spawn" and
 * "serve" are always among them: a plain fork and exec, posix_spawn (a vfork), and the persistent launcher over its socket.
 * Prints "NAME MICROSECONDS" a line, or "NAME WORKERS RUNS MICROSECONDS". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
enum { MAX_WAYS = 16, MAX_ARGS = 96, SPEC_FD = 8, FILTER_FD = 9, RUN = 1, FAILED = 130, EXITED = 131, HEADER = 13 };

struct way {
    const char *name;
    char **argv; /* NULL: serve */
    bool spawn, oci;
};
static struct way ways[MAX_WAYS];
static int count, launcher = -1, null_fd, mounts_of; /* 0: our own */
static char **paths; /* of spec and filter */
static char *spec_bytes, *true_argv[] = {"/bin/true", NULL};
static size_t spec_size;
static unsigned serial;
static pid_t launcher_pid;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static void check(bool ok, const char *what) {
    if (ok) return;
    perror(what);
    if (launcher_pid) kill(launcher_pid, SIGKILL);
    exit(1);
}

static pid_t begin_command(const struct way *way) {
    char *argv[MAX_ARGS], id[32];
    int n = 0;
    snprintf(id, sizeof id, "b%d-%u", (int)getpid(), ++serial);
    for (; way->argv[n]; n++) argv[n] = strcmp(way->argv[n], "@") ? way->argv[n] : id;
    argv[n] = NULL;
    pid_t pid;
    if (way->spawn) {
        check(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0, "posix_spawn");
        return pid;
    }
    pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        /* gVisor signals its own process group when it ends. */
        setsid();
        if (mounts_of && way->oci && setns(mounts_of, CLONE_NEWNS)) _exit(97);
        /* Opened again: two that share a file's position would each read a part. */
        for (int i = 0; i < 2; i++) {
            int fd = open(paths[i], O_RDONLY), away = fcntl(fd, F_DUPFD_CLOEXEC, FILTER_FD + 1);
            if (away < 0) _exit(98);
            close(fd);
            if (dup2(away, SPEC_FD + i) < 0) _exit(98);
        }
        execvp(argv[0], argv);
        _exit(99);
    }
    return pid;
}
static void end_command(const struct way *way, pid_t pid) {
    int status;
    check(waitpid(pid, &status, 0) == pid, "waitpid");
    if (status) fprintf(stderr, "%s: status %x\n", way->name, (unsigned)status);
    check(status == 0, way->name);
}

/* As the runner does: a sealed memfd a run, stdout and stderr as descriptors. */
static void begin_serve(uint64_t handle) {
    int fd = memfd_create("spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check(fd >= 0 && write(fd, spec_bytes, spec_size) == (ssize_t)spec_size, "memfd");
    check(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0, "seal");
    char frame[HEADER + 1] = {HEADER + 1, 0, 0, 0, RUN};
    memcpy(frame + 5, &handle, 8);
    frame[HEADER] = 6;
    int fds[3] = {fd, null_fd, null_fd};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec iov = {frame, sizeof frame};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(h), fds, sizeof fds);
    check(sendmsg(launcher, &msg, 0) == sizeof frame, "sendmsg");
    close(fd);
}
/* Waits for the next run to end. */
static void end_serve(void) {
    static char data[65536];
    static size_t have;
    for (;;) {
        uint32_t total = 0;
        if (have >= 4) memcpy(&total, data, 4);
        if (total && have >= total) {
            int kind = (unsigned char)data[4];
            uint32_t code = 0;
            if (kind == EXITED) memcpy(&code, data + HEADER, 4);
            if (kind == FAILED) fprintf(stderr, "serve: %.*s\n", (int)total - HEADER - 4, data + HEADER + 4);
            check(kind != FAILED && code == 0, "serve");
            have -= total;
            memmove(data, data + total, have);
            if (kind == EXITED) return;
            continue;
        }
        ssize_t n = read(launcher, data + have, sizeof data - have);
        check(n > 0, "read");
        have += (size_t)n;
    }
}

static void open_launcher(const char *path) {
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        dup2(pair[1], 3);
        close_range(4, ~0U, 0);
        execl(path, "launcher", "serve", "3", (char *)NULL);
        _exit(99);
    }
    launcher_pid = pid;
    close(pair[1]);
    launcher = pair[0];
    char hello[HEADER + 8];
    check(read(launcher, hello, sizeof hello) == sizeof hello, "hello");
    usleep(200000); /* its spares */
}

static double once(const struct way *way) {
    double start = now();
    if (way->argv) {
        end_command(way, begin_command(way));
    } else {
        begin_serve(++serial);
        end_serve();
    }
    return now() - start;
}

/* Runs in `ms` by so many at a time, each begun when another has ended. */
static void rate(const struct way *way, int workers, double ms) {
    double start = now(), end = start + ms * 1000;
    int runs = 0;
    if (!way->argv) {
        for (int i = 0; i < workers; i++) begin_serve(++serial);
        for (int out = workers; out;) {
            end_serve();
            runs++;
            if (now() < end) begin_serve(++serial);
            else out--;
        }
    } else {
        pid_t pids[8];
        int pipes[8][2];
        /* A process each: what one waits for must not hold up the other. */
        for (int i = 0; i < workers; i++) {
            check(pipe(pipes[i]) == 0, "pipe");
            pids[i] = fork();
            check(pids[i] >= 0, "fork");
            if (pids[i] == 0) {
                launcher_pid = 0;
                int mine = 0;
                for (; now() < end; mine++) end_command(way, begin_command(way));
                _exit(write(pipes[i][1], &mine, sizeof mine) != sizeof mine);
            }
            close(pipes[i][1]);
        }
        for (int i = 0; i < workers; i++) {
            int mine = 0, status;
            check(read(pipes[i][0], &mine, sizeof mine) == sizeof mine, "worker");
            waitpid(pids[i], &status, 0);
            close(pipes[i][0]);
            runs += mine;
        }
    }
    printf("%s %d %d %.0f\n", way->name, workers, runs, now() - start);
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    paths = argv + 3;
    int spec = open(paths[0], O_RDONLY | O_CLOEXEC);
    struct stat st;
    check(spec >= 0 && fstat(spec, &st) == 0, paths[0]);
    spec_size = (size_t)st.st_size;
    spec_bytes = mmap(NULL, spec_size, PROT_READ, MAP_PRIVATE, spec, 0);
    check(spec_bytes != MAP_FAILED, "mmap");
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (getenv("OCI_MOUNTS")) mounts_of = open(getenv("OCI_MOUNTS"), O_RDONLY | O_CLOEXEC);
    check(mounts_of >= 0, "OCI_MOUNTS");
    open_launcher(argv[2]);
    ways[count++] = (struct way){"fork", true_argv, false};
    ways[count++] = (struct way){"spawn", true_argv, true};
    ways[count++] = (struct way){"serve", NULL, false};
    for (int i = 6; i < argc && count < MAX_WAYS; i++) {
        ways[count] = (struct way){argv[i], argv + i + 1, false, strcmp(argv[i], "crun") == 0 || strcmp(argv[i], "runc") == 0};
        count++;
        while (++i < argc && strcmp(argv[i], ";")) continue;
        if (i < argc) argv[i] = NULL;
    }
    int amount = atoi(argv[5]);
    srand((unsigned)now());
    for (int round = 0; strcmp(argv[1], "time") == 0 && round < amount; round++) {
        int order[MAX_WAYS];
        for (int i = 0; i < count; i++) order[i] = i;
        for (int i = count - 1; i > 0; i--) {
            int j = rand() % (i + 1), t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
        for (int i = 0; i < count; i++) printf("%s %.1f\n", ways[order[i]].name, once(&ways[order[i]]));
        fflush(stdout);
    }
    for (int turn = 0; strcmp(argv[1], "rate") == 0 && turn < 4; turn++)
        for (int i = 0; i < count; i++)
            for (int workers = 1; workers <= 2; workers++) {
                fflush(stdout);
                rate(&ways[i], workers, amount / 4.0);
            }
    shutdown(launcher, SHUT_RDWR);
    waitpid(launcher_pid, NULL, 0);
    return 0;
}

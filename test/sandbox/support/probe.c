/* Tries one thing and prints what came of it: "ok", or the errno's name, or "signal". The tests compile it statically and
   run it as an Op: `probe WHAT [ARG]`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int report(long rc) {
    puts(rc >= 0 ? "ok" : strerrorname_np(errno));
    return 0;
}

static long x32_getpid(void) {
    return syscall(0x40000000 | SYS_getpid);
}

static long int80_getpid(void) {
    long rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20) : "memory");
    if (rc < 0) errno = (int)-rc;
    return rc < 0 ? -1 : rc;
}

static long exec_memfd(unsigned flags) {
    int fd = memfd_create("x", flags);
    if (fd < 0) return -1;
    int self = open("/proc/self/exe", O_RDONLY);
    char buffer[65536];
    for (ssize_t n; (n = read(self, buffer, sizeof buffer)) > 0;)
        if (write(fd, buffer, (size_t)n) != n) return -1;
    char *argv[] = {"x", "true", NULL};
    return syscall(SYS_execveat, fd, "", argv, argv + 2, AT_EMPTY_PATH);
}

static long abstract(const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path + 1, name, sizeof a.sun_path - 2);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&a, (socklen_t)(sizeof(sa_family_t) + 1 + strlen(name)));
}

/* Every way to give a file of `dir` a setuid or setgid bit: the name of the call and what came of it. */
static long set_ids(const char *dir) {
    static const mode_t modes[] = {04755, 02755};
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_CREAT | O_WRONLY, 04755, 0};
    char path[256];
    for (int i = 0; i < 2; i++) {
        mode_t m = modes[i];
        snprintf(path, sizeof path, "%s/plain%d", dir, i);
        int fd = open(path, O_CREAT | O_RDWR, 0755), n = 0;
        if (fd < 0) return -1;
        const struct {
            const char *name;
            long result;
            int error;
        } tries[] = {
#define TRY(name, call) {name, (errno = 0, call), errno}
#define NEW (snprintf(path, sizeof path, "%s/new%d-%d", dir, i, n++), path)
            TRY("chmod", syscall(SYS_chmod, path, m)),
            TRY("fchmod", syscall(SYS_fchmod, fd, m)),
            TRY("fchmodat", syscall(SYS_fchmodat, AT_FDCWD, path, m)),
            TRY("fchmodat2", syscall(452, AT_FDCWD, path, m, 0)),
            TRY("chmod-high", syscall(SYS_chmod, path, m | (1UL << 40))),
            TRY("creat", syscall(SYS_creat, NEW, m)),
            TRY("open", syscall(SYS_open, NEW, O_CREAT | O_RDWR, m)),
            TRY("openat", syscall(SYS_openat, AT_FDCWD, NEW, O_CREAT | O_RDWR, m)),
            TRY("tmpfile", syscall(SYS_openat, AT_FDCWD, dir, O_TMPFILE | O_RDWR, m)),
            TRY("mknod", syscall(SYS_mknod, NEW, S_IFREG | m, 0)),
            TRY("mknodat", syscall(SYS_mknodat, AT_FDCWD, NEW, S_IFREG | m, 0)),
            TRY("openat2", syscall(SYS_openat2, AT_FDCWD, NEW, &how, sizeof how)),
        };
        for (size_t k = 0; k < sizeof tries / sizeof *tries; k++)
            printf("%s:%s ", tries[k].name, tries[k].result >= 0 ? "ok" : strerrorname_np(tries[k].error));
    }
    return 0;
}

static long connect_path(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    return connect(fd, (struct sockaddr *)&a, sizeof a);
}

static long eat(size_t mib) {
    for (size_t i = 0; i < mib; i++) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return -1;
        memset(p, 1, 1 << 20);
    }
    return 0;
}

static long forks(int count) {
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            printf("%d ", i);
            return -1;
        }
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
    return 0;
}

static long ptrace_parent(void) {
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static long vm_read(void) {
    char a;
    struct iovec local = {&a, 1}, remote = {&a, 1};
    return process_vm_readv(1, &local, 1, &remote, 1, 0);
}

static long listener(void) {
    struct sock_filter f[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog p = {1, f};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
}

static long handle(void) {
    struct {
        struct file_handle h;
        char space[128];
    } f = {.h = {.handle_bytes = 128}};
    int id;
    if (name_to_handle_at(AT_FDCWD, "/usr", &f.h, &id, 0) && errno != ENOSYS) return -1;
    return open_by_handle_at(AT_FDCWD, &f.h, O_RDONLY);
}

static long escape_chdir(void) {
    /* The classic: keep a descriptor outside what a chroot would make the root. */
    for (int i = 0; i < 64; i++)
        if (chdir("..")) return -1;
    char cwd[64];
    if (!getcwd(cwd, sizeof cwd) || strcmp(cwd, "/")) return 0;
    struct stat st;
    errno = ENOENT;
    return stat("work", &st) && stat("home", &st) && stat("root", &st) ? -1 : 0;
}

static int spare(void *arg) {
    (void)arg;
    return 0;
}

static char stack[65536];

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    const char *arg = argc > 2 ? argv[2] : "";
    long n = strtol(arg, NULL, 0);
#define IS(name) if (strcmp(what, name) == 0)
    IS("true") return 0;
    IS("call") return report(syscall(n, argc > 3 ? strtoul(argv[3], NULL, 0) : 0, argc > 4 ? strtoul(argv[4], NULL, 0) : 0, 0, 0, 0, 0));
    IS("x32") return report(x32_getpid());
    IS("int80") return report(int80_getpid());
    IS("memfd") return report(exec_memfd((unsigned)n));
    IS("abstract") return report(abstract(arg));
    IS("setid") return report(set_ids(arg));
    IS("unix") return report(connect_path(arg));
    IS("eat") return report(eat((size_t)n));
    IS("forks") return report(forks((int)n));
    IS("ptrace") return report(ptrace_parent());
    IS("vmread") return report(vm_read());
    IS("listener") return report(listener());
    IS("handle") return report(handle());
    IS("dotdot") return report(escape_chdir());
    IS("open") return report(open(arg, O_RDONLY));
    IS("write") return report(open(arg, O_WRONLY));
    IS("create") return report(open(arg, O_WRONLY | O_CREAT, 0600));
    IS("mknod") return report(mknod(arg, S_IFCHR | 0600, makedev(1, 3)));
    IS("fifo") return report(mkfifo(arg, 0600));
    IS("mount") return report(mount("x", arg, "tmpfs", 0, NULL));
    IS("socket") return report(socket((int)n, SOCK_DGRAM, 0));
    IS("socketraw") return report(syscall(SYS_socket, strtoul(arg, NULL, 0), SOCK_DGRAM, 0));
    IS("ioctl") return report(syscall(SYS_ioctl, 0, strtoul(arg, NULL, 0), "x"));
    IS("clone") {
        pid_t pid = clone(spare, stack + sizeof stack, (int)n | SIGCHLD, NULL);
        if (pid > 0) waitpid(pid, NULL, 0);
        return report(pid);
    }
    IS("kill") return report(kill((pid_t)n, 0));
    IS("killall") {
        signal(SIGTERM, SIG_IGN);
        return report(kill(-1, SIGTERM));
    }
    IS("mq") return report(mq_open("/x", O_CREAT | O_RDWR, 0600, NULL));
    IS("core") {
        abort();
    }
    puts("unknown");
    return 2;
}

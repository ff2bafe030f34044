/* The run's root: a tmpfs with read-only binds of the host's programs, devices, its own proc, its own /tmp. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"
#include "engine.h"

/* Where the new root is put together. Only has to exist; what was there is reached through descriptors opened before. */
#define STAGE "/usr"

static void make_dir(const char *path, mode_t mode) {
    if (mkdir(path, mode) && errno != EEXIST) die("mkdir");
}

static void make_file(const char *path) {
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
    must(fd < 0, "mountpoint");
    close(fd);
}

/* A private copy of the mounts at `path`, read-only, no setuid, no devices, all the way down. -1: no such path. */
static int clone_tree(const char *path, uint64_t attributes) {
    int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) return -1;
    must(fd < 0, "open_tree");
    struct mount_attr attr = {.attr_set = attributes};
    must(mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr), "mount_setattr");
    return fd;
}

static void attach(int tree, const char *where) {
    must(move_mount(tree, "", AT_FDCWD, where, MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
    close(tree);
}

static const uint64_t PROGRAMS = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
static const uint64_t DATA = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

static const char *const top_level[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
enum { TOP_LEVEL = sizeof top_level / sizeof *top_level };

/* What programs of /usr need from the host's /etc and every host user may read anyway. */
static const struct {
    const char *path;
    bool directory;
} host_etc[] = {
    {"ld.so.cache", false}, {"alternatives", true}, {"ssl/certs", true}, {"ssl/openssl.cnf", false},
    {"pki", true},          {"localtime", false},
};
enum { HOST_ETC = sizeof host_etc / sizeof *host_etc };

struct sources {
    int usr, top[TOP_LEVEL], etc[HOST_ETC];
    char link[TOP_LEVEL][64];
};

static void open_sources(struct sources *s) {
    char path[64];
    s->usr = clone_tree("/usr", PROGRAMS);
    if (s->usr < 0) die_errno("/usr", ENOENT);
    for (int i = 0; i < TOP_LEVEL; i++) {
        s->top[i] = -1;
        s->link[i][0] = 0;
        snprintf(path, sizeof path, "/%s", top_level[i]);
        ssize_t n = readlink(path, s->link[i], sizeof s->link[i] - 1);
        if (n > 0) s->link[i][n] = 0;
        /* EINVAL: a real directory, as on systems without merged /usr. */
        else if (errno == EINVAL) s->top[i] = clone_tree(path, PROGRAMS);
        else if (errno != ENOENT) die("readlink");
    }
    for (int i = 0; i < HOST_ETC; i++) {
        snprintf(path, sizeof path, "/etc/%s", host_etc[i].path);
        struct stat st;
        /* localtime is a link into /usr/share/zoneinfo: copied as a link, in etc_links. */
        s->etc[i] = lstat(path, &st) || S_ISLNK(st.st_mode) ? -1 : clone_tree(path, DATA);
    }
}

static void make_etc(struct child *c, struct sources *s) {
    char path[64], target[PATH_MAX];
    make_dir("etc", 0755);
    files_write(c, "etc", TREE_ETC, 0444, 0444);
    for (int i = 0; i < HOST_ETC; i++) {
        snprintf(path, sizeof path, "etc/%s", host_etc[i].path);
        if (s->etc[i] < 0) {
            char host[66];
            snprintf(host, sizeof host, "/%s", path);
            ssize_t n = readlink(host, target, sizeof target - 1);
            if (n <= 0) continue;
            target[n] = 0;
            if (strncmp(target, "/usr/", 5) == 0 && symlink(target, path) && errno != EEXIST && errno != ENOENT) die("etc");
            continue;
        }
        char *slash = strchr(path + 4, '/');
        if (slash) {
            *slash = 0;
            make_dir(path, 0755);
            *slash = '/';
        }
        /* The spec's own file of that name wins. */
        if (access(path, F_OK) == 0) {
            close(s->etc[i]);
            continue;
        }
        if (host_etc[i].directory) make_dir(path, 0755);
        else make_file(path);
        attach(s->etc[i], path);
    }
}

static void make_dev(void) {
    static const char *const devices[] = {"null", "zero", "full", "random", "urandom"};
    make_dir("dev", 0755);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        char from[32], to[32];
        snprintf(from, sizeof from, "/dev/%s", devices[i]);
        snprintf(to, sizeof to, "dev/%s", devices[i]);
        struct stat st;
        /* A host's /dev/null that somebody replaced by a file must not become the run's output channel. */
        must(lstat(from, &st), "dev");
        if (!S_ISCHR(st.st_mode)) die_errno("dev", ENOTTY);
        make_file(to);
        must(mount(from, to, NULL, MS_BIND, NULL), "dev");
        /* Opening one to write needs no writable mount; changing its mode does, where our own account owns it. */
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC};
        must(mount_setattr(AT_FDCWD, to, 0, &attr, sizeof attr), "dev");
    }
    must(symlink("/proc/self/fd", "dev/fd"), "dev");
    must(symlink("/proc/self/fd/0", "dev/stdin"), "dev");
    must(symlink("/proc/self/fd/1", "dev/stdout"), "dev");
    must(symlink("/proc/self/fd/2", "dev/stderr"), "dev");
    make_dir("dev/shm", 0755);
    must(mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=16m,nr_inodes=1024"), "dev/shm");
}

/* The kernel counts these for the account that started us too, root included: of its 128 instances one run could take all, and
   no other program of that account had any. Where it can't be written the run goes on with what there is. */
static void bound_inotify(const char *proc) {
    static const char *const bounds[][2] = {{"max_inotify_instances", "8"}, {"max_inotify_watches", "4096"}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/sys/user/%s", proc, bounds[i][0]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (write(fd, bounds[i][1], strlen(bounds[i][1])) < 0) errno = 0;
        close(fd);
    }
}

/* Read-only as a whole: no sysctl, no sysrq, no oom score, whatever the files' own modes say. */
static void make_proc(struct child *c) {
    static const char *const files[] = {"kcore", "kallsyms", "keys", "key-users", "timer_list", "sysrq-trigger", "latency_stats",
                                        "sched_debug", "vmallocinfo", "modules", "config.gz",
                                        /* What the host is made of and boots with. */
                                        "cmdline", "bootconfig", "diskstats", "partitions", "swaps", "iomem", "ioports", "interrupts",
                                        "softirqs"};
    static const char *const dirs[] = {"acpi", "scsi", "asound", "bus", "fs", "irq", "driver", "firmware"};
    make_dir("proc", 0555);
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) {
        /* Refused where the host's own /proc is masked ("too revealing"): the Op runs without one. */
        if (errno != EPERM) die("proc");
        c->flags |= STARTED_NO_PROC;
        return;
    }
    bound_inotify("proc");
    char path[48];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "proc/%s", files[i]);
        if (mount("dev/null", path, NULL, MS_BIND, NULL) && errno != ENOENT) die("proc.mask");
    }
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "proc/%s", dirs[i]);
        if (mount("run/empty", path, NULL, MS_BIND, NULL) && errno != ENOENT) die("proc.mask");
    }
    /* With the masks: a directory that hides another must not become a place to write. */
    struct mount_attr attr = {.attr_set = DATA};
    must(mount_setattr(AT_FDCWD, "proc", AT_RECURSIVE, &attr, sizeof attr), "proc.readonly");
}

static void make_root(struct child *c) {
    char options[96];
    /* Room for the Op's files, each rounded up to pages, and our own handful. It turns read-only before the Op starts. */
    snprintf(options, sizeof options, "mode=0755,size=%zuk,nr_inodes=%zu",
             (c->spec->content_bytes >> 10) + c->spec->file_count * 8 + 1024 + (c->spec->engine ? 2048 : 0), c->spec->file_count * 8 + 512);
    must(mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, options), "root");
    must(chdir(STAGE), "root");
}

static void make_tmp(struct child *c) {
    char options[96];
    snprintf(options, sizeof options, "mode=1777,size=%llu,nr_inodes=%llu", (unsigned long long)c->spec->limit[LIMIT_TMP_BYTES],
             (unsigned long long)c->spec->limit[LIMIT_TMP_INODES]);
    make_dir("tmp", 0755);
    must(mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options), "tmp");
}

static void make_secrets(struct child *c) {
    make_dir("run", 0755);
    make_dir("run/empty", 0555);
    make_dir("run/secrets", 0700);
    bool any = false;
    for (size_t i = 0; i < c->spec->file_count; i++) any |= c->spec->files[i].tree == TREE_SECRETS;
    if (!any) return;
    char options[96];
    snprintf(options, sizeof options, "mode=0700,size=%zuk,nr_inodes=%zu",
             (c->spec->content_bytes >> 10) + c->spec->file_count * 4 + 64, c->spec->file_count * 8 + 64);
    must(mount("tmpfs", "run/secrets", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options), "secrets");
    files_write(c, "run/secrets", TREE_SECRETS, 0400, 0400);
    struct mount_attr attr = {.attr_set = DATA};
    must(mount_setattr(AT_FDCWD, "run/secrets", 0, &attr, sizeof attr), "secrets.readonly");
}

static void make_programs(struct child *c, struct sources *sources) {
    make_dir("usr", 0755);
    attach(sources->usr, "usr");
    for (int i = 0; i < TOP_LEVEL; i++) {
        if (sources->link[i][0]) must(symlink(sources->link[i], top_level[i]), "link");
        if (sources->top[i] < 0) continue;
        make_dir(top_level[i], 0755);
        attach(sources->top[i], top_level[i]);
    }
    make_etc(c, sources);
}

void mounts_build(struct child *c) {
    struct sources sources;
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    umask(022);
    /* An engine mounts a /proc of its own, too late for this. Here it is still the host's, which shows each its own bounds. */
    if (c->spec->engine) bound_inotify("/proc");
    if (!c->spec->root) open_sources(&sources);
    make_root(c);
    if (!c->spec->root) make_programs(c, &sources);
    else root_attach(c);
    make_dev();
    make_secrets(c);
    if (c->spec->root) root_etc(c);
    if (c->spec->node) root_node(c);
    binds_attach(c);
    if (c->spec->engine) make_dir("proc", 0555);
    else make_proc(c);
    make_tmp(c);
    make_dir("op", 0755);
    files_write(c, "op", TREE_OP, 0555, 0444);
    /* A mount of its own: the one place in the new root where something may be executed. */
    attach(clone_tree("op", PROGRAMS), "op");
    if (c->spec->engine) engine_root(c, STAGE);

    must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "detach");
    must(chdir("/"), "chdir");
    char cwd[8];
    if (!getcwd(cwd, sizeof cwd) || strcmp(cwd, "/") != 0) die_errno("getcwd", ENOTDIR);
    struct mount_attr attr = {.attr_set = DATA};
    must(mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof attr), "readonly");
    struct mount_attr everywhere = {.attr_set = MOUNT_ATTR_NOSUID};
    must(mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &everywhere, sizeof everywhere), "nosuid");
}

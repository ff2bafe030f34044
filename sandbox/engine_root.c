/* The root of an engine's run: the engine, its bundle and its state, and below /rootfs what the Op will see. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "die.h"
#include "engine.h"

/* What the host's runtimes and their libraries are found by. */
static const char *const shared[] = {"usr", "etc", "dev", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};
enum { SHARED = sizeof shared / sizeof *shared };

static int tree_of(const char *path) {
    int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
    must(fd < 0, "engine.tree");
    return fd;
}

static void directory(const char *path) {
    must(mkdir(path, 0755), "engine.mkdir");
}

/* The container's PID 1 is this very program: one init, one way to apply the filter, whatever the engine. */
static void copy_self(int from) {
    int to = open("run/init", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0555);
    must(to < 0, "engine.init");
    ssize_t n;
    do n = sendfile(to, from, NULL, 1 << 20);
    while (n > 0);
    must(n < 0 || fchmod(to, 0555), "engine.init");
    close(from);
    close(to);
}

static void small_tmpfs(const char *where, const char *options) {
    directory(where);
    must(mount("tmpfs", where, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options), "engine.tmpfs");
}

void engine_root(struct child *c, const char *stage) {
    copy_self(c->self);
    int tree[SHARED], rootfs;
    char link[SHARED][64];
    for (int i = 0; i < SHARED; i++) {
        ssize_t n = readlink(shared[i], link[i], sizeof link[i] - 1);
        link[i][n > 0 ? n : 0] = 0;
        struct stat st;
        tree[i] = n > 0 || lstat(shared[i], &st) ? -1 : tree_of(shared[i]);
    }
    rootfs = tree_of(".");
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    must(mount_setattr(rootfs, "", AT_EMPTY_PATH, &attr, sizeof attr), "engine.readonly");

    must(mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m,nr_inodes=128"), "engine.root");
    must(chdir(stage), "engine.root");
    for (int i = 0; i < SHARED; i++) {
        if (link[i][0]) must(symlink(link[i], shared[i]), "engine.link");
        if (tree[i] < 0) continue;
        directory(shared[i]);
        must(move_mount(tree[i], "", AT_FDCWD, shared[i], MOVE_MOUNT_F_EMPTY_PATH), "engine.mount");
        close(tree[i]);
    }
    directory("rootfs");
    must(move_mount(rootfs, "", AT_FDCWD, "rootfs", MOVE_MOUNT_F_EMPTY_PATH), "engine.mount");
    close(rootfs);
    directory("bundle");
    files_write(c, "bundle", TREE_BUNDLE, 0444, 0444);
    small_tmpfs("run", "mode=0700,size=16m,nr_inodes=1024");
    small_tmpfs("tmp", "mode=0700,size=4m,nr_inodes=128");
    /* Unmasked, since the kernel lets the container have a /proc of its own only then. The Op never sees this one. */
    directory("proc");
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "engine.proc");
    directory("sys");
    directory("sys/fs");
    directory("sys/fs/cgroup");
    /* The runtimes ask which version it is. The limits are the outer group's, which is not below this one's root. */
    if (mount("cgroup2", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) && errno != EPERM &&
        errno != ENODEV && errno != EBUSY)
        die("engine.cgroup");
}

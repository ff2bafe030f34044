/* Files, directories and sockets of the host that root listed by name, each at /run/resources/NAME. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"
#include "landlock.h"

static _Noreturn void refused(const struct spec_bind *bind, int error) {
    char step[5 + SPEC_MAX_BIND_NAME + 1];
    snprintf(step, sizeof step, "bind %s", bind->name);
    die_errno(step, error);
}

static int wrong_kind(const struct spec_bind *bind, mode_t mode) {
    switch (bind->kind) {
    case BIND_DIRECTORY:
        return S_ISDIR(mode) ? 0 : ENOTDIR;
    case BIND_FILE:
        return S_ISREG(mode) ? 0 : S_ISDIR(mode) ? EISDIR : EINVAL;
    default:
        return S_ISSOCK(mode) ? 0 : ENOTSOCK;
    }
}

/* As the account that the host knows us by: the way there may be closed to the one that the run becomes. What was checked
   is what is opened: no link anywhere, the same inode. */
void binds_open(struct child *c) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    for (size_t i = 0; i < c->spec->bind_count; i++) {
        struct spec_bind *bind = &c->spec->binds[i];
        struct stat st;
        bind->fd = (int)syscall(SYS_openat2, AT_FDCWD, bind->path, &how, sizeof how);
        if (bind->fd < 0 || fstat(bind->fd, &st)) refused(bind, errno);
        int wrong = wrong_kind(bind, st.st_mode);
        if (wrong) refused(bind, wrong);
        if (st.st_dev != bind->dev || st.st_ino != bind->ino) refused(bind, ESTALE);
    }
}

static void make_mountpoint(const struct spec_bind *bind, const char *where) {
    if (bind->kind == BIND_DIRECTORY) {
        if (mkdir(where, 0755)) refused(bind, errno);
        return;
    }
    int fd = open(where, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (fd < 0) refused(bind, errno);
    close(fd);
}

/* With what is mounted below it; nothing of it is executed, and a program's setuid bit or a device node means nothing. */
void binds_attach(struct child *c) {
    if (c->spec->bind_count) must(mkdir("run/resources", 0755), "bind");
    for (size_t i = 0; i < c->spec->bind_count; i++) {
        struct spec_bind *bind = &c->spec->binds[i];
        char where[sizeof "run/resources/" + SPEC_MAX_BIND_NAME];
        snprintf(where, sizeof where, "run/resources/%s", bind->name);
        make_mountpoint(bind, where);
        int tree = open_tree(bind->fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
        if (!bind->writable) attr.attr_set |= MOUNT_ATTR_RDONLY;
        if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) ||
            move_mount(tree, "", AT_FDCWD, where, MOVE_MOUNT_F_EMPTY_PATH))
            refused(bind, errno);
        close(tree);
        close(bind->fd);
    }
}

void binds_allow(struct child *c, const struct ruleset *set) {
    for (size_t i = 0; i < c->spec->bind_count; i++) {
        const struct spec_bind *bind = &c->spec->binds[i];
        char path[sizeof "/run/resources/" + SPEC_MAX_BIND_NAME];
        snprintf(path, sizeof path, "/run/resources/%s", bind->name);
        if (bind->writable) landlock_path(set, path, RIGHT_READ | RIGHT_WRITE);
    }
}

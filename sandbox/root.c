/* What a run is given instead of the host's programs, or beside them: an imported root file system, and the Node that our own
   executable is at /run/runtime/node. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

static const uint64_t PROGRAMS = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
static const uint64_t DATA = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
enum { MAX_TOP_LEVEL = 64 };

/* Ours in every sandbox, whatever an image has there. */
static const char *const own[] = {".", "..", "proc", "dev", "sys", "tmp", "op", "run", "etc"};

bool root_is_own(const char *name) {
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(name, own[i]) == 0) return true;
    return false;
}

/* As the account that the host knows us by: the way there may be closed to the one that the run becomes. */
void root_open(struct child *c) {
    c->root = c->node = -1;
    if (c->spec->root) {
        c->root = open(c->spec->root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        must(c->root < 0, "runtime.root");
    }
    if (c->spec->node) {
        c->node = open(c->spec->node, O_PATH | O_CLOEXEC);
        must(c->node < 0, "runtime.node");
        struct stat st;
        must(fstat(c->node, &st), "runtime.node");
        if (!S_ISREG(st.st_mode)) die_errno("runtime.node", ENOEXEC);
    }
}

static void bind_at(int dir, const char *name, const char *where, uint64_t attributes) {
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH);
    int tree = open_tree(dir, name, flags);
    must(tree < 0, "runtime.open_tree");
    struct mount_attr attr = {.attr_set = attributes};
    must(mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr), "runtime.mount_setattr");
    must(move_mount(tree, "", AT_FDCWD, where, MOVE_MOUNT_F_EMPTY_PATH), "runtime.move_mount");
    close(tree);
}

static void make_file(const char *path) {
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
    must(fd < 0, "runtime.mountpoint");
    close(fd);
}

static void attach_entry(int root, const char *name) {
    struct stat st;
    must(fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW), "runtime.entry");
    if (S_ISLNK(st.st_mode)) {
        char target[4096];
        ssize_t n = readlinkat(root, name, target, sizeof target - 1);
        must(n <= 0, "runtime.link");
        target[n] = 0;
        must(symlink(target, name), "runtime.link");
        return;
    }
    if (S_ISDIR(st.st_mode)) must(mkdir(name, 0755), "runtime.mkdir");
    else if (S_ISREG(st.st_mode)) make_file(name);
    else return;
    bind_at(root, name, name, PROGRAMS);
}

/* The image's files, beneath a root directory of ours. */
void root_attach(struct child *c) {
    int copy = dup(c->root);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    must(!dir, "runtime.list");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (root_is_own(entry->d_name)) continue;
        if (++count > MAX_TOP_LEVEL) die_errno("runtime.list", E2BIG);
        attach_entry(c->root, entry->d_name);
    }
    closedir(dir);
}

/* The image's /etc, over it one by one what is the run's own. The import has made a plain file for each. */
void root_etc(struct child *c) {
    must(mkdir("etc", 0755), "runtime.mkdir");
    bind_at(c->root, "etc", "etc", DATA);
    must(mkdir("run/etc", 0755), "runtime.mkdir");
    files_write(c, "run/etc", TREE_ETC, 0444, 0444);
    for (size_t i = 0; i < c->spec->file_count; i++) {
        const struct spec_file *f = &c->spec->files[i];
        if (f->tree != TREE_ETC) continue;
        char from[SPEC_MAX_PATH + 16], to[SPEC_MAX_PATH + 16];
        snprintf(from, sizeof from, "run/etc/%s", f->path);
        snprintf(to, sizeof to, "etc/%s", f->path);
        /* A way through the image's directories could be one of its links. */
        if (f->kind != KIND_FILE || strchr(f->path, '/')) die_errno("runtime.etc", EINVAL);
        bind_at(AT_FDCWD, from, to, DATA);
    }
    close(c->root);
}

void root_node(struct child *c) {
    must(mkdir("run/runtime", 0755), "runtime.mkdir");
    make_file("run/runtime/node");
    bind_at(c->node, "", "run/runtime/node", PROGRAMS);
    close(c->node);
}

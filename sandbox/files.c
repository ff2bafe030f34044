/* Writes the spec's file entries into one of the run's trees. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

/* Opens the directory that holds `path`, making the ones missing. The tree is ours alone and holds no links but the ones
   of /etc that this spec made itself; O_NOFOLLOW refuses to walk through those. */
static int parent_of(int root, const char *path, const char **name) {
    int dir = root;
    for (;;) {
        const char *slash = strchr(path, '/');
        if (!slash) break;
        char part[256];
        memcpy(part, path, (size_t)(slash - path));
        part[slash - path] = 0;
        if (mkdirat(dir, part, 0755) && errno != EEXIST) die("files.mkdir");
        int next = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        must(next < 0, "files.open");
        if (dir != root) close(dir);
        dir = next;
        path = slash + 1;
    }
    *name = path;
    return dir;
}

static void write_file(int dir, const char *name, const struct spec_file *f, mode_t mode) {
    int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    must(fd < 0, "files.create");
    for (size_t done = 0; done < f->size;) {
        ssize_t n = write(fd, f->data + done, f->size - done);
        if (n < 0 && errno == EINTR) continue;
        must(n < 0, "files.write");
        done += (size_t)n;
    }
    must(fchmod(fd, mode), "files.mode");
    close(fd);
}

/* Mode of a file: (its own & mode_mask) | mode_set. */
void files_write(struct child *c, const char *root_path, enum tree tree, uint16_t mode_mask, uint16_t mode_set) {
    int root = -1;
    for (size_t i = 0; i < c->spec->file_count; i++) {
        const struct spec_file *f = &c->spec->files[i];
        if (f->tree != tree) continue;
        if (root < 0) root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        must(root < 0, "files.root");
        const char *name;
        int dir = parent_of(root, f->path, &name);
        if (f->kind == KIND_DIRECTORY) {
            if (mkdirat(dir, name, 0755) && errno != EEXIST) die("files.mkdir");
        } else if (f->kind == KIND_SYMLINK) {
            must(symlinkat((const char *)f->data, dir, name), "files.link");
        } else {
            write_file(dir, name, f, (mode_t)((f->mode & mode_mask) | mode_set));
        }
        if (dir != root) close(dir);
    }
    if (root >= 0) close(root);
}

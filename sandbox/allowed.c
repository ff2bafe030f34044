/* What of the host a runner's launcher gives to runs: what serve listed in the runner's confinement, whatever the runner says. */
#include <string.h>

#include "run.h"

static bool same(const char *may, const char *wanted) {
    return !wanted || (may && strcmp(may, wanted) == 0);
}

/* The directories of imported root file systems are named by their digests. */
static bool root_allowed(const char *roots, const char *path) {
    static const char name[] = "/sha256-";
    if (!path) return true;
    size_t n = roots ? strlen(roots) : 0;
    if (!roots || strncmp(path, roots, n) != 0 || strncmp(path + n, name, sizeof name - 1) != 0) return false;
    const char *hex = path + n + sizeof name - 1;
    return strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

static bool bind_allowed(const struct spec *may, const struct spec_bind *wanted) {
    for (size_t i = 0; i < may->bind_count; i++) {
        const struct spec_bind *listed = &may->binds[i];
        /* Whether it is a directory or a file is for who looks at it now; a socket is listed as one. */
        if (strcmp(listed->name, wanted->name) == 0)
            return (listed->kind == BIND_SOCKET) == (wanted->kind == BIND_SOCKET) && listed->writable >= wanted->writable &&
                   strcmp(listed->path, wanted->path) == 0;
    }
    return false;
}

bool allowed(const struct spec *may, const struct spec *wanted) {
    for (size_t i = 0; i < wanted->bind_count; i++)
        if (!bind_allowed(may, &wanted->binds[i])) return false;
    return root_allowed(may->root, wanted->root) && same(may->node, wanted->node) && same(may->egress_path, wanted->egress_path);
}

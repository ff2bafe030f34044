#define _GNU_SOURCE
#include "landlock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

/* linux/landlock.h as of ABI 7. Bits 0..12 are ABI 1; then refer (2), truncate (3), device ioctl (5). */
enum { FS_EXECUTE = 1 << 0, FS_WRITE = 1 << 1, FS_READ = 1 << 2, FS_READ_DIR = 1 << 3, FS_REFER = 1 << 13 };
enum { FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15, FS_ABI1 = (1 << 13) - 1 };
enum { FS_OF_FILES = FS_EXECUTE | FS_WRITE | FS_READ | FS_TRUNCATE | FS_IOCTL_DEV };
enum { RULE_PATH = 1, RULE_PORT = 2, CREATE_VERSION = 1 };
enum { ABI_NET = 4, ABI_SCOPE = 6 };

struct ruleset_attr {
    uint64_t files, net, scoped;
};
struct path_attr {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));
struct port_attr {
    uint64_t allowed, port;
};

int landlock_open(struct ruleset *set, int handle_files, uint8_t net, uint8_t scope) {
    *set = (struct ruleset){.fd = -1};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    if (abi < 0) return errno;
    set->abi = (int)abi;
    uint64_t known = FS_ABI1;
    if (abi >= 2) known |= FS_REFER;
    if (abi >= 3) known |= FS_TRUNCATE;
    if (abi >= 5) known |= FS_IOCTL_DEV;
    set->files = handle_files ? known : 0;
    struct ruleset_attr attr = {set->files, abi >= ABI_NET ? net : 0, abi >= ABI_SCOPE ? scope : 0};
    if (!attr.files && !attr.net && !attr.scoped) return EOPNOTSUPP;
    size_t size = abi >= ABI_SCOPE ? 24 : abi >= ABI_NET ? 16 : 8;
    set->fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    return set->fd < 0 ? errno : 0;
}

void landlock_path(const struct ruleset *set, const char *path, uint8_t rights) {
    if (set->fd < 0 || !set->files) return;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && (rights & RIGHT_OPTIONAL)) return;
    must(fd < 0, "landlock.path");
    uint64_t allowed = 0;
    if (rights & RIGHT_READ) allowed |= FS_READ | FS_READ_DIR;
    if (rights & RIGHT_EXEC) allowed |= FS_EXECUTE | FS_READ;
    if (rights & RIGHT_WRITE) allowed |= ~(uint64_t)(FS_EXECUTE | FS_READ | FS_READ_DIR);
    if (rights & RIGHT_LIST) allowed |= FS_READ_DIR;
    struct stat st;
    must(fstat(fd, &st), "landlock.path");
    if (!S_ISDIR(st.st_mode)) allowed &= FS_OF_FILES;
    struct path_attr attr = {allowed & set->files, fd};
    must((int)syscall(SYS_landlock_add_rule, set->fd, RULE_PATH, &attr, 0), "landlock.rule");
    close(fd);
}

void landlock_port(const struct ruleset *set, uint8_t rights, uint16_t port) {
    if (set->fd < 0 || set->abi < ABI_NET) return;
    struct port_attr attr = {rights, port};
    must((int)syscall(SYS_landlock_add_rule, set->fd, RULE_PORT, &attr, 0), "landlock.port");
}

void landlock_enforce(struct ruleset *set) {
    if (set->fd < 0) return;
    must((int)syscall(SYS_landlock_restrict_self, set->fd, 0), "landlock");
    close(set->fd);
    set->fd = -1;
}

/* What root.c attached; a link has the rights of where it leads. */
static void imported(const struct ruleset *set) {
    DIR *dir = opendir("/");
    must(!dir, "landlock.list");
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[NAME_MAX + 2];
        struct stat st;
        snprintf(path, sizeof path, "/%.*s", NAME_MAX, entry->d_name);
        if (root_is_own(entry->d_name)) continue;
        must(lstat(path, &st), "landlock.list");
        if (!S_ISLNK(st.st_mode)) landlock_path(set, path, RIGHT_READ | RIGHT_EXEC);
    }
    closedir(dir);
}

/* Second fence behind the mounts: nothing that the Op can write can be executed, nothing outside these can be opened. */
void landlock_op(struct child *c) {
    static const struct {
        const char *path;
        uint8_t rights;
        bool host; /* the host's programs */
    } rules[] = {
        {"/", RIGHT_LIST},
        {"/usr", RIGHT_READ | RIGHT_EXEC, true},
        {"/op", RIGHT_READ | RIGHT_EXEC},
        {"/bin", RIGHT_READ | RIGHT_EXEC | RIGHT_OPTIONAL, true},
        {"/sbin", RIGHT_READ | RIGHT_EXEC | RIGHT_OPTIONAL, true},
        {"/lib", RIGHT_READ | RIGHT_EXEC | RIGHT_OPTIONAL, true},
        {"/lib64", RIGHT_READ | RIGHT_EXEC | RIGHT_OPTIONAL, true},
        {"/etc", RIGHT_READ},
        {"/run", RIGHT_READ},
        {"/run/runtime", RIGHT_READ | RIGHT_EXEC | RIGHT_OPTIONAL},
        {"/proc", RIGHT_READ},
        {"/dev", RIGHT_READ | RIGHT_WRITE},
        {"/tmp", RIGHT_READ | RIGHT_WRITE},
    };
    struct ruleset set;
    int error = landlock_open(&set, 1, 0, 0);
    if (error) {
        /* A kernel without it, or a container that refuses it; anything else is no reason to go on without. */
        if (error != ENOSYS && error != EOPNOTSUPP && error != EPERM && error != EACCES) die_errno("landlock.create", error);
        c->flags |= STARTED_NO_LANDLOCK;
        return;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        /* An image's /bin may be a link to anywhere, /tmp included: its directories get rules of their own. */
        if (c->spec->root && rules[i].host) continue;
        landlock_path(&set, rules[i].path, rules[i].rights);
    }
    if (c->spec->root) imported(&set);
    binds_allow(c, &set);
    landlock_enforce(&set);
}

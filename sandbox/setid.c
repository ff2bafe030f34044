/* Whoever may write on the host makes nothing setuid or setgid there: the file would be the account's that runs Ops, and any
   user of the host could become that account by it. No mount flag of ours holds on the host's own mount. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

enum { X32 = 0x40000000, MAKES = O_CREAT | (O_TMPFILE & ~O_DIRECTORY), BITS = S_ISUID | S_ISGID };
/* Places in the program below. */
enum { ARG_1 = 23, ARG_2 = 17, OPEN = 15, OPENAT = 19, TEST = 24, ALLOW = 25, DENY = 26, MISSING = 27, LENGTH = 28 };

#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (what))
#define FIELD(name) offsetof(struct seccomp_data, name)
/* The lower half: the kernel's own type of each of these arguments is no wider. */
#define ARGUMENT(i) (offsetof(struct seccomp_data, args) + 8 * (i))
#define GO(at, test, value, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (yes) - (at) - 1, (no) - (at) - 1)
#define CALL(at, nr, to) GO(at, BPF_JEQ, nr, to, (at) + 1)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))

static struct sock_filter program[] = {
    LOAD(FIELD(arch)),
    GO(1, BPF_JEQ, AUDIT_ARCH_X86_64, 2, DENY),
    LOAD(FIELD(nr)),
    GO(3, BPF_JGE, X32, DENY, 4),
    /* Its mode is behind a pointer; everybody falls back to openat. */
    CALL(4, SYS_openat2, MISSING),
    CALL(5, SYS_open, OPEN),
    CALL(6, SYS_openat, OPENAT),
    CALL(7, SYS_chmod, ARG_1),
    CALL(8, SYS_fchmod, ARG_1),
    CALL(9, SYS_creat, ARG_1),
    CALL(10, SYS_mknod, ARG_1),
    CALL(11, SYS_fchmodat, ARG_2),
    CALL(12, SYS_fchmodat2, ARG_2),
    CALL(13, SYS_mknodat, ARG_2),
    RETURN(SECCOMP_RET_ALLOW),
    [OPEN] = LOAD(ARGUMENT(1)),
    GO(16, BPF_JSET, MAKES, ARG_2, ALLOW),
    [ARG_2] = LOAD(ARGUMENT(2)),
    BPF_STMT(BPF_JMP | BPF_JA, TEST - 19),
    [OPENAT] = LOAD(ARGUMENT(2)),
    GO(20, BPF_JSET, MAKES, 21, ALLOW),
    LOAD(ARGUMENT(3)),
    BPF_STMT(BPF_JMP | BPF_JA, TEST - 23),
    [ARG_1] = LOAD(ARGUMENT(1)),
    [TEST] = GO(24, BPF_JSET, BITS, DENY, ALLOW),
    [ALLOW] = RETURN(SECCOMP_RET_ALLOW),
    [DENY] = RETURN(SECCOMP_RET_ERRNO | EPERM),
    [MISSING] = RETURN(SECCOMP_RET_ERRNO | ENOSYS),
};
_Static_assert(sizeof program / sizeof *program == LENGTH, "places");

void setid_refuse(const struct child *c) {
    bool writes = false;
    for (size_t i = 0; i < c->spec->bind_count; i++) writes |= c->spec->binds[i].writable;
    if (!writes) return;
    struct sock_fprog filter = {LENGTH, program};
    must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), "setid");
}

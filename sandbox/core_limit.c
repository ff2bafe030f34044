/* The core limit of 1 stays. With 0, which everybody may ask for, a crash would start the program that the host's core_pattern
   names, as root and outside of every namespace, to read what the Op left for it (core(5)). Asking for another is answered as
   done: programs that hold secrets ask for 0, and some end where that fails. */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "child.h"

/* Places in the program below. */
enum { SET = 5, SET_OF = 7, OF = 11, DONE = 13, REST = 14 };

#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (what))
#define FIELD(name) offsetof(struct seccomp_data, name)
/* The lower half: the kernel's own type of a resource is no wider. */
#define ARGUMENT(i) (offsetof(struct seccomp_data, args) + 8 * (i))
#define GO(at, value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes) - (at) - 1, (no) - (at) - 1)

/* Runs in front of the profile. Foreign calls are the profile's to kill. */
static const struct sock_filter guard[] = {
    LOAD(FIELD(arch)),
    GO(1, AUDIT_ARCH_X86_64, 2, REST),
    LOAD(FIELD(nr)),
    GO(3, SYS_prlimit64, SET_OF, 4),
    GO(4, SYS_setrlimit, SET, REST),
    [SET] = LOAD(ARGUMENT(0)),
    GO(6, RLIMIT_CORE, DONE, REST),
    /* Without new limits it only reads. */
    [SET_OF] = LOAD(ARGUMENT(2)),
    GO(8, 0, 9, OF),
    LOAD(ARGUMENT(2) + 4),
    GO(10, 0, REST, OF),
    [OF] = LOAD(ARGUMENT(1)),
    GO(12, RLIMIT_CORE, DONE, REST),
    [DONE] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
};
_Static_assert(sizeof guard / sizeof *guard == REST, "places");
_Static_assert(sizeof guard <= FILTER_AROUND * sizeof *guard, "room");

void core_limit_keep(struct spec *spec) {
    static struct sock_filter out[BPF_MAXINSNS];
    memcpy(out, guard, sizeof guard);
    memcpy(out + REST, spec->filter, spec->filter_len * sizeof *out);
    spec->filter = out;
    spec->filter_len += REST;
}

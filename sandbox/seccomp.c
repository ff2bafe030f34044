/* Installs a filter that was compiled beforehand. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static int notifies(const struct sock_filter *filter, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (filter[i].code == (BPF_RET | BPF_K) && (filter[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF) return 1;
    return 0;
}

int seccomp_install(struct sock_filter *filter, size_t len) {
    struct sock_fprog program = {(unsigned short)len, filter};
    if (!notifies(filter, len)) {
        must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
        return -1;
    }
    /* Killable: a signal must not make the Op's refused call restart and be reported again (Linux 5.19). */
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
    if (fd < 0 && errno == EINVAL) fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    must(fd < 0, "seccomp");
    return (int)fd;
}

/* First steps inside the new namespaces: identity, tie to the parent, names. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

static void loopback_up(void) {
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_LOOPBACK};
    strcpy(request.ifr_name, "lo");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd < 0, "loopback");
    must(ioctl(fd, SIOCSIFFLAGS, &request), "loopback");
    close(fd);
}

/* The raw calls: glibc's wrappers would signal "all threads", which after clone3 they know nothing about. */
static void become(uint32_t uid, uint32_t gid) {
    /* EPERM: an ordinary user's map forbids it (setgroups: deny), the kernel's own condition for that map. */
    if (syscall(SYS_setgroups, 0, NULL) && errno != EPERM) die("setgroups");
    must((int)syscall(SYS_setresgid, gid, gid, gid), "setresgid");
    must((int)syscall(SYS_setresuid, uid, uid, uid), "setresuid");
}

void ns_enter(struct child *c) {
    /* Here and not at the clone: making a network takes longest of all, and the launcher has other runs to start. */
    must(unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS), "unshare");
    order_wait(c);
    /* The cgroup we are in becomes the root of what we see. Mounts only now, as the host has them now (see start.c). */
    must(unshare(CLONE_NEWCGROUP | CLONE_NEWNS), "unshare");
    root_open(c);
    binds_open(c);
    if (c->spec->loopback || c->spec->egress_path) loopback_up();
    /* Still as the launcher's own account, which alone may connect to the egress process. */
    if (c->spec->egress_path) egress_hand_over(c);
    become(c->spec->uid, c->spec->gid);

    /* A change of identity clears it, so only now; then look whether the parent was gone before it took effect. */
    must(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "pdeathsig");
    struct pollfd parent = {CHILD_PARENT, POLLIN, 0};
    if (poll(&parent, 1, 0) != 0) die_errno("parent", ESRCH);
    close(CHILD_PARENT);

    must(sethostname(c->spec->hostname, strlen(c->spec->hostname)), "sethostname");
    must(setdomainname("", 0), "setdomainname");
}

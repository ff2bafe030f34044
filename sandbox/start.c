/* The launcher's side of a start: cgroup, clone, id maps, the order. And the spares: processes made ahead, in their own
   namespaces and groups, since making those is a third of a run's set-up. Each is used once, for one run. A spare stays in
   the launcher's mount namespace until its order: it must not hold on to file systems that the host lets go of. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "die.h"
#include "engine.h"
#include "run.h"

/* A spare fits only a run with these ids inside, the default. Refilled a while after an order, not while its run is set up;
   after a spare that failed much later. */
enum { SPARE_ID = 1000, REFILL_MS = 60, RETRY_MS = 5000 };
/* Host ids for runs of a root launcher: far from any account, one of its own for each run, so that not even a way out of
   the namespaces would let one run touch another. */
enum { HOST_ID_BASE = 0x6f000000, HOST_ID_COUNT = 65536, HOST_ID_NOBODY = 65534 };

struct ids {
    uint32_t uid, gid;
};

static bool write_proc(pid_t pid, const char *file, const char *text) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n == (ssize_t)strlen(text);
}

static bool write_map(pid_t pid, const char *file, uint32_t inside, uint32_t outside) {
    char line[48];
    snprintf(line, sizeof line, "%u %u 1", inside, outside);
    return write_proc(pid, file, line);
}

static bool write_both(pid_t pid, const struct ids *ids, uint32_t host_uid, uint32_t host_gid, uint32_t *chosen) {
    *chosen = host_uid;
    return write_map(pid, "gid_map", ids->gid, host_gid) && write_map(pid, "uid_map", ids->uid, host_uid);
}

/* Whether 0 in here is somebody else's id outside (user_namespaces(7)). */
static bool is_ordinary_outside(const char *map) {
    unsigned inside, outside;
    FILE *f = fopen(map, "re");
    if (!f) return false;
    bool is = fscanf(f, "%u %u", &inside, &outside) == 2 && inside == 0 && outside != 0;
    fclose(f);
    return is;
}

/* One id inside, one outside. An ordinary user can map only itself; root maps to an id that owns nothing, and to 0 only
   where that is an ordinary account: on the host a way out of the namespaces would make the run root, in a container that
   maps one account alone it would be that account, as the run of any ordinary user would. */
static bool write_maps(pid_t pid, const struct ids *ids, unsigned serial, uint32_t *host_uid) {
    if (geteuid() != 0) return write_proc(pid, "setgroups", "deny") && write_both(pid, ids, geteuid(), getegid(), host_uid);
    uint32_t own = HOST_ID_BASE + serial % HOST_ID_COUNT;
    if (write_both(pid, ids, own, own, host_uid)) return true;
    /* Root of a container whose own map is short, */
    if (write_both(pid, ids, HOST_ID_NOBODY, HOST_ID_NOBODY, host_uid)) return true;
    /* or has one account. */
    return is_ordinary_outside("/proc/self/uid_map") && is_ordinary_outside("/proc/self/gid_map") && write_both(pid, ids, 0, 0, host_uid);
}

/* So that /dev/stdout can be opened by name: a pipe belongs to who made it, and the Op is somebody else. */
static void give_pipes(const int stdio[4], uint32_t host_uid) {
    for (int i = 0; i < 4; i++) {
        struct stat st;
        if (stdio[i] < 0 || fstat(stdio[i], &st) || !S_ISFIFO(st.st_mode) || st.st_uid == host_uid) continue;
        /* Only root can, and without it only this convenience is missing. */
        if (fchown(stdio[i], host_uid, (gid_t)-1)) errno = 0;
    }
}

static pid_t clone_run(struct run *run, int cgroup_fd) {
    struct clone_args args = {
        .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)&run->pidfd,
        .exit_signal = SIGCHLD,
    };
    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_fd;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* Makes the process; it waits for its order. Without a spec: a spare. Returns the step that failed, with errno; then
   run->pid is above 0 where there is a process all the same. */
static const char *make(struct loop *loop, struct run *run, struct spec *spec, const int stdio[4]) {
    int ctl[2], lists[CGROUP_HIERARCHIES];
    if (!cgroup_make(&run->cgroup, ++loop->serial, !spec || spec->limit[LIMIT_CPU_MILLI])) return "cgroup";
    if (!cgroup_lists(&run->cgroup, lists)) return "cgroup";
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl)) return (cgroup_lists_close(lists), "socketpair");
    int cgroup_fd = cgroup_open(&run->cgroup);
    struct child child = {.spec = spec, .cgroup = (uint32_t)run->cgroup.mode, .listener = -1};
    run->pid = clone_run(run, cgroup_fd);
    if (run->pid == 0) {
        die_to(ctl[1]);
        memset(loop->title, 0, loop->title_size);
        /* Before the group, which may take no real-time process; as the launcher's account, whose our /proc/self is. */
        priority_ordinary();
        must(!cgroup_enter(lists), "cgroup.tasks");
        descriptors_place(&child, stdio, ctl[1], loop->self_pidfd);
        child_main(&child);
    }
    int error = errno;
    if (cgroup_fd >= 0) close(cgroup_fd);
    cgroup_lists_close(lists);
    close(ctl[1]);
    run->ctl = ctl[0];
    errno = error;
    if (run->pid < 0) return "clone";
    struct ids ids = {SPARE_ID, SPARE_ID};
    if (spec) ids = (struct ids){spec->uid, spec->gid};
    return write_maps(run->pid, &ids, loop->serial, &run->host_uid) ? NULL : "id map";
}

/* Sends the order: to a spare with the spec's descriptor and stdio, to any other (spec_fd -1) without. */
static bool send_go(int ctl, int spec_fd, const int stdio[4]) {
    struct pkt_go go = {'G', 0};
    struct iovec iov = {&go, sizeof go};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * RUN_MAX_FDS)];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (spec_fd >= 0) {
        int fds[RUN_MAX_FDS] = {spec_fd};
        size_t count = 1;
        for (int i = 0; i < 4; i++) {
            if (stdio[i] < 0) continue;
            go.mask |= (uint8_t)(1 << i);
            fds[count++] = stdio[i];
        }
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(h), fds, sizeof(int) * count);
    }
    return sendmsg(ctl, &msg, MSG_NOSIGNAL) == sizeof go;
}

void spare_end(struct loop *loop, struct run *spare) {
    if (spare->pid > 0) {
        if (syscall(SYS_pidfd_send_signal, spare->pidfd, SIGKILL, NULL, 0)) errno = 0;
        while (waitpid(spare->pid, NULL, __WALL) < 0 && errno == EINTR) continue;
        close(spare->pidfd);
    }
    if (spare->ctl >= 0) close(spare->ctl);
    if (!cgroup_remove(&spare->cgroup)) cgroup_forget(&spare->cgroup);
    *spare = (struct run){.pidfd = -1, .ctl = -1};
    loop->refill_ms = now_ms() + RETRY_MS;
}

static bool take_spare(struct loop *loop, struct run *run, const struct spec *spec) {
    if (spec->uid != SPARE_ID || spec->gid != SPARE_ID) return false;
    for (int i = 0; i < SPARES; i++) {
        struct run *spare = &loop->spares[i];
        if (spare->state != RUN_SETUP) continue;
        struct pollfd dead = {spare->pidfd, POLLIN, 0};
        if (poll(&dead, 1, 0) != 0) {
            spare_end(loop, spare);
            continue;
        }
        run->pid = spare->pid;
        run->pidfd = spare->pidfd;
        run->ctl = spare->ctl;
        run->cgroup = spare->cgroup;
        run->host_uid = spare->host_uid;
        spare->state = RUN_FREE;
        loop->refill_ms = now_ms() + REFILL_MS;
        return true;
    }
    return false;
}

const char *run_start(struct loop *loop, struct run *run, struct spec *spec, int spec_fd, const int stdio[4]) {
    const uint64_t *limit = spec->limit;
    if (loop->may && !allowed(loop->may, spec)) return (errno = EACCES, "allowed");
    if (loop->cgroup == CGROUP_NONE && spec->cgroup_required) return (errno = EOPNOTSUPP, "cgroup");
    if (spec->engine && !(spec->engine_program = engine_program(spec->engine))) return "engine.program";
    const char *step = NULL;
    if (spec_fd < 0 || !take_spare(loop, run, spec)) {
        spec_fd = -1;
        step = make(loop, run, spec, stdio);
        if (run->pid <= 0) return step;
    }
    if (!step && !cgroup_limit(&run->cgroup, run->watch.memory, run->watch.pids, limit[LIMIT_CPU_MILLI])) step = "cgroup";
    if (!step) give_pipes(stdio, run->host_uid);
    if (!step && !send_go(run->ctl, spec_fd, stdio)) step = "go";
    /* Not refused here: the child that waits is killed, and its end tells this step. */
    if (step) {
        int error = errno;
        /* It may have died of what it said itself, and the step here failed of that. */
        run_hear(loop, run);
        if (!run->failed) run->failure = (struct failure){step, error};
        run->failed = true;
        run_signal(run, SIGKILL);
        run->killed = false;
    }
    return NULL;
}

int spares_clock(struct loop *loop) {
    if (loop->out < 0) return -1;
    for (int i = 0; i < SPARES; i++) {
        struct run *spare = &loop->spares[i];
        if (spare->state != RUN_FREE) continue;
        int64_t left = loop->refill_ms - now_ms();
        if (left > 0) return (int)left;
        static const int none[4] = {-1, -1, -1, -1};
        *spare = (struct run){.state = RUN_SETUP, .pidfd = -1, .ctl = -1};
        if (make(loop, spare, NULL, none)) spare_end(loop, spare);
        /* One a turn: what else has come is looked at in between. */
        return 0;
    }
    return -1;
}

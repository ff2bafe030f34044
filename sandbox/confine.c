#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"
#include "landlock.h"

static int by_number(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

void confine_close(struct spec *s, int launcher_fd) {
    int keep[SPEC_MAX_KEEP + 2];
    size_t n = 0;
    for (size_t i = 0; i < s->keep_count; i++) keep[n++] = s->keep[i];
    if (launcher_fd >= 0) keep[n++] = launcher_fd;
    for (size_t i = 0; i < n; i++) {
        int flags = fcntl(keep[i], F_GETFD);
        must(flags < 0 || fcntl(keep[i], F_SETFD, flags & ~FD_CLOEXEC), "keep_fd");
    }
    if (s->exec_fd >= 0) {
        must(fcntl(s->exec_fd, F_SETFD, FD_CLOEXEC), "exec_fd");
        keep[n++] = s->exec_fd;
    }
    qsort(keep, n, sizeof *keep, by_number);
    unsigned from = 3;
    for (size_t i = 0; i < n; i++) {
        if (keep[i] < 3 || (unsigned)keep[i] < from) continue;
        if ((unsigned)keep[i] > from) must(close_range(from, (unsigned)keep[i] - 1, 0), "close_range");
        from = (unsigned)keep[i] + 1;
    }
    must(close_range(from, ~0U, 0), "close_range");
}

static void set_rlimit(uint32_t resource, uint64_t value) {
    struct rlimit limit = {value, value};
    must(setrlimit((__rlimit_resource_t)resource, &limit), "rlimit");
}

/* Refused as a whole (containers do that): the role still has its filter; it is told, and says so in `status`. */
static const char *apply_landlock(struct spec *s) {
    static char text[48];
    struct ruleset set = {.fd = -1};
    if (!s->path_count && !s->net_handled && !s->scope) return "SALLYPORT_LANDLOCK=unused";
    int error = landlock_open(&set, s->path_count > 0, s->net_handled, s->scope);
    if (error) {
        const char *name = strerrorname_np(error);
        snprintf(text, sizeof text, "SALLYPORT_LANDLOCK=refused=%s", name ? name : "?");
        return text;
    }
    for (size_t i = 0; i < s->path_count; i++) landlock_path(&set, s->paths[i].path, s->paths[i].rights);
    for (size_t i = 0; i < s->port_count; i++) landlock_port(&set, s->ports[i].rights & s->net_handled, s->ports[i].port);
    snprintf(text, sizeof text, "SALLYPORT_LANDLOCK=abi=%d", set.abi);
    landlock_enforce(&set);
    return text;
}

void confine_exec(struct spec *s, pid_t parent, int launcher_fd) {
    static char launcher_text[40];
    confine_close(s, launcher_fd);
    for (size_t i = 0; i < s->rlimit_count; i++) set_rlimit(s->rlimits[i].resource, s->rlimits[i].value);
    if (s->cwd) must(chdir(s->cwd), "cwd");
    if (s->pdeathsig) {
        must(prctl(PR_SET_PDEATHSIG, s->pdeathsig, 0, 0, 0), "pdeathsig");
        /* It died before the line above took effect. */
        if (getppid() != parent) die_errno("parent", ESRCH);
    }
    sigset_t none;
    sigemptyset(&none);
    must(sigprocmask(SIG_SETMASK, &none, NULL), "sigmask");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    s->envp[s->envc++] = (char *)(uintptr_t)apply_landlock(s);
    /* Root's: Landlock minds neither modes and owners nor whom a signal reaches (before its ABI 6). */
    caps_drop();
    if (launcher_fd >= 0) {
        snprintf(launcher_text, sizeof launcher_text, "SALLYPORT_LAUNCHER_FD=%d", launcher_fd);
        s->envp[s->envc++] = launcher_text;
    }
    s->envp[s->envc] = NULL;
    if (s->filter_len && seccomp_install(s->filter, s->filter_len) >= 0) die_errno("seccomp.notify", EINVAL);
    if (s->exec_fd >= 0) syscall(SYS_execveat, s->exec_fd, "", s->argv, s->envp, AT_EMPTY_PATH);
    else execve(s->exec_path, s->argv, s->envp);
    die("exec");
}

/* The launcher's cgroup v2 steps with a controller that this machine has (CGROUP_V2_NEEDS), from inside a group made for it.
   Prints what came of each. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../sandbox/cgroup.h"

static pid_t clone_into(int fd) {
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .cgroup = (uint64_t)fd, .exit_signal = SIGCHLD};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void print_own(const char *what) {
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "0::", 3) == 0) printf("%s %s", what, line + 3);
    if (f) fclose(f);
    fflush(stdout);
}

int main(void) {
    printf("mode %d\n", cgroup_setup());
    print_own("self");
    struct cgroup group;
    printf("made %d\n", cgroup_make(&group, 1, true));
    int fd = cgroup_open(&group);
    fflush(stdout);
    pid_t pid = clone_into(fd);
    if (pid == 0) {
        print_own("run");
        signal(SIGTERM, SIG_IGN);
        if (fork() == 0) setsid();
        for (;;) pause();
    }
    if (pid < 0) return (perror("clone3"), 1);
    usleep(100000);
    cgroup_kill(&group);
    int status;
    if (waitpid(pid, &status, 0) != pid) return 1;
    printf("killed by %d\n", WTERMSIG(status));
    bool gone = false;
    for (int i = 0; i < 500 && !(gone = cgroup_remove(&group)); i++) usleep(10000);
    printf("removed %d\n", gone);
    fflush(stdout);
    /* Until the test has looked. */
    char byte;
    return read(0, &byte, 1) < 0;
}

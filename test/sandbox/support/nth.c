/* `nth launcher|child N LAUNCHER`: runs `LAUNCHER once 4` under ptrace and makes the N-th system call of the launcher itself, or
   of the run's processes, fail with EIO: those between clone3 and the Op's exec. At the end says on descriptor 7 which call it
   was: "NUMBER FIRST-ARGUMENT", or "none" when there were fewer. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PID = 1 << 22 };
static bool failing[MAX_PID]; /* its call was replaced: give it the error on the way out */
static bool known[MAX_PID];

static void set_result(pid_t pid, bool entry) {
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs)) return;
    if (entry) regs.orig_rax = (unsigned long long)-1;
    else regs.rax = (unsigned long long)-EIO;
    ptrace(PTRACE_SETREGS, pid, NULL, &regs);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    bool of_launcher = strcmp(argv[1], "launcher") == 0, begun = false, over = false;
    long nth = strtol(argv[2], NULL, 10), seen = 0, hit_nr = -1;
    unsigned long long hit_arg = 0;
    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        char *const args[] = {argv[3], "once", "4", NULL};
        execve(argv[3], args, (char *[]){"PATH=/usr/bin", NULL});
        _exit(98);
    }
    int status, code = 99;
    waitpid(first, &status, 0);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    ptrace(PTRACE_SETOPTIONS, first, NULL, options);
    ptrace(PTRACE_SYSCALL, first, NULL, NULL);
    known[first] = true;
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (pid == first) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int sig = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_EXEC && pid != first) over = true;
        if (event || (!known[pid] && sig == SIGSTOP)) sig = 0;
        known[pid] = true;
        if (sig == (SIGTRAP | 0x80)) {
            sig = 0;
            struct __ptrace_syscall_info info;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0) {
                bool entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
                if (entry && pid == first && info.entry.nr == SYS_clone3) begun = true;
                /* Of the launcher's own calls those that made the process belong to it too. */
                bool counts = entry && !over && begun && (pid == first) == of_launcher;
                if (counts && ++seen == nth) {
                    hit_nr = (long)info.entry.nr;
                    hit_arg = info.entry.args[0];
                    set_result(pid, true);
                    failing[pid] = true;
                } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && failing[pid]) {
                    set_result(pid, false);
                    failing[pid] = false;
                }
            }
        } else if (sig == SIGTRAP) {
            sig = 0;
        }
        ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(uintptr_t)sig);
    }
    if (hit_nr < 0) dprintf(7, "none\n");
    else dprintf(7, "%ld %llu\n", hit_nr, hit_arg);
    return code;
}

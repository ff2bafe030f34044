/* Attempts to become more than the Op is: rights, priority, limits, and processes that are not its own. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls that every program may make; what is asked for, the kernel must refuse. */
static void p_right(char *name)
{
	static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	static const struct __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}};
	const struct {
		const char *name;
		long number, a, b, c;
	} rights[] = {
		{"capabilities", SYS_capset, (long)(uintptr_t)&header, (long)(uintptr_t)all, 0},
		{"ambient", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN},
		{"securebits", SYS_prctl, PR_SET_SECUREBITS, 1, 0},
		{"new-privileges", SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0},
		{"no-seccomp", SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_DISABLED, 0},
		{"memory-map", SYS_prctl, PR_SET_MM, PR_SET_MM_START_CODE, 4096},
		{"exe-file", SYS_prctl, PR_SET_MM, PR_SET_MM_EXE_FILE, 0},
		{"io-flusher", SYS_prctl, PR_SET_IO_FLUSHER, 1, 0},
		/* Class 1 (real time), level 0, of the process itself. */
		{"io-priority", SYS_ioprio_set, 1, 0, 1 << 13},
		{"groups", SYS_setgroups, 0, 0, 0},
		{"group", SYS_setresgid, 0, 0, 0},
		{"adjtimex", SYS_adjtimex, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
		if (strcmp(rights[i].name, name) == 0) {
			outcome(syscall(rights[i].number, rights[i].a, rights[i].b, rights[i].c, 0, 0));
			return;
		}
	say("UNKNOWN");
}

static void p_schedule(char *policy)
{
	struct sched_param first = {.sched_priority = 1};
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = {48, 6, 0, 0, 0, 1000000, 10000000, 10000000};
	if (strcmp(policy, "fifo") == 0)
		outcome(sched_setscheduler(0, SCHED_FIFO, &first));
	else if (strcmp(policy, "deadline") == 0)
		outcome(syscall(SYS_sched_setattr, 0, &attr, 0));
	else
		outcome(setpriority(PRIO_PROCESS, 0, atoi(policy)));
}

/* Of every process of its user, as far as it is seen. */
static void p_nice_user(char *nice)
{
	outcome(setpriority(PRIO_USER, 0, atoi(nice)));
}

/* The hard limit of a resource by its number, one higher. */
static void p_raise(char *resource)
{
	struct rlimit limit;
	__rlimit_resource_t which = (__rlimit_resource_t)atoi(resource);
	if (getrlimit(which, &limit) != 0)
		outcome(-1);
	else if (limit.rlim_max == RLIM_INFINITY)
		say("UNLIMITED");
	else {
		limit.rlim_max++;
		outcome(setrlimit(which, &limit));
	}
}

/* Every way to reach a process by its number. Says the first that did, or what all of them said. */
static void p_reach(char *argument)
{
	pid_t pid = atoi(argument);
	cpu_set_t cpus;
	siginfo_t info = {.si_signo = SIGCONT, .si_code = SI_QUEUE};
	struct rlimit limit;
	int fds[2];
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
		outcome(-1);
		return;
	}
	for (int way = 0; way < 10; way++) {
		long value = -1;
		errno = 0;
		switch (way) {
		case 0: value = kill(pid, SIGCONT); break;
		case 1: value = syscall(SYS_tgkill, pid, pid, SIGCONT); break;
		case 2: value = syscall(SYS_rt_sigqueueinfo, pid, SIGCONT, &info); break;
		case 3: value = syscall(SYS_pidfd_open, pid, 0); break;
		case 4: value = sched_setaffinity(pid, sizeof cpus, &cpus); break;
		case 5: value = prlimit(pid, RLIMIT_NOFILE, NULL, &limit); break;
		case 6: value = setpriority(PRIO_PROCESS, (id_t)pid, 19); break;
		case 7: value = getpgid(pid); break;
		case 8: value = fcntl(fds[0], F_SETOWN, pid); break;
		default: value = syscall(SYS_ioprio_set, 1, pid, 3 << 13); break;
		}
		if (value >= 0) {
			char text[24];
			snprintf(text, sizeof text, "WAY %d", way);
			say(text);
			return;
		}
		if (errno != ESRCH) {
			outcome(-1);
			return;
		}
	}
	say("ESRCH");
}

/* Says of itself over a socket that it is process 1 and root. */
static void p_forge(char *argument)
{
	int fds[2];
	struct ucred root = {1, 0, 0};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof root)];
	} control = {0};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	(void)argument;
	*h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS, .cmsg_len = CMSG_LEN(sizeof root)};
	memcpy(CMSG_DATA(h), &root, sizeof root);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		outcome(-1);
	else
		outcome(sendmsg(fds[0], &msg, 0));
}

const struct probe probe_rights[] = {
	{"right", p_right, 0},
	{"schedule", p_schedule, 0},
	{"nice-user", p_nice_user, 0},
	{"raise", p_raise, 0},
	{"reach", p_reach, 0},
	{"forge", p_forge, 0},
	{NULL, NULL, 0},
};

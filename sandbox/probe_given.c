/* What was given to the Op, tried as a whole: every file, family and call instead of one of each. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* Asks for a core limit of 0, then for none at all, by each door; says what the limit is then. */
static void p_core_limit(char *argument)
{
	struct rlimit wanted = {0, 0}, now = {77, 77};
	char text[64];
	(void)argument;
	for (uint64_t i = 0; i < 4; i++) {
		/* The kernel reads the low half only. */
		uint64_t core = RLIMIT_CORE | (i & 1) << 32;
		if (i == 2)
			wanted.rlim_cur = wanted.rlim_max = RLIM_INFINITY;
		syscall(SYS_setrlimit, core, &wanted);
		syscall(SYS_prlimit64, 0, core, &wanted, NULL);
		syscall(SYS_prlimit64, getpid(), core, &wanted, &now);
	}
	if (getrlimit(RLIMIT_CORE, &now) != 0) {
		outcome(-1);
		return;
	}
	snprintf(text, sizeof text, "%lu %lu", (unsigned long)now.rlim_cur, (unsigned long)now.rlim_max);
	say(text);
}

/* Who is at the other end of a socket, and what a signal to it says: "pid uid errno". */
static void p_peer(char *number)
{
	struct ucred peer = {-1, (uid_t)-1, (gid_t)-1};
	socklen_t size = sizeof peer;
	int fd = atoi(number), pidfd = -1;
	char text[64];
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
		outcome(-1);
		return;
	}
	size = sizeof pidfd;
	long sent = getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size);
	if (sent == 0)
		sent = syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
	snprintf(text, sizeof text, "%d %u %s", (int)peer.pid, peer.uid, sent == 0 ? "OK" : strerrorname_np(errno));
	say(text);
}

/* Code in a memfd that was made to hold none: can its mode be changed? Then it runs (exec-memfd tries the others). */
static void p_memfd_mode(char *argument)
{
	int fd = memfd_create("code", MFD_CLOEXEC | 8 /* MFD_NOEXEC_SEAL */);
	(void)argument;
	outcome(fd < 0 ? -1 : fchmod(fd, 0777));
}

/* The groups of the process, as it sees them; of the cgroup namespace's own only the root may be. */
static void p_groups(char *argument)
{
	char line[4096];
	FILE *file = fopen("/proc/self/cgroup", "re");
	(void)argument;
	if (!file) {
		outcome(-1);
		return;
	}
	while (fgets(line, sizeof line, file)) {
		char *path = strrchr(line, ':');
		line[strcspn(line, "\n")] = 0;
		if (path && !strstr(probe_result, path + 1))
			add(path + 1);
	}
	fclose(file);
}

static const char *skipped;

static int look(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)where;
	/* Its own processes: ends of pipes, and the files that any program may write of itself. */
	if (kind == FTW_SL || kind == FTW_NS || (S_ISLNK(st->st_mode)))
		return FTW_CONTINUE;
	if (kind == FTW_D || kind == FTW_DNR || kind == FTW_DP) {
		char name[4200];
		if (skipped && strcmp(path, skipped) == 0)
			return FTW_SKIP_SUBTREE;
		snprintf(name, sizeof name, "%s/probe-new", path);
		int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return FTW_CONTINUE;
		close(fd);
		unlink(name);
		add(path);
		return FTW_CONTINUE;
	}
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return FTW_CONTINUE;
	close(fd);
	add(path);
	return FTW_CONTINUE;
}

/* Each file and directory below a path that can be written: "path" or "path:what to leave out". */
static void p_writable(char *path)
{
	char *out = strchr(path, ':');
	if (out)
		*out++ = 0;
	skipped = out;
	if (nftw(path, look, 32, FTW_PHYS | FTW_ACTIONRETVAL) < 0)
		outcome(-1);
}

/* Every family, kind and a few protocols of a socket: those that there are. */
static void p_families(char *argument)
{
	(void)argument;
	for (int family = 0; family < 128; family++)
		for (int kind = 1; kind < 11; kind++) {
			int fd = socket(family, kind | SOCK_CLOEXEC, 0);
			if (fd < 0)
				continue;
			close(fd);
			char text[32];
			snprintf(text, sizeof text, "%d/%d", family, kind);
			add(text);
		}
}

/* System calls by number, "1,2,3", without arguments: those that answer otherwise than expected, "=EPERM" in front. */
static void p_numbers(char *list)
{
	const char *expected = strsep(&list, "=");
	for (char *number; (number = strsep(&list, ","));) {
		errno = 0;
		long value = syscall(atol(number), 0, 0, 0, 0, 0, 0);
		const char *name = value >= 0 ? "OK" : strerrorname_np(errno);
		if (!name || strcmp(name, expected) != 0) {
			char text[64];
			snprintf(text, sizeof text, "%s:%s", number, name ? name : "?");
			add(text);
		}
	}
}

/* Whose its session is: 0 is one of a process that it does not see. */
static void p_session(char *argument)
{
	(void)argument;
	say(getsid(0) > 0 && getpgid(0) > 0 ? "own" : "another's");
}

/* How many fences of Landlock it can still put up around itself: the kernel takes 16, those around it included. */
static void p_fences(char *argument)
{
	uint64_t handled = 1;
	long count = 0;
	char text[24];
	(void)argument;
	int set = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
	if (set < 0) {
		outcome(-1);
		return;
	}
	while (count < 64 && syscall(SYS_landlock_restrict_self, set, 0) == 0)
		count++;
	snprintf(text, sizeof text, "%ld %s", count, strerrorname_np(errno));
	say(text);
}

const struct probe probe_given[] = {
	{"session", p_session, 0},
	{"fences", p_fences, 0},
	{"core-limit", p_core_limit, 0},
	{"peer", p_peer, 0},
	{"memfd-mode", p_memfd_mode, 0},
	{"groups", p_groups, 0},
	{"writable", p_writable, 60},
	{"families", p_families, 0},
	{"numbers", p_numbers, 0},
	{NULL, NULL, 0},
};

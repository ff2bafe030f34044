/* Attempts to get past the mounts by what the Op was given, or by what it makes itself. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A descriptor of its own, opened anew for all that it may: what is behind it? */
static void p_reopen(char *number)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/self/fd/%d", atoi(number));
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		outcome(-1);
	else
		say(S_ISFIFO(st.st_mode) ? "FIFO" : S_ISCHR(st.st_mode) ? "CHR" : S_ISSOCK(st.st_mode) ? "SOCK" : "REG");
}

static void read_one(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	outcome(fd < 0 ? fd : read(fd, &byte, 1));
}

/* Reads a path through a link of its own. */
static void p_symlink(char *target)
{
	static const char link_path[] = "/tmp/probe-link";
	if (symlink(target, link_path) != 0) {
		outcome(-1);
		return;
	}
	read_one(link_path);
	unlink(link_path);
}

static void p_hard_link(char *from)
{
	outcome(link(from, "/tmp/probe-hard"));
}

static void p_rename(char *from)
{
	outcome(rename(from, "/tmp/probe-renamed"));
}

/* What belongs to the host and can be opened: its mode, owner, times, attributes, and to stall who opens it to write. */
static void p_chmod(char *path) { outcome(chmod(path, 0777)); }
static void p_chown(char *path) { outcome(chown(path, getuid(), getgid())); }
static void p_xattr(char *path) { outcome(setxattr(path, "user.probe", "x", 1, 0)); }

static void p_times(char *path)
{
	const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
	outcome(utimensat(AT_FDCWD, path, long_ago, 0));
}

static void p_lease(char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	outcome(fd < 0 ? fd : fcntl(fd, F_SETLEASE, F_RDLCK));
}

static void p_truncate(char *path) { outcome(truncate(path, 0)); }

static void p_map_write(char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	outcome(fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
}

/* What a program loader would do with a file of its own. */
static void p_map_exec(char *path)
{
	static const char code[4096] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	if (fd < 0 || write(fd, code, sizeof code) != (ssize_t)sizeof code)
		outcome(-1);
	else
		outcome(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
	unlink(path);
}

/* Mounts that others would hear of, or that hear of others': "shared", "master", "propagate_from". */
static void p_propagation(char *argument)
{
	char line[4096];
	FILE *file = fopen("/proc/self/mountinfo", "re");
	(void)argument;
	if (!file) {
		outcome(-1);
		return;
	}
	say("none");
	while (fgets(line, sizeof line, file)) {
		char *options = strstr(line, " - ");
		if (options)
			*options = 0;
		if (strstr(line, " shared:") || strstr(line, " master:") || strstr(line, " propagate_from:"))
			say(line);
	}
	fclose(file);
}

const struct probe probe_ways[] = {
	{"reopen", p_reopen, 0},
	{"symlink", p_symlink, 0},
	{"hard-link", p_hard_link, 0},
	{"rename", p_rename, 0},
	{"chmod", p_chmod, 0},
	{"chown", p_chown, 0},
	{"xattr", p_xattr, 0},
	{"times", p_times, 0},
	{"lease", p_lease, 0},
	{"truncate", p_truncate, 0},
	{"map-write", p_map_write, 0},
	{"map-exec", p_map_exec, 0},
	{"propagation", p_propagation, 0},
	{NULL, NULL, 0},
};

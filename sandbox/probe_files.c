/* Attempts on files, /proc, descriptors; facts about what the Op was given. */
#define _GNU_SOURCE
#include "probe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

extern char **environ;

static void p_read(char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	outcome(fd < 0 ? fd : read(fd, &byte, 1));
}

static void p_write(char *path) { outcome(open(path, O_WRONLY | O_CLOEXEC)); }

static void p_create(char *path) { outcome(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)); }

static void p_stat(char *path)
{
	struct stat st;
	outcome(stat(path, &st));
}

static void list(const char *path, int numbers_only)
{
	DIR *dir = opendir(path);
	if (!dir) {
		outcome(-1);
		return;
	}
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    (!numbers_only || isdigit((unsigned char)e->d_name[0])))
			add(e->d_name);
	closedir(dir);
}

static void p_list(char *path) { list(path, 0); }
static void p_pids(char *argument)
{
	(void)argument;
	list("/proc", 1);
}

/* Climbs as far as ".." leads, once by path and once from a descriptor of a directory, and looks for a name there. */
static void p_climb(char *name)
{
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat root, here;
	if (fd < 0 || fchdir(fd) != 0 || stat("/", &root) != 0) {
		outcome(-1);
		return;
	}
	for (int i = 0; i < 64; i++)
		if (chdir("..") != 0)
			break;
	if (stat(".", &here) != 0 || here.st_ino != root.st_ino || here.st_dev != root.st_dev)
		say("OUTSIDE");
	else
		outcome(access(name, F_OK));
}

static void p_mknod(char *path) { outcome(mknod(path, S_IFCHR | 0600, makedev(1, 5))); }
static void p_link(char *path) { outcome(link("/usr/bin/env", path)); }

static void run_fd(int fd)
{
	char name[] = "copy";
	char *argv[] = {name, NULL};
	fexecve(fd, argv, environ);
	outcome(-1);
}

/* Copies this program and executes the copy: from a path, or from a memfd. */
static int copy_self(int to)
{
	char buffer[65536];
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (from < 0)
		from = open("./probe", O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return -1;
	for (ssize_t n; (n = read(from, buffer, sizeof buffer)) != 0;)
		if (n < 0 || write(to, buffer, (size_t)n) != n)
			return -1;
	close(from);
	return 0;
}

static void p_exec_copy(char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	if (fd < 0 || copy_self(fd) != 0 || close(fd) != 0) {
		outcome(-1);
		return;
	}
	char *argv[] = {path, NULL};
	execve(path, argv, environ);
	outcome(-1);
}

static void p_exec_memfd(char *argument)
{
	(void)argument;
	int fd = memfd_create("copy", MFD_CLOEXEC);
	if (fd < 0 || copy_self(fd) != 0)
		outcome(-1);
	else
		run_fd(fd);
}

/* "path:offset" bytes into a file until no more go; says how many KiB went and why no more. */
static void p_fill(char *path)
{
	static char block[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	long kib = 0;
	if (fd < 0) {
		outcome(-1);
		return;
	}
	memset(block, 1, sizeof block);
	ssize_t n = 0;
	while (kib < 4L * 1024 * 1024 && (n = write(fd, block, sizeof block)) > 0)
		kib += n / 1024;
	char text[64];
	snprintf(text, sizeof text, "%ld %s", kib, n < 0 ? strerrorname_np(errno) : "OK");
	unlink(path);
	say(text);
}

static void p_inodes(char *folder)
{
	char path[512], text[64];
	int count = 0, fd = 0;
	for (; count < 200000; count++) {
		snprintf(path, sizeof path, "%s/i%d", folder, count);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	snprintf(text, sizeof text, "%d %s", count, fd < 0 ? strerrorname_np(errno) : "OK");
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "%s/i%d", folder, i);
		unlink(path);
	}
	say(text);
}

/* Open descriptors, as numbers. Found by asking for each, so that it works without /proc. */
static void p_descriptors(char *argument)
{
	(void)argument;
	for (int fd = 0; fd < 4096; fd++)
		if (fcntl(fd, F_GETFD) >= 0) {
			char text[16];
			snprintf(text, sizeof text, "%d", fd);
			add(text);
		}
}

static void p_link_target(char *path)
{
	char target[1024];
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0) {
		outcome(-1);
		return;
	}
	target[n] = 0;
	say(target);
}

static void p_environment(char *argument)
{
	(void)argument;
	for (char **e = environ; *e; e++) {
		char name[128];
		snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
		add(name);
	}
}

/* A line of /proc/self/status. */
static void p_status(char *key)
{
	char line[512];
	FILE *file = fopen("/proc/self/status", "re");
	if (!file) {
		outcome(-1);
		return;
	}
	while (fgets(line, sizeof line, file)) {
		size_t length = strlen(key);
		if (strncmp(line, key, length) == 0 && line[length] == ':') {
			char *value = line + length + 1 + strspn(line + length + 1, " \t");
			value[strcspn(value, "\n")] = 0;
			say(value);
		}
	}
	fclose(file);
}

const struct probe probe_files[] = {
	{"read", p_read, 0},
	{"write", p_write, 0},
	{"create", p_create, 0},
	{"stat", p_stat, 0},
	{"list", p_list, 0},
	{"pids", p_pids, 0},
	{"climb", p_climb, 0},
	{"mknod", p_mknod, 0},
	{"link", p_link, 0},
	{"exec-copy", p_exec_copy, 0},
	{"exec-memfd", p_exec_memfd, 0},
	{"fill", p_fill, 60},
	{"inodes", p_inodes, 60},
	{"descriptors", p_descriptors, 0},
	{"link-target", p_link_target, 0},
	{"environment", p_environment, 0},
	{"status", p_status, 0},
	{NULL, NULL, 0},
};

const struct probe *const probe_tables[] = {probe_files,  probe_processes, probe_kernel, probe_network,
					    probe_facts,  probe_rights,    probe_ways,   probe_bombs,
					    probe_given,  NULL};

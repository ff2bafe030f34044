/* Facts about the mounts, namespaces and lists that the Op was given. */
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* How the file system of a path is mounted, as far as it fences: "ro nosuid nodev". */
static void p_flags(char *path)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} flags[] = {{ST_RDONLY, "ro"}, {ST_NOSUID, "nosuid"}, {ST_NODEV, "nodev"}, {ST_NOEXEC, "noexec"}};
	struct statvfs st;
	if (statvfs(path, &st) != 0) {
		outcome(-1);
		return;
	}
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (st.f_flag & flags[i].flag)
			add(flags[i].name);
}

/* Lines of a file: of most lists in /proc the first is a heading. */
static void p_lines(char *path)
{
	char block[4096], text[24];
	long lines = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		outcome(-1);
		return;
	}
	while ((n = read(fd, block, sizeof block)) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += block[i] == '\n';
	snprintf(text, sizeof text, "%ld", lines);
	say(text);
}

const struct probe probe_facts[] = {
	{"flags", p_flags, 0},
	{"lines", p_lines, 0},
	{NULL, NULL, 0},
};

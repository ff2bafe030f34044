/* Attempts on the network and on sockets of the host. */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* "address port", TCP; says TIMEOUT after 3 s. */
static void p_tcp(char *where)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char *space = strchr(where, ' ');
	if (!space) {
		say("UNKNOWN");
		return;
	}
	*space = 0;
	to.sin_port = htons((uint16_t)atoi(space + 1));
	int parsed = inet_pton(AF_INET, where, &to.sin_addr);
	*space = ' ';
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (parsed != 1 || fd < 0) {
		outcome(-1);
		return;
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
		outcome(0);
		return;
	}
	struct pollfd wait = {fd, POLLOUT, 0};
	if (errno == EINPROGRESS && poll(&wait, 1, 3000) == 0)
		say("TIMEOUT");
	else {
		socklen_t length = sizeof errno;
		int error = errno;
		if (error == EINPROGRESS && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
			error = errno;
		errno = error;
		outcome(error ? -1 : 0);
	}
}

static void p_udp(char *where)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || inet_pton(AF_INET, where, &to.sin_addr) != 1)
		outcome(-1);
	else
		outcome(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
}

static void local(const char *name, int abstract)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t length = strlen(name);
	if (fd < 0 || length > sizeof to.sun_path - 2) {
		outcome(-1);
		return;
	}
	memcpy(to.sun_path + abstract, name, length);
	outcome(connect(fd, (struct sockaddr *)&to,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1)));
}

static void p_abstract(char *name) { local(name, 1); }
static void p_unix(char *path) { local(path, 0); }

/* Listens on an abstract name for as long as it may run. */
static void p_listen(char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t length = strlen(name);
	if (length > sizeof at.sun_path - 2)
		length = sizeof at.sun_path - 2;
	memcpy(at.sun_path + 1, name, length);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, 8) != 0) {
		outcome(-1);
		return;
	}
	for (;;)
		pause();
}

/* Interfaces with flags: "lo:down". */
static void p_interfaces(char *argument)
{
	(void)argument;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *all = fd < 0 ? NULL : if_nameindex();
	FILE *file = all ? NULL : fopen("/proc/net/dev", "re");
	if (all)
		for (struct if_nameindex *i = all; i->if_name; i++)
			add(i->if_name);
	else if (file) {
		char line[512];
		while (fgets(line, sizeof line, file)) {
			char *colon = strchr(line, ':');
			if (!colon)
				continue;
			*colon = 0;
			add(line + strspn(line, " "));
		}
		fclose(file);
	} else
		outcome(-1);
}

/* "family type protocol" as numbers. */
static void p_socket(char *what)
{
	int family = 0, type = 0, protocol = 0;
	if (sscanf(what, "%d %d %d", &family, &type, &protocol) != 3)
		say("UNKNOWN");
	else
		outcome(socket(family, type | SOCK_CLOEXEC, protocol));
}

const struct probe probe_network[] = {
	{"tcp", p_tcp, 0},
	{"udp", p_udp, 0},
	{"abstract", p_abstract, 0},
	{"unix", p_unix, 0},
	{"listen", p_listen, 60},
	{"interfaces", p_interfaces, 0},
	{"socket", p_socket, 0},
	{NULL, NULL, 0},
};

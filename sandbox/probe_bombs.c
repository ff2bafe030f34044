/*
 * Attempts to use up what a run shares with others, or with itself: "name:count". Each says how much it got, and why no
 * more. With a "+" behind the count it says on stdout that it has it, and keeps it.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void keep(const char *argument)
{
	static const char held[] = "held\n";
	if (!argument || !strchr(argument, '+'))
		return;
	if (write(1, held, sizeof held - 1) < 0)
		return;
	for (;;)
		pause();
}

/* "count why" */
static void got(long count, const char *argument)
{
	char text[64];
	snprintf(text, sizeof text, "%ld %s", count, errno ? strerrorname_np(errno) : "OK");
	say(text);
	keep(argument);
}

static int most(const char *argument) { return argument ? atoi(argument) : 1 << 20; }

static void p_files(char *count)
{
	long made = 0;
	errno = 0;
	while (made < most(count) && open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		made++;
	got(made, count);
}

/* Pipes, each as large as it gets, and full: MiB. */
static void p_pipes(char *mib)
{
	static char block[65536];
	long bytes = 0;
	int fds[2];
	errno = 0;
	while (bytes >> 20 < most(mib) && pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0) {
		ssize_t n;
		fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
		while ((n = write(fds[1], block, sizeof block)) > 0)
			bytes += n;
		errno = 0;
	}
	got(bytes >> 20, mib);
}

/* Socket buffers, full: MiB. */
static void p_sockets(char *mib)
{
	static char block[65536];
	long bytes = 0;
	int fds[2];
	errno = 0;
	while (bytes >> 20 < most(mib) && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0) {
		ssize_t n;
		while ((n = send(fds[1], block, sizeof block, 0)) > 0)
			bytes += n;
		errno = 0;
	}
	got(bytes >> 20, mib);
}

/* Descriptors that nobody holds any more but a socket, which has them to deliver. */
static void p_in_flight(char *count)
{
	long sent = 0;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[2];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof null)];
	} control = {0};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	*h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof null)};
	memcpy(CMSG_DATA(h), &null, sizeof null);
	errno = 0;
	while (sent < most(count)) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
			break;
		while (sent < most(count) && sendmsg(fds[1], &msg, 0) == 1)
			sent++;
		if (errno != EAGAIN)
			break;
		errno = 0;
	}
	got(sent, count);
}

static void p_lock_memory(char *mib)
{
	size_t size = (size_t)most(mib) << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	outcome(memory == MAP_FAILED ? -1 : mlock(memory, size));
}

static void p_timers(char *count)
{
	long made = 0;
	struct sigevent none = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	timer_t timer;
	errno = 0;
	while (made < most(count) && timer_create(CLOCK_MONOTONIC, &none, &timer) == 0)
		made++;
	got(made, count);
}

static void p_signals(char *count)
{
	long queued = 0;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	errno = 0;
	while (queued < most(count) && sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0)
		queued++;
	got(queued, count);
}

static void p_inotify(char *count)
{
	long made = 0;
	errno = 0;
	while (made < most(count) && inotify_init1(IN_CLOEXEC) >= 0)
		made++;
	got(made, count);
}

/* Watches of a poll on one eventfd: as many as there are descriptors for. */
static void p_epoll(char *count)
{
	long made = 0;
	int event = eventfd(0, EFD_CLOEXEC);
	struct epoll_event want = {.events = EPOLLIN};
	errno = 0;
	while (made < most(count)) {
		int poll = epoll_create1(EPOLL_CLOEXEC);
		if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, event, &want) != 0)
			break;
		made++;
	}
	got(made, count);
}

/* A System V segment, written: memory of no process. */
static void p_segment(char *mib)
{
	size_t size = (size_t)most(mib) << 20;
	int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
	char *memory = id < 0 ? (char *)MAP_FAILED : (char *)shmat(id, NULL, 0);
	if (memory == (char *)MAP_FAILED) {
		outcome(-1);
		return;
	}
	for (size_t i = 0; i < size; i += 4096)
		memory[i] = 1;
	outcome(0);
	keep(mib);
}

/* A memfd, written: the same, without a name. */
static void p_memfd(char *mib)
{
	static char block[65536];
	int fd = memfd_create("bomb", MFD_CLOEXEC | 8 /* MFD_NOEXEC_SEAL */);
	long bytes = 0;
	ssize_t n = 0;
	errno = 0;
	while (fd >= 0 && bytes >> 20 < most(mib) && (n = write(fd, block, sizeof block)) > 0)
		bytes += n;
	got(bytes >> 20, mib);
}

/* A file of a TiB that holds one byte, and what of it can be made real. */
static void p_sparse(char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)1 << 40) != 0 || pwrite(fd, "x", 1, ((off_t)1 << 40) - 1) != 1 || fstat(fd, &st) != 0) {
		outcome(-1);
		return;
	}
	char text[64];
	int full = fallocate(fd, 0, 0, (off_t)1 << 40);
	snprintf(text, sizeof text, "%ld %s", (long)st.st_blocks / 2, full == 0 ? "OK" : strerrorname_np(errno));
	unlink(path);
	say(text);
}

const struct probe probe_bombs[] = {
	{"files", p_files, 60},
	{"pipes", p_pipes, 60},
	{"sockets", p_sockets, 60},
	{"in-flight", p_in_flight, 60},
	{"lock-memory", p_lock_memory, 60},
	{"timers", p_timers, 60},
	{"signals", p_signals, 60},
	{"inotify", p_inotify, 60},
	{"epoll", p_epoll, 60},
	{"segment", p_segment, 60},
	{"memfd", p_memfd, 60},
	{"sparse", p_sparse, 60},
	{NULL, NULL, 0},
};

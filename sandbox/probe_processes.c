/* Attempts on other processes, on IPC, and on the limits of the run. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *argument) { return argument; }

static void p_thread(char *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, nothing, argument);
	errno = error;
	outcome(error ? -1 : pthread_join(thread, NULL));
}

static void p_kill(char *pid) { outcome(kill(atoi(pid), 0)); }
static void p_ptrace(char *pid) { outcome(ptrace(PTRACE_ATTACH, atoi(pid), NULL, NULL)); }
static void p_traceme(char *argument)
{
	(void)argument;
	outcome(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static void p_vm_read(char *pid)
{
	char here[8];
	struct iovec local = {here, sizeof here}, remote = {here, sizeof here};
	outcome(process_vm_readv(atoi(pid), &local, 1, &remote, 1, 0));
}

static void p_vm_write(char *pid)
{
	char here[8] = "";
	struct iovec local = {here, sizeof here}, remote = {here, sizeof here};
	outcome(process_vm_writev(atoi(pid), &local, 1, &remote, 1, 0));
}

static void p_pidfd_getfd(char *pid)
{
	int fd = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
	outcome(fd < 0 ? fd : syscall(SYS_pidfd_getfd, fd, 0, 0));
}

static void p_getuid(char *argument)
{
	char text[64];
	(void)argument;
	snprintf(text, sizeof text, "%d %d %d %d", (int)getuid(), (int)geteuid(), (int)getgid(), (int)getegid());
	say(text);
}

static void p_setuid(char *uid) { outcome(setuid((uid_t)atoi(uid))); }

static void p_hostname(char *argument)
{
	char name[256] = "";
	(void)argument;
	if (gethostname(name, sizeof name - 1) != 0)
		outcome(-1);
	else
		say(name);
}

/* "KEY": a System V segment of that key that somebody else made. */
static void p_sysv(char *key) { outcome(shmget((key_t)atoi(key), 1, 0)); }
static void p_mq(char *name) { outcome(mq_open(name, O_RDWR)); }

/* One of each kind of System V under one key, and a POSIX queue of that name: what others must not find. */
static void p_ipc_make(char *key)
{
	int id = atoi(key);
	char name[32];
	struct mq_attr small = {.mq_maxmsg = 1, .mq_msgsize = 1};
	snprintf(name, sizeof name, "/probe-%d", id);
	umask(0);
	if (shmget(id, 4096, IPC_CREAT | 0666) < 0 || semget(id, 1, IPC_CREAT | 0666) < 0 || msgget(id, IPC_CREAT | 0666) < 0)
		outcome(-1);
	else
		/* An Op may be refused the queue, which is as good. */
		outcome(mq_open(name, O_RDWR | O_CREAT, 0666, &small) < 0 && errno != EMFILE && errno != EACCES ? -1 : 0);
}

static void p_ipc_remove(char *key)
{
	int id = atoi(key);
	char name[32];
	snprintf(name, sizeof name, "/probe-%d", id);
	mq_unlink(name);
	shmctl(shmget(id, 1, 0), IPC_RMID, NULL);
	semctl(semget(id, 1, 0), 0, IPC_RMID);
	outcome(msgctl(msgget(id, 0), IPC_RMID, NULL));
}

static void p_sem(char *key) { outcome(semget(atoi(key), 1, 0)); }
static void p_msg(char *key) { outcome(msgget(atoi(key), 0)); }

static void idle(void)
{
	for (;;)
		pause();
}

/* Both carry their argument in the command line, by which tests look for survivors. */
static void p_sleep(char *marker)
{
	(void)marker;
	alarm(0);
	idle();
}

static void p_stubborn(char *marker)
{
	(void)marker;
	alarm(0);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_IGN);
	idle();
}

/* Double fork, a session of its own, every signal ignored, output closed: a daemon as one writes them. */
static void p_daemon(char *marker)
{
	pid_t child = fork();
	if (child == 0) {
		setsid();
		if (fork() != 0)
			_exit(0);
		for (int fd = 0; fd < 16; fd++)
			close(fd);
		p_stubborn(marker);
	}
	outcome(child < 0 ? -1 : waitpid(child, NULL, 0));
}

static void p_stopped(char *marker)
{
	pid_t child = fork();
	if (child == 0) {
		(void)marker;
		alarm(0);
		raise(SIGSTOP);
		idle();
	}
	outcome(child);
}

/* Forks until it can't, at most "count" times; all children wait. Says how many and why no more. */
static void p_forks(char *count)
{
	int most = atoi(count), made = 0, error = 0;
	char text[64];
	while (made < most) {
		pid_t child = fork();
		if (child == 0) {
			alarm(30);
			idle();
		}
		if (child < 0) {
			error = errno;
			break;
		}
		made++;
	}
	snprintf(text, sizeof text, "%d %s", made, error ? strerrorname_np(error) : "OK");
	say(text);
	fflush(stdout);
}

/* Touches so many MiB. */
static void p_memory(char *mib)
{
	size_t size = (size_t)atoi(mib) << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		outcome(-1);
		return;
	}
	for (size_t i = 0; i < size; i += 4096)
		memory[i] = 1;
	outcome(0);
}

/* The same, and keeps them. */
static void p_hold(char *mib)
{
	p_memory(mib);
	fflush(stdout);
	idle();
}

/* A bomb proper: every process forks for ever. Only for runs that something bounds. */
static void p_bomb(char *marker)
{
	(void)marker;
	for (;;)
		if (fork() < 0)
			sched_yield();
}

const struct probe probe_processes[] = {
	{"thread", p_thread, 0},
	{"kill", p_kill, 0},
	{"ptrace", p_ptrace, 0},
	{"traceme", p_traceme, 0},
	{"vm-read", p_vm_read, 0},
	{"vm-write", p_vm_write, 0},
	{"pidfd-getfd", p_pidfd_getfd, 0},
	{"ids", p_getuid, 0},
	{"setuid", p_setuid, 0},
	{"hostname", p_hostname, 0},
	{"sysv", p_sysv, 0},
	{"mq", p_mq, 0},
	{"ipc-make", p_ipc_make, 0},
	{"ipc-remove", p_ipc_remove, 0},
	{"sem", p_sem, 0},
	{"msg", p_msg, 0},
	{"sleep", p_sleep, 0},
	{"stubborn", p_stubborn, 0},
	{"daemon", p_daemon, 0},
	{"stopped", p_stopped, 0},
	{"forks", p_forks, 60},
	{"memory", p_memory, 60},
	{"hold", p_hold, 60},
	{"bomb", p_bomb, 60},
	{NULL, NULL, 0},
};

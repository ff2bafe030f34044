/* under FILTER|listener COMMAND...: runs a command under a seccomp program (a file), or under one that has a listener, as some
   container runtimes put it around what they start. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static struct sock_filter filter[4096] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	size_t size = sizeof *filter;
	int listener = argc > 2 && strcmp(argv[1], "listener") == 0;
	if (argc < 3)
		return 97;
	if (!listener) {
		int file = open(argv[1], O_RDONLY | O_CLOEXEC);
		ssize_t n = read(file, filter, sizeof filter);
		if (n <= 0)
			return 97;
		size = (size_t)n;
	}
	struct sock_fprog program = {(unsigned short)(size / sizeof *filter), filter};
	unsigned flags = listener ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
		return 99;
	/* Whoever closes the listener takes it away: so we stay. */
	pid_t child = fork();
	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(98);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}

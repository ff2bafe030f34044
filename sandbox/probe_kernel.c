/* Attempts on the kernel: calls that no Op needs, by every door. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* Arguments are such that the call does no harm where it is let through. */
struct call {
	const char *name;
	long number;
	long a, b, c, d, e;
};

static char empty[256];
#define P(x) ((long)(uintptr_t)(x))

static void p_call(char *name)
{
	const struct call calls[] = {
		{"mount", SYS_mount, P("none"), P("/tmp"), P("tmpfs"), 0, 0},
		{"umount2", SYS_umount2, P("/tmp"), 0, 0, 0, 0},
		{"pivot_root", SYS_pivot_root, P("."), P("."), 0, 0, 0},
		{"chroot", SYS_chroot, P("/tmp"), 0, 0, 0, 0},
		{"fsopen", 430, P("tmpfs"), 0, 0, 0, 0},
		{"open_tree", 428, -100, P("/"), 1, 0, 0},
		{"fsconfig", 431, -1, 0, 0, 0, 0},
		{"fsmount", 432, -1, 0, 0, 0, 0},
		{"fspick", 433, -100, P("/"), 0, 0, 0},
		{"move_mount", 429, -1, P(""), -1, P(""), 4},
		{"mount_setattr", 442, -100, P("/"), 0, P(empty), 32},
		{"open_by_handle_at", SYS_open_by_handle_at, -100, P(empty), 0, 0, 0},
		{"unshare-user", SYS_unshare, CLONE_NEWUSER, 0, 0, 0, 0},
		{"unshare-net", SYS_unshare, CLONE_NEWNET, 0, 0, 0, 0},
		{"clone-user", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0},
		{"clone-user-high", SYS_clone, (long)(0x100000000ULL | CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0},
		{"clone-mounts", SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0},
		{"clone-processes", SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0},
		{"clone-net", SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0},
		{"clone-ipc", SYS_clone, CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0},
		{"clone-names", SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0},
		{"clone-cgroup", SYS_clone, CLONE_NEWCGROUP | SIGCHLD, 0, 0, 0, 0},
		{"unshare-time", SYS_unshare, 0x80, 0, 0, 0, 0},
		{"clone3", 435, P(empty), 88, 0, 0, 0},
		{"setns", SYS_setns, 0, 0, 0, 0, 0},
		{"io_uring_setup", 425, 1, P(empty), 0, 0, 0},
		{"bpf", SYS_bpf, 0, P(empty), 64, 0, 0},
		{"perf_event_open", SYS_perf_event_open, P(empty), 0, -1, -1, 0},
		{"userfaultfd", SYS_userfaultfd, 0, 0, 0, 0, 0},
		{"keyctl", SYS_keyctl, 0, -3, 1, 0, 0},
		{"request_key", SYS_request_key, P("user"), P("x"), 0, -3, 0},
		{"add_key", SYS_add_key, P("user"), P("x"), P("x"), 1, -3},
		{"kexec_load", SYS_kexec_load, 0, 0, 0, 0, 0},
		{"kexec_file_load", 320, -1, -1, 0, P(""), 0},
		{"init_module", SYS_init_module, P(empty), 0, P(""), 0, 0},
		{"finit_module", SYS_finit_module, -1, P(""), 0, 0, 0},
		{"delete_module", SYS_delete_module, P("none"), 0, 0, 0, 0},
		{"swapon", SYS_swapon, P("/tmp"), 0, 0, 0, 0},
		{"swapoff", SYS_swapoff, P("/tmp"), 0, 0, 0, 0},
		{"reboot", SYS_reboot, 0, 0, 0, 0, 0},
		{"syslog", SYS_syslog, 3, P(empty), 1, 0, 0},
		{"acct", SYS_acct, P("/tmp/acct"), 0, 0, 0, 0},
		{"quotactl", SYS_quotactl, 0, 0, 0, 0, 0},
		{"sethostname", SYS_sethostname, P("x"), 1, 0, 0, 0},
		{"settimeofday", SYS_settimeofday, P(empty), 0, 0, 0, 0},
		{"clock_settime", SYS_clock_settime, 0, P(empty), 0, 0, 0},
		{"setdomainname", SYS_setdomainname, P("x"), 1, 0, 0, 0},
		{"vhangup", SYS_vhangup, 0, 0, 0, 0, 0},
		{"ioperm", SYS_ioperm, 0x80, 1, 1, 0, 0},
		{"modify_ldt", SYS_modify_ldt, 0, P(empty), 16, 0, 0},
		{"move_pages", SYS_move_pages, 0, 0, 0, 0, 0},
		{"migrate_pages", SYS_migrate_pages, 0, 0, 0, 0, 0},
		{"name_to_handle_at", SYS_name_to_handle_at, -100, P("/"), P(empty), P(empty + 128), 0},
		{"iopl", SYS_iopl, 3, 0, 0, 0, 0},
		{"personality", SYS_personality, 0x0040000, 0, 0, 0, 0},
		{"process_madvise", 440, -1, P(empty), 0, 0, 0},
		{"fanotify_init", SYS_fanotify_init, 0, 0, 0, 0, 0},
		{"lookup_dcookie", 212, 0, P(empty), 1, 0, 0},
		{"kcmp", SYS_kcmp, 1, 1, 0, 0, 0},
		{"mbind", SYS_mbind, 0, 0, 0, 0, 0},
		{"memfd_secret", 447, 0, 0, 0, 0, 0},
		{"unknown", 999, 0, 0, 0, 0, 0},
		{"x32", 0x40000000L | SYS_getpid, 0, 0, 0, 0, 0},
		{"tiocsti", SYS_ioctl, 0, TIOCSTI, P("x"), 0, 0},
		{"tiocsti-high", SYS_ioctl, 0, (long)(0x100000000ULL | TIOCSTI), P("x"), 0, 0},
		{"tioclinux", SYS_ioctl, 0, 0x541C, P("\2"), 0, 0},
		{"tioclinux-high", SYS_ioctl, 0, (long)(0x100000000ULL | 0x541C), P("\2"), 0, 0},
	};
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strcmp(calls[i].name, name) == 0) {
			outcome(syscall(calls[i].number, calls[i].a, calls[i].b, calls[i].c, calls[i].d, calls[i].e));
			return;
		}
	say("UNKNOWN");
}

/* getpid through the i386 door. */
static void p_int80(char *argument)
{
	(void)argument;
#if defined(__x86_64__)
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	errno = (int)-result;
	outcome(result < 0 ? -1 : 0);
#else
	say("ENOSYS");
#endif
}

/* A filter of one's own that lets a listener answer: would hand out our own refusals. */
static void p_listener(char *argument)
{
	(void)argument;
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};
	outcome(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

const struct probe probe_kernel[] = {
	{"call", p_call, 0},
	{"int80", p_int80, 0},
	{"listener", p_listener, 0},
	{NULL, NULL, 0},
};

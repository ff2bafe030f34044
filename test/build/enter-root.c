/*
 * enter-root ROOT PROGRAM ARG... : runs PROGRAM with ROOT as its root file system, in mount, pid and network namespaces
 * of its own (a user namespace too, unless root calls it). pivot_root, not chroot: in a chroot the kernel refuses user
 * namespaces. ROOT becomes read-only but for state; tmp, run, dev/shm and var/tmp are tmpfs; all of these are noexec.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) err(125, "%s", path);
  close(fd);
}

static pid_t running;
static void pass(int signal) { kill(running, signal); }

static void inside(const char *path, char *out) { snprintf(out, 512, "%s", path + 1); }

int main(int argc, char **argv) {
  if (argc < 3) errx(125, "usage: enter-root ROOT PROGRAM ARG...");
  uid_t uid = getuid();
  gid_t gid = getgid();
  int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | (uid ? CLONE_NEWUSER : 0);
  if (unshare(flags) < 0) err(125, "unshare");
  if (uid) {
    char map[64];
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", uid, uid);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1", gid, gid);
    put("/proc/self/gid_map", map);
  }
  pid_t child = fork();
  if (child < 0) err(125, "fork");
  if (child) {
    /* A signal for the caller's program: as process 1 of its namespace it gets only what it handles. */
    running = child;
    signal(SIGTERM, pass);
    int status;
    while (waitpid(child, &status, 0) < 0)
      if (errno != EINTR) err(125, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) err(125, "private");
  if (mount(argv[1], argv[1], NULL, MS_BIND, NULL) < 0) err(125, "bind %s", argv[1]);
  if (chdir(argv[1]) < 0) err(125, "%s", argv[1]);
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) err(125, "proc");
  const char *devices[] = {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full"};
  char path[512];
  for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
    inside(devices[i], path);
    if (mount(devices[i], path, NULL, MS_BIND, NULL) < 0) err(125, "%s", devices[i]);
  }
  const char *temporary[] = {"tmp", "run", "dev/shm", "var/tmp"};
  for (size_t i = 0; i < sizeof temporary / sizeof *temporary; i++)
    if (mount("tmpfs", temporary[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777") < 0)
      err(125, "%s", temporary[i]);
  if (mount("state", "state", NULL, MS_BIND, NULL) < 0) err(125, "bind state");
  if (mount("", "state", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) err(125, "state");
  if (mount("", ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0) err(125, "read-only");
  if (syscall(SYS_pivot_root, ".", ".") < 0) err(125, "pivot_root");
  if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) err(125, "leave the old root");
  char *env[] = {"PATH=/nowhere", "HOME=/state", NULL};
  execve(argv[2], argv + 2, env);
  err(127, "%s", argv[2]);
}

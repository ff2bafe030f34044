/* A run gets no better place than other programs, whatever the launcher was started with: a unit that protects the appliance
   (OOMScoreAdjust=, Nice=, CPUSchedulingPolicy=, IOSchedulingClass=) would else protect what runs in it, against the host. At
   -1000 not even the run's own memory limit could end it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

/* By its raw call, whose answer tells an error from a value: 20 - nice. */
enum { ORDINARY = 20 };

static void memory(void) {
    char text[16] = {0};
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    must(fd < 0 || read(fd, text, sizeof text - 1) <= 0, "priority(memory)");
    if (strtol(text, NULL, 10) < 0) must(write(fd, "0", 1) != 1, "priority(memory)");
    close(fd);
}

static void processor(void) {
    int policy = sched_getscheduler(0);
    must(policy < 0, "priority(policy)");
    const struct sched_param none = {0};
    if (policy != SCHED_OTHER && policy != SCHED_BATCH && policy != SCHED_IDLE)
        must(sched_setscheduler(0, SCHED_OTHER, &none), "priority(policy)");
    long nice = syscall(SYS_getpriority, 0, 0);
    must(nice < 0, "priority(nice)");
    if (nice > ORDINARY) must((int)syscall(SYS_setpriority, 0, 0, 0), "priority(nice)");
}

static void disks(void) {
    long io = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
    /* A kernel without disks. */
    if (io < 0 && errno == ENOSYS) return;
    must(io < 0, "priority(io)");
    long class = IOPRIO_PRIO_CLASS(io), level = IOPRIO_PRIO_DATA(io);
    if (class == IOPRIO_CLASS_RT || (class == IOPRIO_CLASS_BE && level < IOPRIO_NORM))
        must((int)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0), "priority(io)");
}

void priority_ordinary(void) {
    memory();
    processor();
    disks();
}

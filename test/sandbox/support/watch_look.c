/* A small family, looked at with some limits: `watch_look MEMORY_MIB PIDS [shared|many]` prints what is over, threads and MiB
   seen. shared: the family's memory is; many: it is larger by 1000. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../sandbox/watch.h"

enum { FORKS = 4, MANY = 1000, SIZE = 64 << 20 };

/* 64 MiB, then four forks that share them; the first leaves an orphan that has 32 of its own. */
static void family(int ready, const char *how) {
    int kind = strcmp(how, "shared") ? MAP_PRIVATE : MAP_SHARED;
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) _exit(1);
    memset(memory, 1, SIZE);
    for (int i = 0; i < FORKS; i++) {
        if (fork()) continue;
        if (i == 0 && fork() == 0) {
            memset(memory, 2, SIZE / 2);
            if (write(ready, "o", 1) != 1) _exit(1);
        } else if (write(ready, "f", 1) != 1) {
            _exit(1);
        }
        for (;;) pause();
    }
    for (int i = 0; i < MANY && strcmp(how, "many") == 0; i++)
        if (fork() == 0) {
            if (write(ready, "m", 1) != 1) _exit(1);
            for (;;) pause();
        }
    for (;;) pause();
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) return 2;
    const char *how = argc == 4 ? argv[3] : "";
    int ready[2];
    if (pipe(ready)) return 1;
    pid_t init = fork();
    if (init == 0) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        if (fork() == 0) family(ready[1], how);
        for (;;) pause();
    }
    char byte;
    for (int i = 0; i < FORKS + 1 + (strcmp(how, "many") ? 0 : MANY); i++)
        if (read(ready[0], &byte, 1) != 1) return 1;
    struct watch watch = {.memory = strtoull(argv[1], NULL, 10) << 20, .pids = strtoull(argv[2], NULL, 10)};
    watch_look(&watch, init);
    static const char *const over[] = {"fine", "memory", "pids"};
    printf("%s %llu %llu\n", over[watch.over], (unsigned long long)watch.pids_peak, (unsigned long long)watch.memory_peak >> 20);
    fflush(stdout);
    /* A group of our own was made by whoever started us: all go. */
    kill(0, SIGKILL);
}

#define _GNU_SOURCE
#include "watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More are not looked at in one turn: a run with so many is over its limit of processes, or has a very high one. */
enum { MAX_SEEN = 4096, MAX_NAME = 64, MAX_TEXT = 4096 };

struct tree {
    pid_t found[MAX_SEEN];
    size_t count;
    uint64_t threads;
};

static size_t read_proc(const char *path, char text[MAX_TEXT]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t have = 0;
    for (ssize_t n; have < MAX_TEXT - 1 && (n = read(fd, text + have, MAX_TEXT - 1 - have)) > 0;) have += (size_t)n;
    close(fd);
    text[have] = 0;
    return have;
}

/* Children of each thread: proc(5), children, each followed by a space (not so one that is cut short). Orphans are init's, so
   none is missed but those just made. */
static void add_children(struct tree *tree, pid_t pid) {
    char path[MAX_NAME], text[MAX_TEXT];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks) return;
    for (struct dirent *e; (e = readdir(tasks)) && tree->threads < MAX_SEEN;) {
        long tid = strtol(e->d_name, NULL, 10);
        if (tid <= 0) continue;
        tree->threads++;
        snprintf(path, sizeof path, "/proc/%d/task/%ld/children", (int)pid, tid);
        read_proc(path, text);
        char *at = text, *end;
        for (long child; (child = strtol(at, &end, 10)) > 0 && *end == ' ' && tree->count < MAX_SEEN; at = end)
            tree->found[tree->count++] = (pid_t)child;
    }
    closedir(tasks);
}

/* Resident pages that are the process's own; programs and libraries are the host's, and shared. */
static uint64_t own_bytes(pid_t pid) {
    char path[MAX_NAME], text[MAX_TEXT];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    unsigned long long resident, shared;
    if (!read_proc(path, text) || sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || resident < shared) return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What forks share counted once. Costly, and unreadable for a process that hides (PR_SET_DUMPABLE): then the above. */
static uint64_t fair_bytes(pid_t pid) {
    char path[MAX_NAME], text[MAX_TEXT];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    read_proc(path, text);
    const char *line = strstr(text, "\nPss_Anon:");
    return line ? strtoull(line + strlen("\nPss_Anon:"), NULL, 10) * 1024 : own_bytes(pid);
}

static uint64_t sum(const struct tree *tree, uint64_t (*bytes)(pid_t)) {
    uint64_t total = 0;
    for (size_t i = 0; i < tree->count; i++) total += bytes(tree->found[i]);
    return total;
}

bool watch_look(struct watch *watch, pid_t init) {
    static struct tree tree;
    tree.count = tree.threads = 0;
    add_children(&tree, init);
    /* Init itself is ours. */
    tree.threads = 0;
    for (size_t i = 0; i < tree.count; i++) add_children(&tree, tree.found[i]);
    uint64_t memory = sum(&tree, own_bytes);
    if (watch->memory && memory > watch->memory) memory = sum(&tree, fair_bytes);
    if (memory > watch->memory_peak) watch->memory_peak = memory;
    if (tree.threads > watch->pids_peak) watch->pids_peak = tree.threads;
    if (watch->memory && memory > watch->memory) watch->over = WATCH_MEMORY;
    else if (watch->pids && tree.threads > watch->pids) watch->over = WATCH_PIDS;
    return watch->over != WATCH_FINE;
}

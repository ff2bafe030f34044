#define _GNU_SOURCE
#include "watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More are not looked at in one turn: a run with so many is over its limit of processes, or has a very high one. */
enum { MAX_SEEN = 4096, MAX_NAME = 64, MAX_TEXT = 4096, MAX_LIST = 12 * MAX_SEEN };

struct tree {
    pid_t found[MAX_SEEN];
    size_t count;
    uint64_t threads;
};

static bool read_proc(const char *path, char *text, size_t room) {
    size_t have = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && have < room - 1 && (n = read(fd, text + have, room - 1 - have)) > 0;) have += (size_t)n;
    if (fd >= 0) close(fd);
    text[have] = 0;
    return have;
}

/* Children of each thread: proc(5), children, each followed by a space (not so one that is cut short). Orphans are init's, so
   none is missed but those just made. */
static void add_children(struct tree *tree, pid_t pid) {
    static char text[MAX_LIST];
    char path[MAX_NAME];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks) return;
    for (struct dirent *e; (e = readdir(tasks)) && tree->threads < MAX_SEEN;) {
        long tid = strtol(e->d_name, NULL, 10);
        if (tid <= 0) continue;
        tree->threads++;
        snprintf(path, sizeof path, "/proc/%d/task/%ld/children", (int)pid, tid);
        if (!read_proc(path, text, sizeof text)) continue;
        char *at = text, *end;
        for (long child; (child = strtol(at, &end, 10)) > 0 && *end == ' ' && tree->count < MAX_SEEN; at = end)
            tree->found[tree->count++] = (pid_t)child;
    }
    closedir(tasks);
}

/* What the lines with these names add up to, each "NAME: 123 kB". */
static uint64_t lines(const char *text, const char *const names[3]) {
    uint64_t kib = 0;
    for (int i = 0; i < 3; i++) {
        const char *line = strstr(text, names[i]);
        if (line) kib += strtoull(line + strlen(names[i]), NULL, 10);
    }
    return kib * 1024;
}

/* What the process made, shared memory and what lies in swap included; programs and libraries are the host's. */
static uint64_t own_bytes(pid_t pid) {
    static const char *const names[] = {"\nRssAnon:", "\nRssShmem:", "\nVmSwap:"};
    char path[MAX_NAME], text[MAX_TEXT];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return read_proc(path, text, sizeof text) ? lines(text, names) : 0;
}

/* What processes share counted once. Costly, and unreadable for a process that hides (PR_SET_DUMPABLE): then the above. */
static uint64_t fair_bytes(pid_t pid) {
    static const char *const names[] = {"\nPss_Anon:", "\nPss_Shmem:", "\nSwapPss:"};
    char path[MAX_NAME], text[MAX_TEXT];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    return read_proc(path, text, sizeof text) && strstr(text, names[0]) ? lines(text, names) : own_bytes(pid);
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

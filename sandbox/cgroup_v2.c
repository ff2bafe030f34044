#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cgroup_files.h"

/* The controllers that v2 must give us, and how they are handed on to the groups of runs. */
#ifndef CGROUP_V2_NEEDS
#define CGROUP_V2_NEEDS {"memory", "pids"}
#endif
static const char *const needs[] = CGROUP_V2_NEEDS;
enum { NEEDS = sizeof needs / sizeof *needs };
#define SUPERVISOR "supervisor"

static bool lists_needs(int dir, const char *file) {
    char have[256];
    if (!cgroup_read(dir, ".", file, have, sizeof have)) return false;
    for (size_t i = 0; i < NEEDS; i++)
        if (!strstr(have, needs[i])) return false;
    return true;
}

static bool hand_on(int dir) {
    char text[16 + 32 * NEEDS] = "";
    for (size_t i = 0; i < NEEDS; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "+%s ", needs[i]);
    return cgroup_write(dir, "cgroup.subtree_control", text);
}

/* An inner group that hands controllers on may hold no process (cgroups(7)): all go one level down, those of the other roles
   too, which stay together there. More than one pass, since they fork meanwhile. */
static void move_all(int dir, const char *from, const char *to) {
    for (int pass = 0; pass < 5; pass++) {
        char list[8192];
        if (!cgroup_read(dir, from, "cgroup.procs", list, sizeof list)) return;
        char *at = list, *end;
        for (unsigned long pid; (pid = strtoul(at, &end, 10)) > 0 && *end == '\n'; at = end)
            if (!cgroup_write_number(dir, to, "cgroup.procs", pid)) errno = 0;
    }
}

/* A launcher that starts anew finds itself where the one before has put it. */
static int parent_of_supervisor(int dir) {
    char path[PATH_MAX], link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    const char *last = strrchr(path, '/');
    if (!last || strcmp(last + 1, SUPERVISOR) != 0) return dir;
    int parent = openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0 && faccessat(parent, ".", W_OK, 0) == 0 && lists_needs(parent, "cgroup.subtree_control")) {
        close(dir);
        return parent;
    }
    if (parent >= 0) close(parent);
    return dir;
}

/* systemd takes controllers back from groups that it did not delegate, and with them every limit. Where it does not run,
   whoever may write a group owns it. */
static bool is_ours(int dir) {
    char path[32], value[8] = "";
    if (access("/run/systemd/system", F_OK)) return true;
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    static const char *const names[] = {"user.delegate", "trusted.delegate"};
    for (size_t i = 0; i < 2; i++)
        if (getxattr(path, names[i], value, sizeof value - 1) > 0 && value[0] == '1') return true;
    return false;
}

bool cgroup_hand_on(int *own) {
    int dir = *own = parent_of_supervisor(*own);
    if (!lists_needs(dir, "cgroup.controllers")) return false;
    bool ok = lists_needs(dir, "cgroup.subtree_control");
    if (!ok && is_ours(dir) && !(ok = hand_on(dir)) && (mkdirat(dir, SUPERVISOR, 0755) == 0 || errno == EEXIST)) {
        move_all(dir, ".", SUPERVISOR);
        ok = hand_on(dir);
        if (!ok) {
            move_all(dir, SUPERVISOR, ".");
            unlinkat(dir, SUPERVISOR, AT_REMOVEDIR);
        }
    }
    /* Without it a run is bounded all the same, only not in its share of the processor. */
    if (ok && !cgroup_write(dir, "cgroup.subtree_control", "+cpu")) errno = 0;
    return ok;
}

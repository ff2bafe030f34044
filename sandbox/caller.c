#define _GNU_SOURCE
#include "caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t read_proc(pid_t pid, const char *file, char *out, size_t room) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, out, room - 1);
    close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

void caller_read(pid_t pid, struct caller *out) {
    *out = (struct caller){0};
    char text[4096];
    /* NSpid: its number in our namespace, then in each one further in. */
    const char *line = pid > 0 && read_proc(pid, "status", text, sizeof text) ? strstr(text, "\nNSpid:") : NULL;
    if (!line) return;
    const char *end = strchrnul(line + 1, '\n'), *last = line;
    for (const char *p = line; p < end; p++)
        if (*p == '\t') last = p + 1;
    out->pid = (uint32_t)strtoul(last, NULL, 10);
    size_t n = read_proc(pid, "comm", text, CALLER_NAME + 1);
    if (n && text[n - 1] == '\n') n--;
    memcpy(out->name, text, n < CALLER_NAME ? n : CALLER_NAME);
}

#define _GNU_SOURCE
#include "cgroup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cgroup_write(int dir, const char *path, const char *text) {
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return n == (ssize_t)strlen(text);
}

bool cgroup_write_number(int dir, const char *group, const char *file, uint64_t value) {
    char path[96], text[32];
    snprintf(path, sizeof path, "%s/%s", group, file);
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return cgroup_write(dir, path, text);
}

bool cgroup_read(int dir, const char *group, const char *file, char *text, size_t size) {
    char path[96];
    snprintf(path, sizeof path, "%s/%s", group, file);
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

uint64_t cgroup_number(int dir, const char *group, const char *file, const char *key) {
    char text[1024];
    if (!cgroup_read(dir, group, file, text, sizeof text)) return 0;
    size_t n = strlen(key);
    for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, n) == 0) return strtoull(line + n, NULL, 10);
    return 0;
}

#define _GNU_SOURCE
#include "die.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int report_fd = -1;

void die_to(int fd) {
    report_fd = fd;
}

void die_errno(const char *step, int error) {
    if (report_fd >= 0) {
        char packet[69] = {'F'};
        uint32_t number = (uint32_t)error;
        memcpy(packet + 1, &number, 4);
        size_t n = strnlen(step, sizeof packet - 5);
        memcpy(packet + 5, step, n);
        /* A failing send has no one left to tell: the launcher then sees the end without a start. */
        if (send(report_fd, packet, 5 + n, MSG_NOSIGNAL) < 0) _exit(EXIT_SETUP);
    } else {
        dprintf(2, "launcher: %s: %s\n", step, strerror(error));
    }
    _exit(strcmp(step, "exec") ? EXIT_SETUP : EXIT_EXEC);
}

void die(const char *step) {
    die_errno(step, errno);
}

void must(int failed, const char *step) {
    if (failed) die(step);
}

/* Sending frames. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "run.h"

/* A runner that reads nothing for this long is as good as dead. */
enum { SEND_WAIT_MS = 5000 };

static bool frame_send(int sock, uint8_t kind, uint64_t handle, const void *payload, size_t size) {
    char frame[FRAME_MAX];
    if (size > sizeof frame - FRAME_HEADER) return false;
    struct frame_header h = {(uint32_t)(FRAME_HEADER + size), kind, handle};
    memcpy(frame, &h, sizeof h);
    if (size) memcpy(frame + FRAME_HEADER, payload, size);
    for (size_t done = 0; done < FRAME_HEADER + size;) {
        ssize_t n = send(sock, frame + done, FRAME_HEADER + size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            done += (size_t)n;
            continue;
        }
        if (errno == EINTR) continue;
        struct pollfd p = {sock, POLLOUT, 0};
        if (errno != EAGAIN || poll(&p, 1, SEND_WAIT_MS) <= 0) return false;
    }
    return true;
}

void tell(struct loop *loop, uint8_t kind, uint64_t handle, const void *payload, size_t size) {
    if (loop->out < 0 || loop->deaf) return;
    loop->deaf = !frame_send(loop->out, kind, handle, payload, size);
    loop->broken |= loop->deaf;
}

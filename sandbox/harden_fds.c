#define _GNU_SOURCE
#include "harden_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "harden_napi.h"

/* linux/memfd.h of Debian 12 knows neither (kernel 6.3). */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
enum { MAX_FDS = 16, MAX_MESSAGE = 65536, SEND_WAIT_MS = 1000 };

static napi_value int_value(napi_env env, int number) {
    napi_value out = NULL;
    return napi_create_int32(env, number, &out) == napi_ok ? out : NULL;
}

static napi_value int_list(napi_env env, const int *numbers, size_t count) {
    napi_value out;
    if (napi_create_array_with_length(env, count, &out) != napi_ok) return NULL;
    for (size_t i = 0; i < count; i++) napi_set_element(env, out, (uint32_t)i, int_value(env, numbers[i]));
    return out;
}

napi_value fn_socketpair(napi_env env, napi_callback_info info) {
    (void)info;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) return h_fail(env, "socketpair", errno);
    return int_list(env, pair, 2);
}

napi_value fn_pipe(napi_env env, napi_callback_info info) {
    (void)info;
    int pair[2];
    if (pipe2(pair, O_CLOEXEC)) return h_fail(env, "pipe2", errno);
    return int_list(env, pair, 2);
}

static int write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* The kernel may hold a page for a moment, for its own purposes, and refuses to seal until then (memfd_wait_for_pins). */
static int seal(int fd) {
    enum { TRIES = 100, PAUSE_MS = 20 };
    for (int tries = 0;; tries++) {
        if (!fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) return 0;
        if (errno != EBUSY || tries == TRIES) return -1;
        poll(NULL, 0, PAUSE_MS);
    }
}

napi_value fn_memfd(napi_env env, napi_callback_info info) {
    napi_value argv[3];
    char name[128];
    void *data;
    size_t size;
    bool exec = false;
    if (!h_args(env, info, 3, argv) || !h_string(env, argv[0], "name", name, sizeof name)) return NULL;
    if (!h_bytes(env, argv[1], "bytes", &data, &size)) return NULL;
    napi_valuetype type;
    if (napi_typeof(env, argv[2], &type) != napi_ok) return NULL;
    if (type != napi_undefined && !h_bool(env, argv[2], "exec", &exec)) return NULL;

    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | (exec ? MFD_EXEC : MFD_NOEXEC_SEAL));
    /* Kernels before 6.3 refuse the unknown flag; there every memfd is executable. */
    if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return h_fail(env, "memfd_create", errno);
    const char *step = "write";
    if (write_all(fd, data, size)) goto failed;
    step = "fchmod";
    if (fchmod(fd, exec ? 0500 : 0400)) goto failed;
    step = "fcntl(F_ADD_SEALS)";
    if (seal(fd)) goto failed;
    if (lseek(fd, 0, SEEK_SET) < 0) goto failed;
    return int_value(env, fd);
failed:;
    int error = errno;
    close(fd);
    return h_fail(env, step, error);
}

static bool read_fds(napi_env env, napi_value list, int *fds, uint32_t *count) {
    bool is = false;
    if (napi_is_array(env, list, &is) != napi_ok || !is || napi_get_array_length(env, list, count) != napi_ok ||
        *count > MAX_FDS) {
        napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "fds must be an array of at most 16 descriptors");
        return false;
    }
    for (uint32_t i = 0; i < *count; i++) {
        napi_value item;
        if (napi_get_element(env, list, i, &item) != napi_ok || !h_fd(env, item, &fds[i])) return false;
    }
    return true;
}

static long now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

napi_value fn_send_fds(napi_env env, napi_callback_info info) {
    napi_value argv[3];
    int sock, fds[MAX_FDS];
    uint32_t count = 0;
    void *data;
    size_t size;
    if (!h_args(env, info, 3, argv) || !h_fd(env, argv[0], &sock) || !h_bytes(env, argv[1], "bytes", &data, &size)) return NULL;
    if (size == 0 || size > MAX_MESSAGE) {
        napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "bytes must be 1 to 65536 long");
        return NULL;
    }
    if (!read_fds(env, argv[2], fds, &count)) return NULL;

    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    } control = {0};
    size_t sent = 0;
    long deadline = now_ms() + SEND_WAIT_MS;
    while (sent < size) {
        struct iovec iov = {(char *)data + sent, size - sent};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        if (sent == 0 && count) {
            msg.msg_control = control.space;
            msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
            struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int) * count);
            memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
        }
        ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != ETOOMANYREFS) return h_fail(env, "sendmsg", errno);
        long left = deadline - now_ms();
        /* Descriptors under way are counted by account: others of it may have many, for a moment. */
        if (errno == ETOOMANYREFS && left > 0) {
            poll(NULL, 0, 10);
            continue;
        }
        struct pollfd p = {sock, POLLOUT, 0};
        if (left <= 0 || poll(&p, 1, (int)left) == 0) return h_fail(env, "sendmsg", EAGAIN);
    }
    return NULL;
}

napi_value fn_recv_fds(napi_env env, napi_callback_info info) {
    napi_value argv[2], out, bytes, null_value;
    int sock, max;
    if (!h_args(env, info, 2, argv) || !h_fd(env, argv[0], &sock) || !h_int(env, argv[1], "max", 1, MAX_MESSAGE, &max)) return NULL;
    char *data = malloc((size_t)max);
    if (!data) return h_fail(env, "malloc", ENOMEM);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    } control;
    struct iovec iov = {data, (size_t)max};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t n;
    do n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        int error = errno;
        free(data);
        if (error != EAGAIN) return h_fail(env, "recvmsg", error);
        return napi_get_null(env, &null_value) == napi_ok ? null_value : NULL;
    }
    int fds[MAX_FDS];
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (count < MAX_FDS) fds[count++] = fd;
            else close(fd);
        }
    }
    /* More descriptors than fit were dropped by the kernel: what the sender meant can't be known any more. */
    if (msg.msg_flags & MSG_CTRUNC) {
        for (size_t i = 0; i < count; i++) close(fds[i]);
        free(data);
        return h_fail(env, "recvmsg: too many descriptors", EMSGSIZE);
    }
    napi_status status = napi_create_buffer_copy(env, (size_t)n, data, NULL, &bytes);
    explicit_bzero(data, (size_t)n);
    free(data);
    if (status != napi_ok || napi_create_object(env, &out) != napi_ok) {
        for (size_t i = 0; i < count; i++) close(fds[i]);
        return NULL;
    }
    napi_set_named_property(env, out, "bytes", bytes);
    napi_set_named_property(env, out, "fds", int_list(env, fds, count));
    return out;
}

napi_value fn_close_fd(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    int fd;
    if (!h_args(env, info, 1, argv) || !h_fd(env, argv[0], &fd)) return NULL;
    if (close(fd) && errno != EINTR) return h_fail(env, "close", errno);
    return NULL;
}

napi_value fn_open_tmp_file(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    char dir[PATH_MAX];
    if (!h_args(env, info, 1, argv) || !h_string(env, argv[0], "dir", dir, sizeof dir)) return NULL;
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
    if (fd >= 0) return int_value(env, fd);
    /* File systems without O_TMPFILE (NFS, overlay on old kernels) may answer as if it were O_DIRECTORY alone. */
    return h_fail(env, "open(O_TMPFILE)", errno == EISDIR ? EOPNOTSUPP : errno);
}

/* O_NONBLOCK belongs to the open file description, which others may share: it is set for this one call only. */
static ssize_t write_flipped(int fd, const void *data, size_t size) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    if (flags & O_NONBLOCK) return write(fd, data, size);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK)) return -1;
    ssize_t n = write(fd, data, size);
    int error = errno;
    fcntl(fd, F_SETFL, flags);
    errno = error;
    return n;
}

/* For standard output and error, of whatever kind they are: never waits for a reader that does not read. */
napi_value fn_write_now(napi_env env, napi_callback_info info) {
    napi_value argv[2];
    int fd;
    void *data;
    size_t size;
    if (!h_args(env, info, 2, argv) || !h_fd(env, argv[0], &fd) || !h_bytes(env, argv[1], "bytes", &data, &size)) return NULL;
    ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK) {
        struct iovec all = {data, size};
        n = pwritev2(fd, &all, 1, -1, RWF_NOWAIT);
        /* Terminals and some file systems know no RWF_NOWAIT. */
        if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS || errno == EAGAIN)) n = write_flipped(fd, data, size);
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) n = 0;
    if (n < 0) return h_fail(env, "write", errno);
    return int_value(env, (int)n);
}

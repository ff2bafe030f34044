/* N-API addon: the system calls a role needs that Node does not offer. Plain C, no state, synchronous.
   The typed wrapper is src/host/harden.ts; arguments are checked here too, since a wrong one must never crash a role. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harden_napi.h"
#include "harden_fds.h"

static napi_value fn_set_dumpable(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    bool on;
    if (!h_args(env, info, 1, argv) || !h_bool(env, argv[0], "dumpable", &on)) return NULL;
    if (prctl(PR_SET_DUMPABLE, on ? 1 : 0, 0, 0, 0)) return h_fail(env, "prctl(PR_SET_DUMPABLE)", errno);
    return NULL;
}

static napi_value fn_disable_core_dumps(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    if (!h_args(env, info, 0, argv)) return NULL;
    /* 1, not 0: a core_pattern that names a program ignores 0 (core(5)). What is started from here inherits it, Ops included.
       EPERM: it is 0 already, and we may not raise it. */
    struct rlimit none = {1, 1};
    if (setrlimit(RLIMIT_CORE, &none) && errno != EPERM) return h_fail(env, "setrlimit(RLIMIT_CORE)", errno);
    return NULL;
}

static napi_value fn_peer_cred(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    int fd;
    if (!h_args(env, info, 1, argv) || !h_fd(env, argv[0], &fd)) return NULL;
    struct ucred cred = {0};
    socklen_t size = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size)) return h_fail(env, "getsockopt(SO_PEERCRED)", errno);
    napi_value out, value;
    if (napi_create_object(env, &out) != napi_ok) return NULL;
    napi_create_int32(env, cred.pid, &value);
    napi_set_named_property(env, out, "pid", value);
    napi_create_uint32(env, cred.uid, &value);
    napi_set_named_property(env, out, "uid", value);
    napi_create_uint32(env, cred.gid, &value);
    napi_set_named_property(env, out, "gid", value);
    return out;
}

static napi_value fn_try_lock(napi_env env, napi_callback_info info) {
    napi_value argv[1], out;
    int fd;
    if (!h_args(env, info, 1, argv) || !h_fd(env, argv[0], &fd)) return NULL;
    int rc;
    do rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc && errno == EINTR);
    if (rc && errno != EWOULDBLOCK) return h_fail(env, "flock", errno);
    if (napi_get_boolean(env, rc == 0, &out) != napi_ok) return NULL;
    return out;
}

static napi_value fn_wipe(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    void *data;
    size_t size;
    if (!h_args(env, info, 1, argv) || !h_bytes(env, argv[0], "buffer", &data, &size)) return NULL;
    if (size) explicit_bzero(data, size);
    return NULL;
}

/* TSYNC because Node's thread pool does asynchronous fs: a filter on the calling thread alone would leave it outside. */
static napi_value fn_seccomp_tsync(napi_env env, napi_callback_info info) {
    napi_value argv[1];
    void *data;
    size_t size;
    if (!h_args(env, info, 1, argv) || !h_bytes(env, argv[0], "program", &data, &size)) return NULL;
    if (size == 0 || size % sizeof(struct sock_filter) || size / sizeof(struct sock_filter) > BPF_MAXINSNS) {
        napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "program must be 1 to 4096 BPF instructions of 8 bytes");
        return NULL;
    }
    static struct sock_filter copy[BPF_MAXINSNS];
    memcpy(copy, data, size);
    struct sock_fprog program = {(unsigned short)(size / sizeof *copy), copy};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return h_fail(env, "prctl(PR_SET_NO_NEW_PRIVS)", errno);
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (rc > 0) return h_fail(env, "seccomp(TSYNC): a thread has another filter", EBUSY);
    if (rc < 0) return h_fail(env, "seccomp(TSYNC)", errno);
    return NULL;
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */) {
    static const struct {
        const char *name;
        napi_callback call;
    } table[] = {
        {"setDumpable", fn_set_dumpable}, {"disableCoreDumps", fn_disable_core_dumps},
        {"peerCred", fn_peer_cred},       {"tryLock", fn_try_lock},
        {"wipe", fn_wipe},                {"seccompTsync", fn_seccomp_tsync},
        {"socketpair", fn_socketpair},    {"pipe", fn_pipe},
        {"memfd", fn_memfd},              {"sendFds", fn_send_fds},
        {"recvFds", fn_recv_fds},         {"closeFd", fn_close_fd},
        {"openTmpFile", fn_open_tmp_file}, {"writeNow", fn_write_now},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        napi_value fn;
        if (napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, NULL, &fn) != napi_ok) return NULL;
        if (napi_set_named_property(env, exports, table[i].name, fn) != napi_ok) return NULL;
    }
    return exports;
}

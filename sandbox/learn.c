/* The one place that lets a call go on which the kernel asked about. It weakens nothing: the kernel has refused by then what the
   ceiling refuses, by the same program and by numbers alone, which a waiting caller can't change. What is learned is no decision. */
#define _GNU_SOURCE
#include "learn.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "die.h"

enum { PER_TURN = 256, SPARE = 256, REMEMBERED = 4096 };

struct learn {
    uint8_t by_args[LEARN_BITMAP];          /* a bit a call: its arguments matter */
    uint64_t told[DENIED_CALLS / 64];       /* a bit a call whose arguments don't */
    uint64_t seen[REMEMBERED];              /* hashes of the others, with their arguments */
};

/* Where the linker put our own code. */
extern const char __executable_start[], etext[];

/* Between the filter's installation and exec only our own code runs, while nobody answers yet: calls from there are not asked
   about. execve is among them, so the caller of this adds it to what was learned. */
static size_t tail(struct sock_filter *out) {
    uint64_t start = (uint64_t)(uintptr_t)__executable_start, end = (uint64_t)(uintptr_t)etext;
    if (start >> 32 != end >> 32) die_errno("learn", ERANGE);
    const uint32_t at = offsetof(struct seccomp_data, instruction_pointer);
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(start >> 32), 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)start, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)end, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    _Static_assert(sizeof code <= FILTER_AROUND * sizeof *code, "room");
    memcpy(out, code, sizeof code);
    return sizeof code / sizeof *code;
}

void learn_rewrite(struct spec *spec) {
    static struct sock_filter out[BPF_MAXINSNS];
    size_t len = spec->filter_len;
    for (size_t i = 0; i < len; i++) {
        out[i] = spec->filter[i];
        if (BPF_CLASS(out[i].code) != BPF_RET) continue;
        if (out[i].code != (BPF_RET | BPF_K)) die_errno("learn", EINVAL);
        uint32_t action = out[i].k & SECCOMP_RET_ACTION_FULL;
        if (action == SECCOMP_RET_ALLOW) out[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, (uint32_t)(len - i - 1), 0, 0);
        else if (action != SECCOMP_RET_ERRNO && action != SECCOMP_RET_KILL_PROCESS) out[i].k = SECCOMP_RET_ERRNO | EPERM;
    }
    spec->filter_len = len + tail(out + len);
    spec->filter = out;
}

bool learn_begin(struct run *run, const struct spec *spec) {
    run->learn = calloc(1, sizeof *run->learn);
    if (!run->learn) return false;
    memcpy(run->learn->by_args, spec->learn_args, sizeof run->learn->by_args);
    return true;
}

void learn_end(struct run *run) {
    free(run->learn);
    run->learn = NULL;
}

static bool is_new(struct learn *learn, const struct seccomp_data *data) {
    int nr = data->nr;
    if (nr < 0 || nr >= DENIED_CALLS) return true;
    if (!(learn->by_args[nr / 8] & (1 << (nr % 8)))) {
        uint64_t bit = UINT64_C(1) << (nr % 64), *told = &learn->told[nr / 64];
        bool first = !(*told & bit);
        *told |= bit;
        return first;
    }
    /* FNV-1a. One that is told again does no harm. */
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)nr;
    for (int i = 0; i < 6; i++) hash = (hash * UINT64_C(0x100000001b3)) ^ data->args[i];
    uint64_t *slot = &learn->seen[(hash ^ hash >> 32) % REMEMBERED];
    bool first = *slot != hash;
    *slot = hash;
    return first;
}

void learn_answer(struct loop *loop, struct run *run) {
    static struct seccomp_notif_sizes sizes;
    if (!sizes.seccomp_notif && syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes)) return;
    union {
        struct seccomp_notif notif;
        char space[sizeof(struct seccomp_notif) + SPARE];
    } in;
    union {
        struct seccomp_notif_resp resp;
        char space[sizeof(struct seccomp_notif_resp) + SPARE];
    } out;
    if (sizes.seccomp_notif > sizeof in || sizes.seccomp_notif_resp > sizeof out) return;
    for (int turn = 0; turn < PER_TURN; turn++) {
        struct pollfd p = {run->notify, POLLIN, 0};
        if (poll(&p, 1, 0) <= 0) return;
        if (!(p.revents & POLLIN)) {
            close(run->notify);
            run->notify = -1;
            return;
        }
        memset(&in, 0, sizeof in);
        if (ioctl(run->notify, SECCOMP_IOCTL_NOTIF_RECV, &in)) {
            if (errno == EINTR || errno == ENOENT) continue;
            return;
        }
        const struct seccomp_data *data = &in.notif.data;
        if (is_new(run->learn, data)) {
            struct msg_denied m = {.nr = (uint32_t)data->nr, .arch = data->arch, .pid = in.notif.pid};
            for (int i = 0; i < 6; i++) m.args[i] = data->args[i];
            tell(loop, FRAME_LEARNED, run->handle, &m, sizeof m);
        }
        memset(&out, 0, sizeof out);
        out.resp.id = in.notif.id;
        out.resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        if (ioctl(run->notify, SECCOMP_IOCTL_NOTIF_SEND, &out)) errno = 0;
    }
}

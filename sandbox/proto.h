/* The two binary formats of the launcher: frames on the runner's socket and records of a spec. Little endian, packed. */
#ifndef SALLYPORT_PROTO_H
#define SALLYPORT_PROTO_H
#include <stdint.h>

enum { PROTO_VERSION = 1, FRAME_HEADER = 13, FRAME_MAX = 4096, RUN_MAX_FDS = 5, MAX_RUNS = 64 };

enum frame_kind {
    FRAME_RUN = 1,
    FRAME_KILL = 2,
    FRAME_PING = 3,
    FRAME_HELLO = 128,
    FRAME_STARTED = 129,
    FRAME_FAILED = 130,
    FRAME_EXITED = 131,
    FRAME_DENIED = 132,
    FRAME_PONG = 133,
    FRAME_LEARNED = 134, /* msg_denied of a call that went on */
};
/* Instructions that the launcher itself puts in front of a filter or behind it, at most: a spec's has so many fewer than BPF_MAXINSNS. */
enum { FILTER_AROUND = 16 };
enum { HAS_STDIN = 1, HAS_STDOUT = 2, HAS_STDERR = 4, HAS_FD3 = 8, HAS_ALL = 15 };
enum { STARTED_NO_PROC = 1, STARTED_NO_LANDLOCK = 2 };
enum { EXITED_WALL = 1, EXITED_KILLED = 2, EXITED_OOM = 4, EXITED_PIDS = 8 };

struct frame_header {
    uint32_t total;
    uint8_t kind;
    uint64_t handle;
} __attribute__((packed));

struct msg_hello {
    uint32_t version, cgroup;
} __attribute__((packed));

struct msg_started {
    uint32_t pid, cgroup, flags;
} __attribute__((packed));

struct msg_exited {
    uint32_t code, signal, flags, denied;
    uint64_t wall_us, user_us, system_us, max_rss, memory_peak, pids_hits, pids_peak;
} __attribute__((packed));

struct msg_denied {
    uint32_t nr, arch, pid, count;
    uint64_t args[6];
    uint32_t run_pid;  /* as the run numbers it; 0: not known */
    char run_name[16]; /* of the process, by its own choice */
} __attribute__((packed));

enum record_type {
    REC_VERSION = 1,
    REC_ARGV = 2,
    REC_ENV = 3,
    REC_CWD = 4,
    REC_SECCOMP = 5,
    REC_LIMIT = 6,
    REC_HOSTNAME = 7,
    REC_IDS = 8,
    REC_FILE = 10,
    REC_LOOPBACK = 11,
    REC_CGROUP = 12,
    REC_BIND = 13, /* struct record_bind, name, absolute path */
    REC_ROOT = 14,
    REC_NODE = 18,
    REC_ENGINE = 16,
    REC_EGRESS = 15, /* token, then the path of the egress process's socket */
    REC_LEARN = 17,
    REC_EXEC_FD = 20,
    REC_EXEC_PATH = 21,
    REC_KEEP_FD = 22,
    REC_LL_PATH = 23,
    REC_LL_NET = 24,
    REC_LL_PORT = 25,
    REC_LL_SCOPE = 26,
    REC_PDEATHSIG = 27,
    REC_RLIMIT = 28,
    REC_LAST = 28,
};

struct record_header {
    uint16_t type, zero;
    uint32_t length;
} __attribute__((packed));

/* Before the name and the path, which has the rest. */
struct record_bind {
    uint8_t kind, writable;
    uint16_t name_length;
    uint32_t zero;
    uint64_t dev, ino; /* of what was checked */
} __attribute__((packed));

enum limit_id {
    LIMIT_WALL_MS = 1,
    LIMIT_GRACE_MS = 2,
    LIMIT_MEMORY = 3,
    LIMIT_PIDS = 4,
    LIMIT_CPU_MILLI = 5,
    LIMIT_CPU_SECONDS = 6,
    LIMIT_NOFILE = 7,
    LIMIT_FSIZE = 8,
    LIMIT_TMP_BYTES = 9,
    LIMIT_TMP_INODES = 10,
    LIMIT_COUNT = 11,
};
#endif

/* A spec read from a descriptor into checked values. */
#ifndef SALLYPORT_SPEC_H
#define SALLYPORT_SPEC_H
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto.h"

enum {
    SPEC_MAX_CONTENT = 64 << 20, /* bytes of file content */
    SPEC_MAX_REST = 64 << 10,    /* everything but files and the filter, headers included */
    SPEC_MAX_PATHS = 1 << 20,    /* paths of files, headers included */
    SPEC_MAX_FILES = 4096,
    SPEC_MAX_ARGV = 256,
    SPEC_MAX_ENV = 256,
    SPEC_MAX_PATH = 1024,
    SPEC_MAX_KEEP = 64,
    SPEC_MAX_RULES = 128,
    SPEC_MAX_RLIMITS = 16,
    EGRESS_TOKEN = 16,
    LEARN_BITMAP = 64, /* bytes: a bit a call */
    SPEC_MAX_BINDS = 64,
    SPEC_MAX_BIND_NAME = 56,
};

enum spec_kind { SPEC_RUN, SPEC_CONFINE };
enum tree { TREE_OP = 1, TREE_SECRETS = 2, TREE_ETC = 3, TREE_BUNDLE = 4 /* an engine's */ };
enum bind_kind { BIND_DIRECTORY = 1, BIND_FILE = 2, BIND_SOCKET = 3 };
enum file_kind { KIND_FILE = 1, KIND_DIRECTORY = 2, KIND_SYMLINK = 3 };
/* RIGHT_LIST (names of directories only) is for the launcher's own rules; a spec can't ask for it. */
enum { RIGHT_READ = 1, RIGHT_WRITE = 2, RIGHT_EXEC = 4, RIGHT_LIST = 8, RIGHT_OPTIONAL = 128 };

struct spec_file {
    uint8_t tree, kind;
    uint16_t mode;
    const char *path;    /* relative, checked */
    const uint8_t *data; /* into the mapped spec */
    uint32_t size;
};

/* Of the host, at /run/resources/NAME. */
struct spec_bind {
    enum bind_kind kind;
    bool writable;
    const char *name, *path; /* name: one component; path: absolute */
    uint64_t dev, ino;
    int fd; /* bind.c's */
};

struct spec_path_rule {
    uint8_t rights;
    const char *path;
};
struct spec_port_rule {
    uint8_t rights;
    uint16_t port;
};
struct spec_rlimit {
    uint32_t resource;
    uint64_t value;
};

struct spec {
    char *argv[SPEC_MAX_ARGV + 1];
    char *envp[SPEC_MAX_ENV + 4]; /* room for what confine adds, and NULL */
    size_t argc, envc;
    const char *cwd, *hostname;
    struct sock_filter *filter;
    size_t filter_len; /* instructions; 0: none */
    uint64_t limit[LIMIT_COUNT];
    uint32_t uid, gid;
    struct spec_file *files;
    size_t file_count, content_bytes;
    bool loopback, cgroup_required, learn, has_bundle;
    /* Of a run what it is given; of a runner's confinement what its launcher may give (allowed.c), `root` being the directory
       of them all. */
    const char *root; /* host path of an imported root file system; NULL: the host's own /usr */
    const char *node; /* host path of the executable to be the run's Node; NULL: none */
    uint32_t engine;            /* engine.h; 0: none */
    const char *engine_program; /* set by the launcher */
    const char *egress_path; /* NULL: no way out */
    uint8_t egress_token[EGRESS_TOKEN];
    uint8_t learn_args[LEARN_BITMAP]; /* calls whose arguments are learned too */
    struct spec_bind binds[SPEC_MAX_BINDS];
    size_t bind_count;

    int exec_fd; /* -1: exec_path */
    const char *exec_path;
    int keep[SPEC_MAX_KEEP];
    size_t keep_count;
    struct spec_path_rule paths[SPEC_MAX_RULES];
    struct spec_port_rule ports[SPEC_MAX_RULES];
    size_t path_count, port_count;
    uint8_t net_handled, scope;
    uint32_t pdeathsig;
    struct spec_rlimit rlimits[SPEC_MAX_RLIMITS];
    size_t rlimit_count;

    uint32_t seen; /* bit per record type that may come once */
    char *arena;
    size_t arena_size, arena_used, rest_used, paths_used;
    uint8_t *map;
    size_t map_size;
};

/* Why a spec was refused: `step` names the record or the call, `error` is an errno. */
struct failure {
    const char *step;
    int error;
};

/* Loads from `fd`. A memfd sealed against shrinking and writing is mapped; with `sealed_only` nothing else is taken,
   since a peer that could still shrink it would kill us with SIGBUS. Otherwise reads to the end, bounded.
   Returns NULL and fills `why` on refusal. */
struct spec *spec_load(int fd, enum spec_kind kind, bool sealed_only, struct failure *why);
/* Parses bytes that the spec then owns (munmap'd by spec_free). For the loader and the fuzz test. */
struct spec *spec_parse(uint8_t *map, size_t size, enum spec_kind kind, struct failure *why);
/* Wipes and releases everything, the file content included. */
void spec_free(struct spec *spec);
#endif

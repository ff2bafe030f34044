#define _GNU_SOURCE
#include "spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"

static struct spec *refuse(struct failure *why, const char *step, int error) {
    why->step = step;
    why->error = error;
    return NULL;
}

static bool bad(struct failure *why, const char *step, int error) {
    refuse(why, step, error);
    return false;
}

static uint32_t get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static uint16_t get16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static uint64_t get64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Copies `size` bytes, 8-aligned and terminated. NULL when the arena is full. */
static char *keep_bytes(struct spec *s, const uint8_t *data, size_t size) {
    size_t need = (size + 8) & ~(size_t)7;
    if (need > s->arena_size - s->arena_used) return NULL;
    char *out = s->arena + s->arena_used;
    s->arena_used += need;
    memcpy(out, data, size);
    out[size] = 0;
    return out;
}

static char *keep_string(struct spec *s, const uint8_t *data, size_t size) {
    return size && memchr(data, 0, size) ? NULL : keep_bytes(s, data, size);
}

/* Relative, no empty, "." or ".." component: it can't leave the tree that it is written into. */
static bool path_inside(const char *path) {
    if (!*path) return false;
    for (const char *p = path;;) {
        const char *end = strchrnul(p, '/');
        size_t n = (size_t)(end - p);
        if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
        if (!*end) return true;
        p = end + 1;
    }
}

static bool read_file_record(struct spec *s, const uint8_t *p, uint32_t n, struct failure *why) {
    if (n < 8) return bad(why, "spec.file", EINVAL);
    uint8_t tree = p[0], kind = p[1];
    uint16_t mode = get16(p + 2), path_size = get16(p + 4);
    if (tree < TREE_OP || tree > TREE_BUNDLE || kind < KIND_FILE || kind > KIND_SYMLINK || get16(p + 6) || mode > 0777)
        return bad(why, "spec.file", EINVAL);
    if (kind == KIND_SYMLINK && tree != TREE_ETC) return bad(why, "spec.file", ELOOP);
    if (path_size > n - 8 || path_size > SPEC_MAX_PATH) return bad(why, "spec.file", ENAMETOOLONG);
    if (s->file_count == SPEC_MAX_FILES) return bad(why, "spec.file", E2BIG);
    s->paths_used += sizeof(struct record_header) + 8 + path_size;
    s->content_bytes += n - 8 - path_size;
    if (s->paths_used > SPEC_MAX_PATHS || s->content_bytes > SPEC_MAX_CONTENT) return bad(why, "spec.file", E2BIG);
    char *path = keep_string(s, p + 8, path_size);
    if (!path || !path_inside(path)) return bad(why, "spec.file", EINVAL);
    const uint8_t *data = p + 8 + path_size;
    uint32_t size = n - 8 - path_size;
    if (kind == KIND_DIRECTORY && size) return bad(why, "spec.file", EINVAL);
    if (kind == KIND_SYMLINK) {
        if (size == 0 || size > SPEC_MAX_PATH) return bad(why, "spec.file", ENAMETOOLONG);
        data = (const uint8_t *)keep_string(s, data, size);
        if (!data) return bad(why, "spec.file", EINVAL);
    }
    s->has_bundle |= tree == TREE_BUNDLE;
    s->files[s->file_count++] = (struct spec_file){tree, kind, mode, path, data, size};
    return true;
}

static bool read_bind(struct spec *s, const uint8_t *p, uint32_t n, struct failure *why) {
    struct record_bind h;
    if (n <= sizeof h) return bad(why, "spec.bind", EINVAL);
    if (s->bind_count == SPEC_MAX_BINDS) return bad(why, "spec.bind", E2BIG);
    memcpy(&h, p, sizeof h);
    p += sizeof h;
    n -= (uint32_t)sizeof h;
    if (h.kind < BIND_DIRECTORY || h.kind > BIND_SOCKET || h.writable > 1 || h.zero) return bad(why, "spec.bind", EINVAL);
    if (h.name_length > SPEC_MAX_BIND_NAME || h.name_length >= n || n - h.name_length > SPEC_MAX_PATH)
        return bad(why, "spec.bind", ENAMETOOLONG);
    char *name = keep_string(s, p, h.name_length), *path = keep_string(s, p + h.name_length, n - h.name_length);
    if (!name || !path || strchr(name, '/') || !path_inside(name) || path[0] != '/' || !path_inside(path + 1))
        return bad(why, "spec.bind", EINVAL);
    for (size_t i = 0; i < s->bind_count; i++)
        if (strcmp(s->binds[i].name, name) == 0) return bad(why, "spec.bind", EEXIST);
    s->binds[s->bind_count++] = (struct spec_bind){h.kind, h.writable, name, path, h.dev, h.ino, -1};
    return true;
}

static bool read_filter(struct spec *s, const uint8_t *p, uint32_t n, struct failure *why) {
    if (n == 0 || n % sizeof(struct sock_filter) || n / sizeof(struct sock_filter) > BPF_MAXINSNS - FILTER_AROUND)
        return bad(why, "spec.seccomp", EINVAL);
    s->filter = (struct sock_filter *)(void *)keep_bytes(s, p, n);
    if (!s->filter) return bad(why, "spec.seccomp", E2BIG);
    s->filter_len = n / sizeof(struct sock_filter);
    return true;
}

static bool read_limit(struct spec *s, const uint8_t *p, uint32_t n, struct failure *why) {
    if (n != 16 || get32(p + 4)) return bad(why, "spec.limit", EINVAL);
    uint32_t id = get32(p);
    uint64_t value = get64(p + 8);
    if (id == 0 || id >= LIMIT_COUNT || s->limit[id] != UINT64_MAX) return bad(why, "spec.limit", EINVAL);
    if (value > (uint64_t)INT64_MAX) return bad(why, "spec.limit", ERANGE);
    s->limit[id] = value;
    return true;
}

static bool read_u32(const uint8_t *p, uint32_t n, uint32_t min, uint32_t max, uint32_t *out) {
    if (n != 4) return false;
    *out = get32(p);
    return *out >= min && *out <= max;
}

static bool read_ids(const uint8_t *p, uint32_t n, uint32_t *uid, uint32_t *gid) {
    /* Never root, never the overflow value (uid_t)-1. */
    return n == 8 && read_u32(p, 4, 1, UINT32_MAX - 1, uid) && read_u32(p + 4, 4, 1, UINT32_MAX - 1, gid);
}

/* Records that both kinds share. Returns 1 taken, 0 not one of these, -1 refused. */
static int common_record(struct spec *s, uint16_t type, const uint8_t *p, uint32_t n, struct failure *why) {
    uint32_t v;
    switch (type) {
    case REC_VERSION:
        if (read_u32(p, n, PROTO_VERSION, PROTO_VERSION, &v)) return 1;
        bad(why, "spec.version", EPROTO);
        return -1;
    case REC_ARGV:
        if (s->argc < SPEC_MAX_ARGV && (s->argv[s->argc] = keep_string(s, p, n))) return (int)(s->argc++, 1);
        bad(why, "spec.argv", s->argc < SPEC_MAX_ARGV ? EINVAL : E2BIG);
        return -1;
    case REC_ENV:
        if (s->envc == SPEC_MAX_ENV) return (int)(bad(why, "spec.env", E2BIG), -1);
        s->envp[s->envc] = keep_string(s, p, n);
        if (!s->envp[s->envc] || !memchr(p, '=', n) || p[0] == '=') return (int)(bad(why, "spec.env", EINVAL), -1);
        s->envc++;
        return 1;
    case REC_CWD:
        s->cwd = n && p[0] == '/' ? keep_string(s, p, n) : NULL;
        return s->cwd ? 1 : (int)(bad(why, "spec.cwd", EINVAL), -1);
    case REC_ROOT:
        s->root = n && p[0] == '/' ? keep_string(s, p, n) : NULL;
        return s->root ? 1 : (int)(bad(why, "spec.root", EINVAL), -1);
    case REC_NODE:
        s->node = n && p[0] == '/' ? keep_string(s, p, n) : NULL;
        return s->node ? 1 : (int)(bad(why, "spec.node", EINVAL), -1);
    case REC_BIND:
        return read_bind(s, p, n, why) ? 1 : -1;
    case REC_EGRESS:
        if (n <= EGRESS_TOKEN || p[EGRESS_TOKEN] != '/') return (int)(bad(why, "spec.egress", EINVAL), -1);
        memcpy(s->egress_token, p, EGRESS_TOKEN);
        s->egress_path = keep_string(s, p + EGRESS_TOKEN, n - EGRESS_TOKEN);
        return s->egress_path ? 1 : (int)(bad(why, "spec.egress", EINVAL), -1);
    case REC_SECCOMP:
        return read_filter(s, p, n, why) ? 1 : -1;
    default:
        return 0;
    }
}

static bool run_record(struct spec *s, uint16_t type, const uint8_t *p, uint32_t n, struct failure *why) {
    uint32_t v;
    switch (type) {
    case REC_LIMIT:
        return read_limit(s, p, n, why);
    case REC_HOSTNAME:
        s->hostname = n && n <= 63 ? keep_string(s, p, n) : NULL;
        return s->hostname ? true : bad(why, "spec.hostname", EINVAL);
    case REC_IDS:
        return read_ids(p, n, &s->uid, &s->gid) ? true : bad(why, "spec.ids", EINVAL);
    case REC_FILE:
        return read_file_record(s, p, n, why);
    case REC_LOOPBACK:
        if (!read_u32(p, n, 0, 1, &v)) return bad(why, "spec.loopback", EINVAL);
        s->loopback = v;
        return true;
    case REC_CGROUP:
        if (!read_u32(p, n, 0, 1, &v)) return bad(why, "spec.cgroup", EINVAL);
        s->cgroup_required = v;
        return true;
    case REC_ENGINE:
        return read_u32(p, n, 1, ENGINE_LAST, &s->engine) ? true : bad(why, "spec.engine", EINVAL);
    case REC_LEARN:
        if (n != LEARN_BITMAP) return bad(why, "spec.learn", EINVAL);
        memcpy(s->learn_args, p, LEARN_BITMAP);
        s->learn = true;
        return true;
    default:
        return bad(why, "spec.type", EINVAL);
    }
}

static bool confine_record(struct spec *s, uint16_t type, const uint8_t *p, uint32_t n, struct failure *why) {
    uint32_t v;
    switch (type) {
    case REC_EXEC_FD:
        if (!read_u32(p, n, 0, 1 << 20, &v)) return bad(why, "spec.exec_fd", EINVAL);
        s->exec_fd = (int)v;
        return true;
    case REC_EXEC_PATH:
        s->exec_path = n && p[0] == '/' ? keep_string(s, p, n) : NULL;
        return s->exec_path ? true : bad(why, "spec.exec_path", EINVAL);
    case REC_KEEP_FD:
        if (!read_u32(p, n, 0, 1 << 20, &v) || s->keep_count == SPEC_MAX_KEEP) return bad(why, "spec.keep_fd", EINVAL);
        s->keep[s->keep_count++] = (int)v;
        return true;
    case REC_LL_PATH: {
        if (n < 2 || s->path_count == SPEC_MAX_RULES || (p[0] & ~(RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC | RIGHT_OPTIONAL)) ||
            !(p[0] & (RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC)) || p[1] != '/')
            return bad(why, "spec.ll_path", EINVAL);
        char *path = keep_string(s, p + 1, n - 1);
        if (!path) return bad(why, "spec.ll_path", EINVAL);
        s->paths[s->path_count++] = (struct spec_path_rule){p[0], path};
        return true;
    }
    case REC_LL_NET:
        if (n != 1 || p[0] == 0 || p[0] > 3) return bad(why, "spec.ll_net", EINVAL);
        s->net_handled = p[0];
        return true;
    case REC_LL_PORT:
        if (n != 4 || p[0] == 0 || p[0] > 3 || p[1] || s->port_count == SPEC_MAX_RULES) return bad(why, "spec.ll_port", EINVAL);
        s->ports[s->port_count++] = (struct spec_port_rule){p[0], get16(p + 2)};
        return true;
    case REC_LL_SCOPE:
        if (n != 1 || p[0] == 0 || p[0] > 3) return bad(why, "spec.ll_scope", EINVAL);
        s->scope = p[0];
        return true;
    case REC_PDEATHSIG:
        return read_u32(p, n, 1, 64, &s->pdeathsig) ? true : bad(why, "spec.pdeathsig", EINVAL);
    case REC_RLIMIT:
        if (n != 16 || get32(p) > 15 || get32(p + 4) || s->rlimit_count == SPEC_MAX_RLIMITS) return bad(why, "spec.rlimit", EINVAL);
        s->rlimits[s->rlimit_count++] = (struct spec_rlimit){get32(p), get64(p + 8)};
        return true;
    default:
        return bad(why, "spec.type", EINVAL);
    }
}

static bool repeats(uint16_t type) {
    return type == REC_ARGV || type == REC_ENV || type == REC_LIMIT || type == REC_FILE || type == REC_BIND || type == REC_KEEP_FD ||
           type == REC_LL_PATH || type == REC_LL_PORT || type == REC_RLIMIT;
}

static bool parse_records(struct spec *s, enum spec_kind kind, struct failure *why) {
    size_t at = 0;
    while (at < s->map_size) {
        struct record_header h;
        if (s->map_size - at < sizeof h) return bad(why, "spec.header", EINVAL);
        memcpy(&h, s->map + at, sizeof h);
        bool first = at == 0;
        at += sizeof h;
        if (h.zero || h.type == 0 || h.type > REC_LAST) return bad(why, "spec.header", EINVAL);
        if (h.length > s->map_size - at) return bad(why, "spec.length", EINVAL);
        if (first != (h.type == REC_VERSION)) return bad(why, "spec.version", EPROTO);
        if (!repeats(h.type)) {
            if (s->seen & (1u << h.type)) return bad(why, "spec.repeated", EINVAL);
            s->seen |= 1u << h.type;
        }
        if (h.type != REC_FILE && h.type != REC_SECCOMP) {
            s->rest_used += sizeof h + h.length;
            if (h.length > SPEC_MAX_REST || s->rest_used > SPEC_MAX_REST) return bad(why, "spec.size", E2BIG);
        }
        const uint8_t *p = s->map + at;
        int taken = common_record(s, h.type, p, h.length, why);
        if (taken < 0) return false;
        if (taken == 0) {
            bool ok = kind == SPEC_RUN ? run_record(s, h.type, p, h.length, why) : confine_record(s, h.type, p, h.length, why);
            if (!ok) return false;
        }
        at += h.length;
    }
    if (!(s->seen & (1u << REC_VERSION))) return bad(why, "spec.version", EPROTO);
    if (s->argc == 0) return bad(why, "spec.argv", EINVAL);
    /* The engine is the host's: it must not be given an image's libraries. */
    if (s->engine && s->root) return bad(why, "spec.root", EOPNOTSUPP);
    /* Its Op's filter is the container's, which still asks about what it refuses: nothing may let that through. */
    if (s->engine && s->learn) return bad(why, "spec.learn", EOPNOTSUPP);
    if (kind == SPEC_RUN && !s->filter) return bad(why, "spec.seccomp", EINVAL);
    if (s->has_bundle != (s->engine != 0)) return bad(why, "spec.engine", EINVAL);
    if (kind == SPEC_RUN && !s->argv[0][0]) return bad(why, "spec.argv", ENOENT);
    if (kind == SPEC_CONFINE && (s->exec_fd < 0) == !s->exec_path) return bad(why, "spec.exec", EINVAL);
    return true;
}

static void set_defaults(struct spec *s) {
    static const uint64_t value[LIMIT_COUNT] = {
        [LIMIT_GRACE_MS] = 2000, [LIMIT_NOFILE] = 1024, [LIMIT_TMP_BYTES] = 64 << 20, [LIMIT_TMP_INODES] = 4096};
    for (int i = 1; i < LIMIT_COUNT; i++)
        if (s->limit[i] == UINT64_MAX) s->limit[i] = value[i];
    if (!s->hostname) s->hostname = "op";
    if (!s->uid) s->uid = s->gid = 1000;
    /* The runtimes want to be root of their own user namespace; the Op is who their configuration says. */
    if (s->engine) s->uid = s->gid = 0;
}

struct spec *spec_parse(uint8_t *map, size_t size, enum spec_kind kind, struct failure *why) {
    struct spec *s = calloc(1, sizeof *s);
    if (!s) {
        munmap(map, size);
        return refuse(why, "spec.memory", ENOMEM);
    }
    s->map = map;
    s->map_size = size;
    s->exec_fd = -1;
    for (int i = 0; i < LIMIT_COUNT; i++) s->limit[i] = UINT64_MAX;
    /* Every string costs its bytes, rounded up by at most 8: less than the record header that was counted with it. */
    s->arena_size = SPEC_MAX_REST + 2 * SPEC_MAX_PATHS + (sizeof(struct sock_filter) * BPF_MAXINSNS) + 64;
    s->arena = mmap(NULL, s->arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->arena == MAP_FAILED) {
        s->arena = NULL;
        spec_free(s);
        return refuse(why, "spec.memory", ENOMEM);
    }
    s->files = mmap(NULL, SPEC_MAX_FILES * sizeof *s->files, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->files == MAP_FAILED) s->files = NULL;
    if (!s->files || !parse_records(s, kind, why)) {
        if (!s->files) refuse(why, "spec.memory", ENOMEM);
        spec_free(s);
        return NULL;
    }
    set_defaults(s);
    return s;
}

void spec_free(struct spec *s) {
    if (!s) return;
    if (s->arena) {
        explicit_bzero(s->arena, s->arena_used);
        munmap(s->arena, s->arena_size);
    }
    if (s->files) munmap(s->files, SPEC_MAX_FILES * sizeof *s->files);
    if (s->map) munmap(s->map, s->map_size);
    explicit_bzero(s, sizeof *s);
    free(s);
}

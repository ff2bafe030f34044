/* seccomp-compile: an OCI / Docker seccomp profile (JSON) on stdin, its BPF program on stdout. --names: the call names as JSON.
   --ceiling CEILING PROFILE: a bundle's profile, compiled behind the ceiling; what it asks for in vain is named on stderr.
   libseccomp does the compiling; this reads the profile, and is strict where a wrong guess would widen the filter. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ceiling.h"
#include "json.h"

/* The ceiling of a bundle's profile; NULL: a profile of our own. */
static const struct ceiling *bound;
/* Of its own calls those without which no run could even begin to fail. */
static bool may_exec, may_exit;

_Noreturn void refuse(const char *what, const char *detail) {
    fprintf(stderr, "seccomp-compile: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    exit(1);
}

static const struct json *member(const struct json *object, const char *key, enum json_type type) {
    const struct json *m = json_get(object, key);
    if (!m || m->type == JSON_NULL) return NULL;
    if (m->type != type) refuse("wrong type", key);
    return m;
}

static uint32_t action_of(const struct json *object, const char *key, const char *errno_key) {
    const struct json *name = member(object, key, JSON_STRING), *number = member(object, errno_key, JSON_NUMBER);
    if (!name) refuse("missing", key);
    if (number && number->number > 4095) refuse("errno out of range", key);
    uint16_t error = number ? (uint16_t)number->number : EPERM;
    static const struct {
        const char *name;
        uint32_t action;
    } table[] = {
        {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
        {"SCMP_ACT_LOG", SCMP_ACT_LOG},
        {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
        /* Killing one thread leaves a process in an undefined state. */
        {"SCMP_ACT_KILL", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
    };
    /* What a bundle's profile refuses as any container's does is an event here. */
    if (strcmp(name->text, "SCMP_ACT_ERRNO") == 0) return bound && error == EPERM ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(error);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name->text, table[i].name) == 0) {
            if (bound && (table[i].action == SCMP_ACT_LOG || table[i].action == SCMP_ACT_TRAP))
                refuse("its refusals would go unseen (use SCMP_ACT_ERRNO)", name->text);
            return table[i].action;
        }
    refuse("unknown action", name->text);
}

static enum scmp_compare op_of(const struct json *arg) {
    static const struct {
        const char *name;
        enum scmp_compare op;
    } table[] = {
        {"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_LE", SCMP_CMP_LE},
        {"SCMP_CMP_EQ", SCMP_CMP_EQ}, {"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT},
        {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    };
    const struct json *op = member(arg, "op", JSON_STRING);
    if (!op) refuse("missing", "op");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(op->text, table[i].name) == 0) return table[i].op;
    refuse("unknown op", op->text);
}

static bool has_text(const struct json *list, const char *const *words) {
    for (const struct json *i = list ? list->first : NULL; i; i = i->next)
        for (const char *const *w = words; *w; w++)
            if (i->type == JSON_STRING && strcmp(i->text, *w) == 0) return true;
    return false;
}

/* Docker's conditions. An Op has no capability, runs on amd64, on a kernel newer than any minKernel in use. */
static bool applies(const struct json *rule) {
    static const char *const arches[] = {"amd64", "x86_64", "SCMP_ARCH_X86_64", NULL};
    const struct json *in = member(rule, "includes", JSON_OBJECT), *ex = member(rule, "excludes", JSON_OBJECT);
    const struct json *caps = member(in, "caps", JSON_ARRAY), *only = member(in, "arches", JSON_ARRAY);
    if (caps && caps->first) return false;
    if (only && only->first && !has_text(only, arches)) return false;
    return !has_text(member(ex, "arches", JSON_ARRAY), arches);
}

static void add(scmp_filter_ctx ctx, uint32_t action, int call, const char *name, unsigned count, const struct scmp_arg_cmp *args) {
    int rc = seccomp_rule_add_array(ctx, action, call, count, args);
    /* EEXIST: said before. */
    if (rc && rc != -EEXIST) {
        char text[160];
        snprintf(text, sizeof text, "%s: %s", name, strerror(-rc));
        refuse("rule", text);
    }
}

static unsigned read_args(const struct json *rule, struct scmp_arg_cmp *args, bool *repeated) {
    const struct json *list = member(rule, "args", JSON_ARRAY);
    unsigned count = 0, seen = 0;
    *repeated = false;
    for (const struct json *a = list ? list->first : NULL; a; a = a->next) {
        const struct json *index = member(a, "index", JSON_NUMBER), *one = member(a, "value", JSON_NUMBER);
        const struct json *two = member(a, "valueTwo", JSON_NUMBER);
        if (!index || index->number > 5 || !one || count == 6) refuse("bad args", NULL);
        struct scmp_arg_cmp *c = &args[count++];
        *c = (struct scmp_arg_cmp){(unsigned)index->number, op_of(a), one->number, two ? two->number : 0};
        if (seen & (1u << c->arg)) *repeated = true;
        seen |= 1u << c->arg;
    }
    return count;
}

static void add_rule(scmp_filter_ctx ctx, const struct json *rule, uint32_t fallback) {
    uint32_t action = action_of(rule, "action", "errnoRet");
    const struct json *names = member(rule, "names", JSON_ARRAY);
    struct scmp_arg_cmp args[6];
    bool repeated;
    unsigned count = read_args(rule, args, &repeated);
    if (!names) refuse("missing", "names");
    if (!applies(rule) || action == fallback) return;
    for (const struct json *n = names->first; n; n = n->next) {
        if (n->type != JSON_STRING) refuse("wrong type", "names");
        int call = seccomp_syscall_resolve_name(n->text);
        if (call == __NR_SCMP_ERROR || call < 0) {
            /* Falls to the default action: narrower, unless that allows. */
            if (fallback == SCMP_ACT_ALLOW || fallback == SCMP_ACT_LOG) refuse("unknown call in a profile that allows the rest", n->text);
            continue;
        }
        if (bound && action == SCMP_ACT_ALLOW) ceiling_check(bound, call, n->text, args, count, repeated);
        if (bound && action == SCMP_ACT_ALLOW && !count) {
            may_exec = may_exec || call == SCMP_SYS(execve);
            may_exit = may_exit || call == SCMP_SYS(exit_group);
        }
        /* As runc does: two tests on one argument are alternatives, each a rule of its own. */
        if (repeated)
            for (unsigned i = 0; i < count; i++) add(ctx, action, call, n->text, 1, &args[i]);
        else add(ctx, action, call, n->text, count, args);
    }
}

static void print_names(void) {
    const char *separator = "{";
    for (int call = 0; call < 1024; call++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, call);
        if (!name) continue;
        printf("%s\"%d\":\"%s\"", separator, call, name);
        separator = ",";
        free(name);
    }
    puts("}");
}

static const struct json *read_profile(int fd, const char *what) {
    /* The ceiling's and a profile's; a tree points into its text. */
    static char texts[2][JSON_MAX_BYTES + 1];
    static const struct json *trees[2];
    static size_t count;
    if (count == 2) refuse("one profile too many", what);
    char *text = texts[count];
    size_t size = 0;
    ssize_t n;
    while (size <= JSON_MAX_BYTES && (n = read(fd, text + size, JSON_MAX_BYTES + 1 - size)) > 0) size += (size_t)n;
    if (size == 0 || size > JSON_MAX_BYTES || memchr(text, 0, size)) refuse("the profile is empty, larger than 256 KiB, or holds a NUL", NULL);
    text[size] = 0;
    const char *why;
    const struct json *profile = json_parse(text, &why);
    if (!profile) refuse("not a profile", why);
    return trees[count++] = profile;
}

static const struct json *open_profile(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) refuse(path, strerror(errno));
    const struct json *profile = read_profile(fd, path);
    close(fd);
    return profile;
}

static scmp_filter_ctx build(const struct json *profile) {
    uint32_t fallback = action_of(profile, "defaultAction", "defaultErrnoRet");
    if (bound && fallback == SCMP_ACT_ALLOW) refuse("its defaultAction must refuse", "SCMP_ACT_ALLOW");
    scmp_filter_ctx ctx = seccomp_init(fallback);
    if (!ctx) refuse("seccomp_init", NULL);
    /* Native calls only: archMap's foreign architectures are killed, and so is x32, which shares ours. */
    if (seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) refuse("attribute", "badarch");
    if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)) refuse("attribute", "optimize");
    const struct json *rules = member(profile, "syscalls", JSON_ARRAY);
    for (const struct json *r = rules ? rules->first : NULL; r; r = r->next) {
        if (r->type != JSON_OBJECT) refuse("wrong type", "syscalls");
        add_rule(ctx, r, fallback);
    }
    return ctx;
}

static void read_ceiling(struct ceiling *c, const struct json *profile) {
    const struct json *rules = member(profile, "syscalls", JSON_ARRAY);
    for (const struct json *r = rules ? rules->first : NULL; r; r = r->next) {
        struct scmp_arg_cmp args[6];
        bool repeated;
        unsigned count = read_args(r, args, &repeated);
        const struct json *names = member(r, "names", JSON_ARRAY), *narrow = member(r, "narrow", JSON_BOOL);
        uint32_t action = action_of(r, "action", "errnoRet");
        for (const struct json *n = names ? names->first : NULL; n; n = n->next)
            ceiling_add(c, seccomp_syscall_resolve_name(n->text), action, args, count, narrow && narrow->number);
    }
}

static void compile_bundle(const char *ceiling_path, const char *path) {
    static struct ceiling ceiling;
    const struct json *profile = open_profile(ceiling_path);
    scmp_filter_ctx outer = build(profile);
    read_ceiling(&ceiling, profile);
    bound = &ceiling;
    profile = open_profile(path);
    scmp_filter_ctx inner = build(profile);
    ceiling_write(outer, inner, STDOUT_FILENO);
    if (!may_exec) fputs("lacks execve\n", stderr);
    if (!may_exit) fputs("lacks exit_group\n", stderr);
    seccomp_release(inner);
    seccomp_release(outer);
}

int main(int argc, char **argv) {
    /* Not what this kernel knows (the build may be elsewhere), but what the format needs: notification is level 5. */
    if (seccomp_api_set(5)) refuse("libseccomp is too old", NULL);
    if (argc == 2 && strcmp(argv[1], "--names") == 0) {
        print_names();
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "--ceiling") == 0) {
        compile_bundle(argv[2], argv[3]);
        return 0;
    }
    scmp_filter_ctx ctx = build(read_profile(STDIN_FILENO, "profile"));
    int rc = seccomp_export_bpf(ctx, STDOUT_FILENO);
    seccomp_release(ctx);
    if (rc) refuse("export", strerror(-rc));
    return 0;
}

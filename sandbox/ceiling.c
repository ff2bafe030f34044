/* The ceiling holds by construction, not by comparing rules: its program runs first, and where it would allow, it goes on to
   the profile's. Rules are compared only for what a person is told. */
#define _GNU_SOURCE
#include "ceiling.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto.h"

void ceiling_add(struct ceiling *c, int call, uint32_t action, const struct scmp_arg_cmp *args, unsigned count, bool narrow) {
    if (call < 0 || call >= CEILING_CALLS) return;
    if (narrow) c->narrow[call] = true;
    if (action != SCMP_ACT_ALLOW) {
        if (count == 0 && !narrow) c->refused[call] = true;
    } else if (count == 0) {
        c->whole[call] = true;
    } else {
        if (c->rule_count == CEILING_RULES) refuse("the ceiling has too many rules", NULL);
        struct ceiling_rule *rule = &c->rules[c->rule_count++];
        *rule = (struct ceiling_rule){.call = call, .count = count};
        memcpy(rule->args, args, count * sizeof *args);
        c->partly[call] = true;
    }
}

static bool same(const struct scmp_arg_cmp *a, const struct scmp_arg_cmp *b) {
    return a->arg == b->arg && a->op == b->op && a->datum_a == b->datum_a && a->datum_b == b->datum_b;
}

static bool within(const struct ceiling *c, int call, const struct scmp_arg_cmp *args, unsigned count) {
    for (unsigned i = 0; i < c->rule_count; i++) {
        const struct ceiling_rule *rule = &c->rules[i];
        unsigned met = 0;
        for (unsigned k = 0; rule->call == call && k < rule->count; k++)
            for (unsigned j = 0; j < count; j++)
                if (same(&rule->args[k], &args[j])) {
                    met++;
                    break;
                }
        if (rule->call == call && met == rule->count) return true;
    }
    return false;
}

/* All of them in one answer: a profile made elsewhere may name several. */
static char beyond[512];
static bool named[CEILING_CALLS];

static void add_beyond(int call, const char *name) {
    size_t used = strlen(beyond);
    if (!named[call]) snprintf(beyond + used, sizeof beyond - used, "%s%s", used ? ", " : "", name);
    named[call] = true;
}

void ceiling_check(const struct ceiling *c, int call, const char *name, const struct scmp_arg_cmp *args, unsigned count, bool repeated) {
    if (call >= CEILING_CALLS || (!c->whole[call] && !c->partly[call])) {
        if (call < CEILING_CALLS && c->refused[call]) add_beyond(call, name);
        else dprintf(STDERR_FILENO, "refused %s\n", name);
        return;
    }
    /* Two tests on one argument are alternatives: each a rule of its own. */
    bool inside = c->whole[call];
    if (!inside && !repeated) inside = within(c, call, args, count);
    for (unsigned i = 0; !c->whole[call] && repeated && i < count; i++) {
        inside = within(c, call, &args[i], 1);
        if (!inside) break;
    }
    if (!inside) dprintf(STDERR_FILENO, "narrowed %s\n", name);
}

/* Through a pipe: a run's own memfds are refused, and so are files where it may not write. */
static size_t program(scmp_filter_ctx ctx, struct sock_filter *out, size_t room, const char *what) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) refuse("pipe", strerror(errno));
    int rc = seccomp_export_bpf(ctx, ends[1]);
    close(ends[1]);
    if (rc) refuse("its program is too long", what);
    size_t size = 0;
    ssize_t n;
    while (size < room * sizeof *out && (n = read(ends[0], (char *)out + size, room * sizeof *out - size)) > 0) size += (size_t)n;
    char more;
    if (read(ends[0], &more, 1) != 0) refuse("its program is too long", what);
    close(ends[0]);
    return size / sizeof *out;
}

void ceiling_write(scmp_filter_ctx ceiling, scmp_filter_ctx profile, int out) {
    static struct sock_filter code[BPF_MAXINSNS - FILTER_AROUND];
    const size_t room = sizeof code / sizeof *code;
    if (beyond[0]) refuse("it allows what the ceiling never does", beyond);
    size_t first = program(ceiling, code, room, "the ceiling");
    size_t all = first + program(profile, code + first, room - first, "with the ceiling's before it");
    for (size_t i = 0; i < first; i++)
        if (code[i].code == (BPF_RET | BPF_K) && code[i].k == SECCOMP_RET_ALLOW)
            code[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, (uint32_t)(first - i - 1), 0, 0);
        else if (BPF_CLASS(code[i].code) == BPF_RET && code[i].code != (BPF_RET | BPF_K))
            refuse("the ceiling's program returns what it computes", NULL);
    size_t size = all * sizeof *code, done = 0;
    while (done < size) {
        ssize_t n = write(out, (char *)code + done, size - done);
        if (n < 0 && errno != EINTR) refuse("write", strerror(errno));
        if (n > 0) done += (size_t)n;
    }
}

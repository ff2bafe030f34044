/* What no profile of a bundle exceeds: for each call what the ceiling allows, and a program behind the ceiling's. */
#ifndef SALLYPORT_CEILING_H
#define SALLYPORT_CEILING_H
#include <seccomp.h>
#include <stdbool.h>

enum { CEILING_CALLS = 1024, CEILING_RULES = 256 };

struct ceiling_rule {
    int call;
    unsigned count;
    struct scmp_arg_cmp args[6];
};

struct ceiling {
    bool whole[CEILING_CALLS];   /* allowed whatever its arguments */
    bool partly[CEILING_CALLS];  /* allowed with some: `rules` */
    bool refused[CEILING_CALLS]; /* a profile that allows it is refused */
    bool narrow[CEILING_CALLS];  /* a profile may name it, in vain */
    struct ceiling_rule rules[CEILING_RULES];
    unsigned rule_count;
};

/* compile_seccomp.c's: says why on stderr and ends with 1. */
_Noreturn void refuse(const char *what, const char *detail);

void ceiling_add(struct ceiling *c, int call, uint32_t action, const struct scmp_arg_cmp *args, unsigned count, bool narrow);
/* A profile allows the call: says on stderr where the ceiling narrows that, and remembers what it never allows. */
void ceiling_check(const struct ceiling *c, int call, const char *name, const struct scmp_arg_cmp *args, unsigned count, bool repeated);
/* The ceiling's program, then, where that allows, the profile's. Refuses a profile that was found to allow what the ceiling never does. */
void ceiling_write(scmp_filter_ctx ceiling, scmp_filter_ctx profile, int out);
#endif

/* The steps that the process of a run takes between clone3 and exec, in this order. Every failure ends it through die(). */
#ifndef SALLYPORT_CHILD_H
#define SALLYPORT_CHILD_H
#include <stdbool.h>
#include <stdint.h>

#include "spec.h"

/* Descriptors of the run's process, at fixed numbers above the Op's own 0..3. */
enum { CHILD_CTL = 4, CHILD_PARENT = 5, CHILD_FIRST_FREE = 6 };

struct child {
    struct spec *spec; /* NULL in a spare until its order comes */
    bool has_fd3;
    int self;          /* an engine's: the launcher's executable */
    bool inner;        /* PID 1 of an engine's container */
    uint32_t cgroup;   /* 0 none, 1, 2 */
    uint32_t flags;    /* STARTED_* found on the way */
    int root, node;    /* of an imported root file system and of the executable, -1 none (root.c) */
    int listener;      /* seccomp notification descriptor, -1 none */
    volatile bool started; /* set by the Op's process just before exec, unset when that failed */
    volatile int exec_error; /* why it failed */
};

/* The launcher's only word to it: the order. A spare's carries descriptors: spec, then those of the mask (HAS_*). */
struct pkt_go {
    char kind; /* 'G' */
    uint8_t mask;
} __attribute__((packed));
/* Packets of the run's init to the launcher over its control socket ('F' is die()'s). */
struct pkt_started {
    char kind; /* 'S' */
    uint32_t flags;
} __attribute__((packed));
struct pkt_ended {
    char kind; /* 'E' */
    int status;
} __attribute__((packed));

_Noreturn void child_main(struct child *c);

/* In the new process: the Op's descriptors at 0..3, ours at 4 and 5, every other one (other runs', the runner's) closed. */
void descriptors_place(struct child *c, const int stdio[4], int ctl, int self);
void order_wait(struct child *c);
void priority_ordinary(void);
void ns_enter(struct child *c);
void egress_hand_over(struct child *c);
void mounts_build(struct child *c);
void root_open(struct child *c);
void root_attach(struct child *c);
void root_etc(struct child *c);
void root_node(struct child *c);
/* Whether a name of the top level is the sandbox's own, even in an imported root. */
bool root_is_own(const char *name);
void binds_open(struct child *c);
void binds_attach(struct child *c);
struct ruleset;
void binds_allow(struct child *c, const struct ruleset *set);
/* Where a resource can be written. */
void setid_refuse(const struct child *c);
void files_write(struct child *c, const char *root, enum tree tree, uint16_t mode_mask, uint16_t mode_set);
void caps_drop(void);
void limits_apply(const struct child *c);
void landlock_op(struct child *c);
/* Puts in front of the filter what keeps the core limit. */
void core_limit_keep(struct spec *spec);
/* Installs the filter; returns a listener descriptor where the filter notifies, else -1. */
int seccomp_install(struct sock_filter *filter, size_t len);
_Noreturn void init_run(struct child *c);
#endif

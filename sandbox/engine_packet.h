/* Words between the two inits of an engine's run; 'S', 'E' (child.h) and 'F' (die.c) come back as they are. */
#ifndef SALLYPORT_ENGINE_PACKET_H
#define SALLYPORT_ENGINE_PACKET_H
#include <linux/filter.h>
#include <stdint.h>

#include "spec.h"

enum { ORDER_BYTES = SPEC_MAX_REST + (BPF_MAXINSNS + 1) * 8 };

/* Records of a spec (proto.h), without files. */
struct pkt_order {
    char kind; /* 'O' */
    uint8_t has_fd3, no_listener /* the kernel below knows no seccomp notification */;
    uint32_t cgroup;
    uint8_t spec[ORDER_BYTES];
} __attribute__((packed));
struct pkt_signal {
    char kind; /* 'K' */
    uint8_t signal;
} __attribute__((packed));
#endif

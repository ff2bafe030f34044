/* Landlock by raw calls: the constants of newer kernels than the headers we build with. */
#ifndef SALLYPORT_LANDLOCK_H
#define SALLYPORT_LANDLOCK_H
#include <stdint.h>

#include "spec.h"

struct ruleset {
    int fd;  /* -1 when refused: then the other calls do nothing */
    int abi; /* 0 when the kernel has none */
    uint64_t files;
};

/* handle_files: refuse all file access but rules; net and scope as LL_NET and LL_SCOPE. Parts that the ABI lacks are left
   out. Returns an errno when the kernel refuses Landlock as a whole, else 0. */
int landlock_open(struct ruleset *set, int handle_files, uint8_t net, uint8_t scope);
/* Allows `rights` (RIGHT_*) beneath path. A missing path dies unless RIGHT_OPTIONAL is set. */
void landlock_path(const struct ruleset *set, const char *path, uint8_t rights);
void landlock_port(const struct ruleset *set, uint8_t rights, uint16_t port);
/* Takes effect for this thread and its children; needs no_new_privs. */
void landlock_enforce(struct ruleset *set);
#endif

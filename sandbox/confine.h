/* Confines the calling process as a spec says and executes its program. */
#ifndef SALLYPORT_CONFINE_H
#define SALLYPORT_CONFINE_H
#include <sys/types.h>

#include "spec.h"

/* parent: the process that must still be our parent once the death signal is set. launcher_fd: kept open and named in the
   environment, or -1. Never returns; a failing step ends the process (die.h). */
_Noreturn void confine_exec(struct spec *spec, pid_t parent, int launcher_fd);
/* Closes every descriptor but 0, 1, 2, the spec's kept ones, its program's and launcher_fd (-1: none). */
void confine_close(struct spec *spec, int launcher_fd);
#endif

/* Runs whose Op is started by an OCI runtime of the host, inside the launcher's own namespaces, cgroup and root. */
#ifndef SALLYPORT_ENGINE_H
#define SALLYPORT_ENGINE_H
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "child.h"
#include "spec.h"

enum engine_id { ENGINE_NATIVE = 0, ENGINE_CRUN = 1, ENGINE_RUNC = 2, ENGINE_RUNSC = 3, ENGINE_LAST = 3 };

/* The launcher's side, outside of all namespaces, where the owner of a file still means something: the engine's program
   from a fixed list of places, root's and nobody else's to write. NULL with errno: ENOENT none, EPERM not root's. */
const char *engine_program(uint32_t engine);
/* What the engine's own processes may have on top of the Op's limits. */
uint64_t engine_memory(uint32_t engine);
uint64_t engine_pids(uint32_t engine);
/* The limit of the whole run; 0 stays no limit. */
uint64_t engine_allow(uint64_t limit, uint64_t own);

/* Called with the finished root of a run as the current directory: puts it, read-only, below a second root that holds what
   the engine itself needs, and makes that one current. */
void engine_root(struct child *c, const char *stage);
/* PID 1 of the run: starts the engine, hands the Op's part to the init inside the container, passes on what that says. */
_Noreturn void engine_run(struct child *c);
/* PID 1 of the container: fd is the socket to engine_run. */
_Noreturn void engine_inner(int fd);
int engine_inner_supervise(pid_t op, const sigset_t *set);
#endif

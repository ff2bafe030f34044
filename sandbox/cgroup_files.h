/* The files of a cgroup, each a line or two. `dir`: an O_PATH descriptor; `group`: a name below it. */
#ifndef SALLYPORT_CGROUP_FILES_H
#define SALLYPORT_CGROUP_FILES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False with errno. */
bool cgroup_write(int dir, const char *path, const char *text);
bool cgroup_write_number(int dir, const char *group, const char *file, uint64_t value);
bool cgroup_read(int dir, const char *group, const char *file, char *text, size_t size);
/* The number after `key` at the start of a line ("oom_kill 3"), or the file's only number when key is ""; 0 when absent. */
uint64_t cgroup_number(int dir, const char *group, const char *file, const char *key);

/* v2: has the controllers that runs need handed on to groups below `*dir`, our own group, from which every process then moves
   one level down. Where a launcher before did so, `*dir` becomes the group above. False: not ours to change, or refused. */
bool cgroup_hand_on(int *dir);
#endif

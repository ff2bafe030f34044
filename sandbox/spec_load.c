/* Gets a spec's bytes from a descriptor to where nobody can change them any more. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spec.h"

static struct spec *refuse(struct failure *why, const char *step, int error) {
    why->step = step;
    why->error = error;
    return NULL;
}

enum { SPEC_MAX_TOTAL = SPEC_MAX_CONTENT + SPEC_MAX_REST + SPEC_MAX_PATHS + (32 << 10) + 64 };

/* Reads a pipe or file to its end into fresh memory, so that nobody can change it afterwards. */
static uint8_t *read_all(int fd, size_t *size, struct failure *why) {
    size_t room = 64 << 10, have = 0;
    uint8_t *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return (uint8_t *)refuse(why, "spec.memory", ENOMEM);
    for (;;) {
        ssize_t n = read(fd, map + have, room - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) refuse(why, "spec.read", errno);
        if (n <= 0) break;
        have += (size_t)n;
        if (have > SPEC_MAX_TOTAL) {
            refuse(why, "spec.size", E2BIG);
            n = -1;
        }
        if (n > 0 && have == room) {
            uint8_t *more = mremap(map, room, room * 2, MREMAP_MAYMOVE);
            if (more == MAP_FAILED) refuse(why, "spec.memory", ENOMEM);
            else map = more;
            if (more != MAP_FAILED) room *= 2;
            else n = -1;
        }
        if (n < 0) {
            have = 0;
            munmap(map, room);
            return NULL;
        }
    }
    if (have == 0 || (why->step && why->error)) {
        if (!why->step) refuse(why, "spec.version", EPROTO);
        munmap(map, room);
        return NULL;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (have + page - 1) & ~(page - 1);
    if (used < room) munmap(map + used, room - used);
    *size = have;
    return map;
}

struct spec *spec_load(int fd, enum spec_kind kind, bool sealed_only, struct failure *why) {
    *why = (struct failure){0};
    size_t size = 0;
    uint8_t *map = NULL;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals >= 0 && (seals & F_SEAL_SHRINK) && (seals & F_SEAL_WRITE)) {
        off_t end = lseek(fd, 0, SEEK_END);
        if (end <= 0 || end > SPEC_MAX_TOTAL) return refuse(why, "spec.size", end > 0 ? E2BIG : EPROTO);
        size = (size_t)end;
        map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) return refuse(why, "spec.map", errno);
    } else {
        if (sealed_only) return refuse(why, "spec.unsealed", EPERM);
        map = read_all(fd, &size, why);
        if (!map) return NULL;
    }
    return spec_parse(map, size, kind, why);
}

/* Feeds the spec reader, built with ASan and UBSan, every truncation of the given specs and many mutations of them. Each
   input is mapped so that reading one byte beyond its end hits an unreadable page. Usage: fuzz ROUNDS SPEC... */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../../sandbox/spec.h"

static unsigned long taken, refused;
static uint64_t seed = 88172645463325252u;

static uint32_t next(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

/* Whatever is accepted is walked, so that a dangling pointer or an unterminated string shows. */
static size_t touch(const struct spec *s) {
    size_t sum = 0;
    for (size_t i = 0; i < s->argc; i++) sum += strlen(s->argv[i]);
    for (size_t i = 0; i < s->envc; i++) sum += strlen(s->envp[i]);
    for (size_t i = 0; i < s->file_count; i++) {
        const struct spec_file *f = &s->files[i];
        if (f->path[0] == '/' || strstr(f->path, "../") || strcmp(f->path, "..") == 0) abort();
        sum += strlen(f->path);
        for (uint32_t k = 0; k < f->size; k++) sum += f->data[k];
    }
    for (size_t i = 0; i < s->bind_count; i++) {
        const struct spec_bind *b = &s->binds[i];
        if (!b->name[0] || strchr(b->name, '/') || b->path[0] != '/' || strstr(b->path, "/../")) abort();
        sum += strlen(b->path);
    }
    for (size_t i = 0; i < s->path_count; i++) sum += strlen(s->paths[i].path);
    for (size_t i = 0; i < s->filter_len; i++) sum += s->filter[i].k;
    const char *const paths[] = {s->root, s->node, s->egress_path};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i] && paths[i][0] != '/') abort();
        else if (paths[i]) sum += strlen(paths[i]);
    /* An engine makes its own namespaces, for which it is root in ours. */
    if (!s->engine && (s->uid == 0 || s->gid == 0)) abort();
    if (s->argv[s->argc] || s->envp[s->envc]) abort();
    return sum;
}

static void feed(const uint8_t *bytes, size_t size, enum spec_kind kind) {
    if (!size) return;
    size_t page = 4096, pages = (size + page - 1) / page * page;
    uint8_t *map = mmap(NULL, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) abort();
    mprotect(map + pages, page, PROT_NONE);
    memcpy(map + pages - size, bytes, size);
    /* The reader releases its bytes by page; give it a copy that ends at the page's end. */
    struct failure why = {0};
    struct spec *s = spec_parse(map + pages - size, size, kind, &why);
    if (s) {
        taken++;
        touch(s);
        s->map = NULL;
        s->map_size = 0;
        spec_free(s);
    } else {
        refused++;
        if (!why.step || !why.error) abort();
    }
    munmap(map, pages + page);
}

int main(int argc, char **argv) {
    static uint8_t original[1 << 20], copy[1 << 20];
    long rounds = strtol(argv[1], NULL, 10);
    for (int i = 2; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);
        ssize_t size = read(fd, original, sizeof original / 2);
        close(fd);
        if (size <= 0) return 1;
        for (enum spec_kind kind = SPEC_RUN; kind <= SPEC_CONFINE; kind++) {
            for (size_t n = 0; n <= (size_t)size; n += n < 600 ? 1 : 37) feed(original, n, kind);
            for (long round = 0; round < rounds; round++) {
                memcpy(copy, original, (size_t)size);
                size_t n = (size_t)size;
                for (uint32_t changes = 1 + next() % 4; changes; changes--) {
                    size_t at = next() % n;
                    switch (next() % 5) {
                    case 0: copy[at] = (uint8_t)next(); break;
                    case 1: copy[at] ^= (uint8_t)(1u << (next() % 8)); break;
                    case 2: copy[at] = 0xff; break;
                    case 3: copy[at] = 0; break;
                    case 4: /* repeat a piece */
                        if (n + 64 < sizeof copy && at + 64 < n) {
                            memmove(copy + at + 64, copy + at, n - at);
                            n += 64;
                        }
                    }
                }
                feed(copy, n, kind);
            }
        }
    }
    printf("%lu taken, %lu refused\n", taken, refused);
    return 0;
}

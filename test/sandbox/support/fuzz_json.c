/* Feeds the profiles' JSON reader, built with ASan and UBSan, every truncation of the given texts and many mutations of them.
   Usage: fuzz ROUNDS FILE... */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../sandbox/json.h"

static unsigned long taken, refused;
static uint64_t seed = 88172645463325252u;

static uint32_t next(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static size_t touch(const struct json *value, int depth) {
    if (depth > JSON_MAX_DEPTH + 1) abort();
    size_t sum = value->key ? strlen(value->key) : 0;
    if (value->type == JSON_STRING) sum += strlen(value->text);
    for (const struct json *one = value->first; one; one = one->next) sum += touch(one, depth + 1);
    return sum;
}

static void feed(const char *bytes, size_t size) {
    char *text = malloc(size + 1);
    if (!text) abort();
    memcpy(text, bytes, size);
    text[size] = 0;
    const char *why = NULL;
    struct json *value = json_parse(text, &why);
    if (value) {
        taken++;
        touch(value, 0);
        /* All values are one piece, of which the root is the first. */
        free(value);
    } else {
        refused++;
        if (!why) abort();
    }
    free(text);
}

int main(int argc, char **argv) {
    static char original[JSON_MAX_BYTES + 64], copy[JSON_MAX_BYTES + 64];
    static const char *const pieces[] = {"{", "}", "[", "]", "\"", ",", ":", "\\", "\\u0041", "null", "1e9", "18446744073709551616", "-1", "[[[["};
    long rounds = strtol(argv[1], NULL, 10);
    for (int i = 2; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);
        ssize_t size = read(fd, original, sizeof original / 2);
        close(fd);
        if (size <= 0) return 1;
        for (size_t n = 0; n <= (size_t)size; n += n < 300 ? 1 : 29) feed(original, n);
        for (long round = 0; round < rounds; round++) {
            memcpy(copy, original, (size_t)size);
            size_t n = (size_t)size;
            for (uint32_t changes = 1 + next() % 3; changes; changes--) {
                size_t at = next() % n;
                const char *piece = pieces[next() % (sizeof pieces / sizeof *pieces)];
                size_t length = strlen(piece);
                switch (next() % 3) {
                case 0: copy[at] = (char)(1 + next() % 255); break;
                case 1: /* cut a piece out */
                    length = 1 + next() % 40;
                    if (at + length >= n) break;
                    memmove(copy + at, copy + at + length, n - at - length);
                    n -= length;
                    break;
                default:
                    if (n + length >= sizeof copy) break;
                    memmove(copy + at + length, copy + at, n - at);
                    memcpy(copy + at, piece, length);
                    n += length;
                }
            }
            feed(copy, n);
        }
    }
    printf("%lu taken, %lu refused\n", taken, refused);
    return 0;
}

/* A small strict JSON reader (RFC 8259) with bounds, for seccomp profiles. */
#ifndef SALLYPORT_JSON_H
#define SALLYPORT_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_MAX_BYTES = 256 << 10, JSON_MAX_NODES = 32768, JSON_MAX_DEPTH = 12 };
enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    const char *key;  /* member name inside an object */
    const char *text; /* JSON_STRING; no \u escapes beyond ASCII: refused */
    uint64_t number;  /* JSON_NUMBER: unsigned integers only; JSON_BOOL: 0 or 1 */
    struct json *first, *next;
};

/* Parses the whole text (changed in place; must end in a NUL). NULL on an error, described in *why. A duplicate key is one. */
struct json *json_parse(char *text, const char **why);
/* Member of an object, or NULL. */
const struct json *json_get(const struct json *object, const char *key);
#endif

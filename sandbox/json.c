#define _GNU_SOURCE
#include "json.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    char *p;
    struct json *nodes;
    size_t used;
    const char *why;
};

static struct json *value(struct reader *r, int depth);

static void *fail(struct reader *r, const char *why) {
    if (!r->why) r->why = why;
    return NULL;
}

static void space(struct reader *r) {
    while (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r') r->p++;
}

/* Unescapes in place: the result is never longer than its source. */
static char *string(struct reader *r) {
    if (*r->p != '"') return fail(r, "a string is missing");
    char *start = ++r->p, *out = start;
    for (;;) {
        unsigned char c = (unsigned char)*r->p++;
        if (c == '"') break;
        if (c < 0x20) return fail(r, "a control character or the end inside a string");
        if (c == '\\') {
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            const char *at = *r->p ? strchr(from, *r->p) : NULL;
            if (!at) return fail(r, "an escape that no profile needs");
            c = (unsigned char)to[at - from];
            r->p++;
        }
        *out++ = (char)c;
    }
    *out = 0;
    return start;
}

static struct json *number(struct reader *r, struct json *node) {
    char *start = r->p;
    uint64_t n = 0;
    for (; *r->p >= '0' && *r->p <= '9'; r->p++) {
        unsigned digit = (unsigned)(*r->p - '0');
        if (n > (UINT64_MAX - digit) / 10) return fail(r, "a number beyond 64 bits");
        n = n * 10 + digit;
    }
    if (r->p == start || (*start == '0' && r->p > start + 1) || strchr(".eE", *r->p ? *r->p : ' '))
        return fail(r, "a number that is not an unsigned integer");
    node->type = JSON_NUMBER;
    node->number = n;
    return node;
}

static struct json *list(struct reader *r, struct json *node, int depth) {
    char close = *r->p == '{' ? '}' : ']';
    node->type = close == '}' ? JSON_OBJECT : JSON_ARRAY;
    r->p++;
    space(r);
    if (*r->p == close) return (void)r->p++, node;
    struct json **tail = &node->first;
    for (;;) {
        char *key = NULL;
        space(r);
        if (close == '}') {
            if (!(key = string(r))) return NULL;
            if (json_get(node, key)) return fail(r, "a name twice in one object");
            space(r);
            if (*r->p++ != ':') return fail(r, "a colon is missing");
        }
        struct json *child = value(r, depth + 1);
        if (!child) return NULL;
        child->key = key;
        *tail = child;
        tail = &child->next;
        space(r);
        char c = *r->p++;
        if (c == close) return node;
        if (c != ',') return fail(r, "a comma or the closing bracket is missing");
    }
}

static bool word(struct reader *r, const char *text) {
    size_t n = strlen(text);
    if (strncmp(r->p, text, n) != 0) return false;
    r->p += n;
    return true;
}

static struct json *value(struct reader *r, int depth) {
    if (depth > JSON_MAX_DEPTH) return fail(r, "nested too deep");
    if (r->used == JSON_MAX_NODES) return fail(r, "too many values");
    struct json *node = &r->nodes[r->used++];
    space(r);
    if (*r->p == '{' || *r->p == '[') return list(r, node, depth);
    if (*r->p == '"') {
        node->type = JSON_STRING;
        node->text = string(r);
        return node->text ? node : NULL;
    }
    if (word(r, "null")) return node;
    node->type = JSON_BOOL;
    if (word(r, "true")) return (void)(node->number = 1), node;
    if (word(r, "false")) return node;
    return number(r, node);
}

struct json *json_parse(char *text, const char **why) {
    struct reader r = {.p = text, .nodes = calloc(JSON_MAX_NODES, sizeof(struct json))};
    struct json *root = r.nodes ? value(&r, 0) : fail(&r, "out of memory");
    if (root) space(&r);
    if (root && *r.p) root = fail(&r, "something after the end");
    *why = r.why;
    if (!root) free(r.nodes);
    return root;
}

const struct json *json_get(const struct json *object, const char *key) {
    if (!object || object->type != JSON_OBJECT) return NULL;
    for (const struct json *m = object->first; m; m = m->next)
        if (strcmp(m->key, key) == 0) return m;
    return NULL;
}

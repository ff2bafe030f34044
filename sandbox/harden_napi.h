/* Argument checks and errors shared by the addon's files. Each h_* reader throws a TypeError and returns false on a wrong value. */
#ifndef SALLYPORT_HARDEN_NAPI_H
#define SALLYPORT_HARDEN_NAPI_H
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>

/* Reads exactly `count` arguments (further ones are ignored; missing ones are undefined and fail their own check). */
bool h_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv);
bool h_bool(napi_env env, napi_value value, const char *name, bool *out);
bool h_int(napi_env env, napi_value value, const char *name, int min, int max, int *out);
bool h_fd(napi_env env, napi_value value, int *out);
/* A Uint8Array (Buffer) or ArrayBuffer; the memory stays JavaScript's. */
bool h_bytes(napi_env env, napi_value value, const char *name, void **data, size_t *size);
/* A string without NUL of at most `max` - 1 bytes. */
bool h_string(napi_env env, napi_value value, const char *name, char *out, size_t max);
/* Throws Error{code: "ENOENT", errno: -2, syscall}; always returns NULL. */
napi_value h_fail(napi_env env, const char *syscall, int error);
#endif

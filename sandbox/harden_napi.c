#define _GNU_SOURCE
#include "harden_napi.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool wrong(napi_env env, const char *name, const char *what) {
    char text[160];
    snprintf(text, sizeof text, "%s must be %s", name, what);
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
    return false;
}

bool h_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv) {
    size_t have = count;
    return napi_get_cb_info(env, info, &have, argv, NULL, NULL) == napi_ok;
}

bool h_bool(napi_env env, napi_value value, const char *name, bool *out) {
    if (napi_get_value_bool(env, value, out) != napi_ok) return wrong(env, name, "a boolean");
    return true;
}

bool h_int(napi_env env, napi_value value, const char *name, int min, int max, int *out) {
    double number;
    if (napi_get_value_double(env, value, &number) != napi_ok) return wrong(env, name, "a number");
    /* Through double: napi_get_value_int32 would wrap 2^32 + 1 to 1. NaN fails both comparisons. */
    if (!(number >= min && number <= max)) return wrong(env, name, "within its range");
    *out = (int)number;
    if ((double)*out != number) return wrong(env, name, "an integer");
    return true;
}

bool h_fd(napi_env env, napi_value value, int *out) {
    return h_int(env, value, "descriptor", 0, 1 << 20, out);
}

bool h_bytes(napi_env env, napi_value value, const char *name, void **data, size_t *size) {
    bool is = false;
    *data = NULL;
    *size = 0;
    if (napi_is_typedarray(env, value, &is) == napi_ok && is) {
        napi_typedarray_type type;
        if (napi_get_typedarray_info(env, value, &type, size, data, NULL, NULL) != napi_ok) return false;
        if (type == napi_uint8_array) return true;
    } else if (napi_is_arraybuffer(env, value, &is) == napi_ok && is) {
        return napi_get_arraybuffer_info(env, value, data, size) == napi_ok;
    }
    return wrong(env, name, "a Uint8Array or an ArrayBuffer");
}

bool h_string(napi_env env, napi_value value, const char *name, char *out, size_t max) {
    size_t need;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &need) != napi_ok) return wrong(env, name, "a string");
    if (need >= max) return wrong(env, name, "shorter");
    if (napi_get_value_string_utf8(env, value, out, max, &need) != napi_ok) return false;
    if (strlen(out) != need) return wrong(env, name, "without NUL");
    return true;
}

napi_value h_fail(napi_env env, const char *syscall, int error) {
    const char *code = strerrorname_np(error);
    char text[200];
    snprintf(text, sizeof text, "%s: %s", syscall, strerror(error));
    napi_value message, code_value, object, value;
    if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok) return NULL;
    if (napi_create_string_utf8(env, code ? code : "EUNKNOWN", NAPI_AUTO_LENGTH, &code_value) != napi_ok) return NULL;
    if (napi_create_error(env, code_value, message, &object) != napi_ok) return NULL;
    if (napi_create_int32(env, -error, &value) == napi_ok) napi_set_named_property(env, object, "errno", value);
    if (napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &value) == napi_ok)
        napi_set_named_property(env, object, "syscall", value);
    napi_throw(env, object);
    return NULL;
}

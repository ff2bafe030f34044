/*
 * An addon for tests: any system call, from the thread that asks or from one of libuv's pool.
 * call(number, ...arguments) -> result or -errno; callInPool(...) -> a promise of the same.
 * An argument is a number, or a Buffer of at most SPACE bytes, whose copy's address is passed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGUMENTS = 7, SPACE = 256 };

struct work {
	long value[ARGUMENTS];
	char space[ARGUMENTS][SPACE];
	long result;
	napi_deferred deferred;
	napi_async_work work;
};

static void execute(napi_env env, void *data)
{
	struct work *w = data;
	(void)env;
	w->result = syscall(w->value[0], w->value[1], w->value[2], w->value[3], w->value[4], w->value[5], w->value[6]);
	if (w->result < 0)
		w->result = -errno;
}

static struct work *read_arguments(napi_env env, napi_callback_info info)
{
	napi_value given[ARGUMENTS];
	size_t count = ARGUMENTS;
	struct work *w = calloc(1, sizeof *w);
	if (!w || napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok)
		abort();
	for (size_t i = 0; i < count && i < ARGUMENTS; i++) {
		bool is_buffer = false;
		void *bytes = NULL;
		size_t length = 0;
		int64_t number = 0;
		napi_is_buffer(env, given[i], &is_buffer);
		if (is_buffer && napi_get_buffer_info(env, given[i], &bytes, &length) == napi_ok) {
			if (length > SPACE)
				abort();
			memcpy(w->space[i], bytes, length);
			w->value[i] = (long)(intptr_t)w->space[i];
		} else if (napi_get_value_int64(env, given[i], &number) == napi_ok)
			w->value[i] = (long)number;
	}
	return w;
}

static napi_value call(napi_env env, napi_callback_info info)
{
	napi_value result;
	struct work *w = read_arguments(env, info);
	execute(env, w);
	napi_create_int64(env, w->result, &result);
	free(w);
	return result;
}

static void complete(napi_env env, napi_status status, void *data)
{
	napi_value result;
	struct work *w = data;
	(void)status;
	napi_create_int64(env, w->result, &result);
	napi_resolve_deferred(env, w->deferred, result);
	napi_delete_async_work(env, w->work);
	free(w);
}

static napi_value call_in_pool(napi_env env, napi_callback_info info)
{
	napi_value promise, name;
	struct work *w = read_arguments(env, info);
	napi_create_promise(env, &w->deferred, &promise);
	napi_create_string_utf8(env, "syscall", NAPI_AUTO_LENGTH, &name);
	napi_create_async_work(env, NULL, name, execute, complete, w, &w->work);
	napi_queue_async_work(env, w->work);
	return promise;
}

NAPI_MODULE_INIT()
{
	napi_value function;
	napi_create_function(env, "call", NAPI_AUTO_LENGTH, call, NULL, &function);
	napi_set_named_property(env, exports, "call", function);
	napi_create_function(env, "callInPool", NAPI_AUTO_LENGTH, call_in_pool, NULL, &function);
	napi_set_named_property(env, exports, "callInPool", function);
	return exports;
}

/* Addon functions that make, pass and close descriptors. */
#ifndef SALLYPORT_HARDEN_FDS_H
#define SALLYPORT_HARDEN_FDS_H
#include <node_api.h>
napi_value fn_socketpair(napi_env env, napi_callback_info info);
napi_value fn_pipe(napi_env env, napi_callback_info info);
napi_value fn_memfd(napi_env env, napi_callback_info info);
napi_value fn_send_fds(napi_env env, napi_callback_info info);
napi_value fn_recv_fds(napi_env env, napi_callback_info info);
napi_value fn_close_fd(napi_env env, napi_callback_info info);
napi_value fn_open_tmp_file(napi_env env, napi_callback_info info);
napi_value fn_write_now(napi_env env, napi_callback_info info);
#endif

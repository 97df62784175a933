/* SPDX-License-Identifier: ISC */
#ifndef TESTS_UNIT_SCRIPT_REAL_H
#define TESTS_UNIT_SCRIPT_REAL_H

#include "engine/poller.h"
#include "net/sys.h"

/* What real.c makes of net/sys.c and engine/poller.c: the system calls themselves. */

__typeof__(sys_accept) real_accept;
__typeof__(sys_socket) real_socket;
__typeof__(sys_bind) real_bind;
__typeof__(sys_connect) real_connect;
__typeof__(sys_shutdown) real_shutdown;
__typeof__(sys_close) real_close;
__typeof__(sys_getsockopt) real_getsockopt;
__typeof__(sys_setsockopt) real_setsockopt;
__typeof__(sys_getsockname) real_getsockname;
__typeof__(sys_getpeername) real_getpeername;
__typeof__(sys_recv) real_recv;
__typeof__(sys_recvmsg) real_recvmsg;
__typeof__(sys_send) real_send;
__typeof__(sys_read) real_read;
__typeof__(sys_write) real_write;
__typeof__(sys_splice) real_splice;
__typeof__(sys_tee) real_tee;
__typeof__(sys_pipe) real_pipe;
__typeof__(sys_pipe_resize) real_pipe_resize;
__typeof__(sys_pipe_size) real_pipe_size;
__typeof__(sys_unsent) real_unsent;
__typeof__(sys_clock_ms) real_clock_ms;
__typeof__(sys_clock_us) real_clock_us;
__typeof__(poller_new) real_poller_new;
__typeof__(poller_add) real_poller_add;
__typeof__(poller_add_quiet) real_poller_add_quiet;
__typeof__(poller_watch) real_poller_watch;
__typeof__(poller_unwatch) real_poller_unwatch;
__typeof__(poller_add_listener) real_poller_add_listener;
__typeof__(poller_remove) real_poller_remove;
__typeof__(poller_wait) real_poller_wait;

#endif

/* SPDX-License-Identifier: ISC */

/* The real seam under other names, for the script to pass calls on to. */

#define sys_accept real_accept
#define sys_socket real_socket
#define sys_bind real_bind
#define sys_connect real_connect
#define sys_shutdown real_shutdown
#define sys_close real_close
#define sys_getsockopt real_getsockopt
#define sys_getsockname real_getsockname
#define sys_getpeername real_getpeername
#define sys_setsockopt real_setsockopt
#define sys_recv real_recv
#define sys_recvmsg real_recvmsg
#define sys_send real_send
#define sys_read real_read
#define sys_write real_write
#define sys_splice real_splice
#define sys_tee real_tee
#define sys_pipe real_pipe
#define sys_pipe_resize real_pipe_resize
#define sys_pipe_size real_pipe_size
#define sys_unsent real_unsent
#define sys_clock_ms real_clock_ms
#define sys_clock_us real_clock_us
#define poller_new real_poller_new
#define poller_add real_poller_add
#define poller_add_quiet real_poller_add_quiet
#define poller_watch real_poller_watch
#define poller_unwatch real_poller_unwatch
#define poller_add_listener real_poller_add_listener
#define poller_remove real_poller_remove
#define poller_wait real_poller_wait

#include "net/sys.c"

#include "engine/poller.c"

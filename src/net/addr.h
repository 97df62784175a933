/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_NET_ADDR_H
#define SPLICED_NET_ADDR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

/*
 * An address as CONFIG.md writes it, and the socket address that it means.
 * Plain data: it may be copied and may live in shared memory.
 */

/* Bytes of the name of an ADDR_FD, the NUL included. */
#define ADDR_NAME_SIZE 108

enum addr_kind {
        ADDR_NONE,
        ADDR_IP,        /* 10.0.0.1:80, [::1]:80 */
        ADDR_ANY,       /* :80, every address: dual stack */
        ADDR_UNIX,      /* unix:/path and unix:@abstract */
        ADDR_HOST,      /* host.name:80, to be resolved */
        ADDR_SRV,       /* srv:_ldap._tcp.example.org, to be resolved; of servers alone */
        ADDR_FD,        /* fd:NAME, a listening socket that is open already */
};

struct addr {
        enum addr_kind kind;
        socklen_t len;                  /* of sa; for an abstract name its exact length; 0 for ADDR_HOST, _SRV, _FD */
        union {
                struct sockaddr sa;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
                char name[ADDR_NAME_SIZE];      /* of ADDR_FD */
        };
};

/* Bytes that addr_format() may write, the NUL included: "unix:" and a path of 108 bytes, each escaped as \xNN. */
#define ADDR_STRLEN 448

/*
 * Parses text.  ADDR_HOST yields kind only: host and port stay in the text
 * (addr_split_host()), as does the name of ADDR_SRV (addr_srv_name()).
 * ADDR_FD has its name and no socket address.  ADDR_ANY yields in6 with
 * in6addr_any and the port.
 * A v4-mapped IPv6 address becomes plain IPv4.  Port 0 is refused.  An IPv6
 * address may name an interface ([fe80::1%eth0]:80, or its number).  Bytes of
 * a UNIX path or name stand for themselves: nothing is unescaped.
 * Returns 0, or -EINVAL with *why set to a static text that says what is
 * wrong and what is allowed ("port must be 1 to 65535", "a UNIX path is at
 * most 107 bytes long", ...) and *addr zeroed.
 */
int addr_parse(struct addr *addr, const char *text, const char **why);

/*
 * Parses a local address to connect from: numeric, of ADDR_IP, with or without
 * a port and brackets ("10.0.0.1", "2001:db8::1", "[2001:db8::1]:5000"); port
 * 0, as without one, leaves the choice to the kernel.  Returns as addr_parse().
 */
int addr_parse_source(struct addr *addr, const char *text, const char **why);

/*
 * Splits "host.name:80" into host (size bytes: text's length + 1 is always
 * enough) and port.  Returns 0, or -EINVAL where text is no ADDR_HOST.
 */
int addr_split_host(const char *text, char *host, size_t size, uint16_t *port);

/*
 * Copies the name of SRV records, "_ldap._tcp.example.org", out of "srv:NAME" (size bytes: text's length is
 * always enough).  Returns 0, or -EINVAL where text is no ADDR_SRV.
 */
int addr_srv_name(const char *text, char *name, size_t size);

/*
 * Writes a socket address as a user writes it: "10.0.0.1:80", "[::1]:80",
 * "unix:/path", "unix:@name" (odd bytes as \xNN); a v4-mapped address as v4;
 * an unnamed AF_UNIX address as "unix".  An interface is given by its number,
 * so no system call is made.  Cut to size where that is under ADDR_STRLEN.  Returns buf.
 */
char *addr_format(const struct sockaddr *sa, socklen_t len, char *buf, size_t size);

/* Turns a v4-mapped in6 into in, in place; anything else is left alone. */
void addr_unmap(struct addr *addr);

/* AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC for ADDR_HOST, ADDR_SRV, ADDR_FD and ADDR_NONE. */
int addr_family(const struct addr *addr);

/*
 * Whether both mean the same socket address, or both are ADDR_FD with the same name; ADDR_HOST, ADDR_SRV
 * and ADDR_NONE equal nothing.
 */
int addr_equal(const struct addr *a, const struct addr *b);

#endif

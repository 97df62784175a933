/* SPDX-License-Identifier: ISC */
#include "net/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define ADDR_UNIX_OFFSET offsetof(struct sockaddr_un, sun_path)
#define ADDR_UNIX_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define ADDR_HOST_MAX 253
#define ADDR_LABEL_MAX 63

static const char addr_why_port[] = "the port must be a number from 1 to 65535";
static const char addr_why_no_port[] = "an address needs a port, as in 10.0.0.1:80, [::1]:80, host.name:80 or :80; "
                                       "or unix:/path or unix:@name";
static const char addr_why_ipv4[] = "not an IPv4 address: four numbers from 0 to 255 with dots between them";
static const char addr_why_ipv6[] = "not an IPv6 address: what stands in brackets must be one, as in [2001:db8::1]:80";
static const char addr_why_brackets[] = "an IPv6 address needs brackets, as in [2001:db8::1]:80";

static int addr_bad(const char **why, const char *text) {
        *why = text;
        return -EINVAL;
}

/* Takes text up to its end as a port of at least `min`. */
static int addr_parse_port(const char *text, unsigned min, uint16_t *port) {
        unsigned n = 0;
        size_t i;

        for (i = 0; text[i] >= '0' && text[i] <= '9' && i < 5; ++i) {
                n = n * 10 + (unsigned)(text[i] - '0');
        }
        if (i == 0 || text[i] != '\0' || n < min || n > 65535) {
                return -EINVAL;
        }
        *port = (uint16_t)n;
        return 0;
}

/* An interface by its name or number; 0 where there is none such. */
static unsigned addr_parse_scope(const char *text) {
        unsigned long long n = 0;
        unsigned index = if_nametoindex(text);
        size_t i;

        if (index > 0) {
                return index;
        }
        for (i = 0; text[i] >= '0' && text[i] <= '9' && i < 10; ++i) {
                n = n * 10 + (unsigned)(text[i] - '0');
        }
        return i > 0 && text[i] == '\0' && n <= UINT32_MAX ? (unsigned)n : 0;
}

static void addr_set_in6(struct addr *addr, enum addr_kind kind, uint16_t port) {
        addr->kind = kind;
        addr->len = sizeof(addr->in6);
        addr->in6.sin6_family = AF_INET6;
        addr->in6.sin6_port = htons(port);
}

/* "2001:db8::1", "fe80::1%eth0": len bytes of text. */
static int addr_parse_ipv6(struct addr *addr, const char *text, size_t len, uint16_t port, const char **why) {
        char buf[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
        char *percent;

        if (len >= sizeof(buf)) {
                return addr_bad(why, addr_why_ipv6);
        }
        memcpy(buf, text, len);
        buf[len] = '\0';
        percent = strchr(buf, '%');
        if (percent) {
                *percent = '\0';
        }
        addr_set_in6(addr, ADDR_IP, port);
        if (inet_pton(AF_INET6, buf, &addr->in6.sin6_addr) != 1) {
                return addr_bad(why, addr_why_ipv6);
        }
        if (percent) {
                addr->in6.sin6_scope_id = addr_parse_scope(percent + 1);
                if (addr->in6.sin6_scope_id == 0) {
                        return addr_bad(why, "what follows % must be the name or number of a network interface");
                }
        }
        addr_unmap(addr);
        return 0;
}

static int addr_parse_ipv4(struct addr *addr, const char *text, size_t len, uint16_t port) {
        char buf[INET_ADDRSTRLEN];

        if (len >= sizeof(buf)) {
                return -EINVAL;
        }
        memcpy(buf, text, len);
        buf[len] = '\0';
        if (inet_pton(AF_INET, buf, &addr->in.sin_addr) != 1) {
                return -EINVAL;
        }
        addr->kind = ADDR_IP;
        addr->len = sizeof(addr->in);
        addr->in.sin_family = AF_INET;
        addr->in.sin_port = htons(port);
        return 0;
}

/* text is what follows "unix:". */
static int addr_parse_unix(struct addr *addr, const char *text, const char **why) {
        size_t len = strlen(text);

        if (text[0] == '@') {
                ++text;
                --len;
                if (len == 0) {
                        return addr_bad(why, "unix:@ needs a name behind it");
                }
                if (len > ADDR_UNIX_MAX) {
                        return addr_bad(why, "an abstract UNIX name is at most 107 bytes long");
                }
                memcpy(addr->un.sun_path + 1, text, len);
        } else if (text[0] != '/') {
                return addr_bad(why, "a UNIX address is unix:/path, an absolute path, or unix:@name, an abstract name");
        } else if (len > ADDR_UNIX_MAX) {
                return addr_bad(why, "a UNIX path is at most 107 bytes long");
        } else if (text[len - 1] == '/') {
                return addr_bad(why, "a UNIX path must end in a file's name");
        } else {
                memcpy(addr->un.sun_path, text, len);
        }
        addr->kind = ADDR_UNIX;
        addr->un.sun_family = AF_UNIX;
        /* A path's NUL and an abstract name's leading NUL each count as one byte. */
        addr->len = (socklen_t)(ADDR_UNIX_OFFSET + len + 1);
        return 0;
}

/* text is what follows "fd:": what systemd allows in a name. */
static int addr_parse_fd(struct addr *addr, const char *text, const char **why) {
        size_t len = strlen(text);

        if (len == 0) {
                return addr_bad(why, "fd: needs the name or number of an inherited socket behind it");
        }
        if (len >= sizeof(addr->name)) {
                return addr_bad(why, "the name of an inherited socket is at most 107 bytes long");
        }
        for (size_t i = 0; i < len; ++i) {
                if (text[i] <= ' ' || text[i] > '~' || text[i] == ':') {
                        return addr_bad(why, "the name of an inherited socket is of printable characters without : "
                                             "and spaces");
                }
        }
        memcpy(addr->name, text, len + 1);
        addr->kind = ADDR_FD;
        return 0;
}

/*
 * Whether len bytes are a host name by RFC 1123, with underscores, which
 * names of services have.  A last label of digits alone would be a mistyped IPv4 address.
 */
static int addr_is_host(const char *name, size_t len) {
        size_t label = 0;
        int digits = 1;

        if (len > 1 && name[len - 1] == '.') {
                --len;
        }
        if (len == 0 || len > ADDR_HOST_MAX) {
                return 0;
        }
        for (size_t i = 0; i < len; ++i) {
                char c = name[i];

                if (c == '.') {
                        if (label == 0 || name[i - 1] == '-') {
                                return 0;
                        }
                        label = 0;
                        digits = 1;
                        continue;
                }
                if ((c == '-' && label == 0) || (c != '-' && c != '_' && (!isascii(c) || !isalnum((unsigned char)c)))) {
                        return 0;
                }
                if (++label > ADDR_LABEL_MAX) {
                        return 0;
                }
                digits = digits && c >= '0' && c <= '9';
        }
        return label > 0 && name[len - 1] != '-' && !digits;
}

/* The length of a label that begins with _ and ends in a dot; 0 where text does not begin with such. */
static size_t addr_service_label(const char *text) {
        size_t len = strcspn(text, ".");

        return text[0] == '_' && len > 1 && text[len] == '.' ? len : 0;
}

/* "_ldap._tcp.example.org": a service, a protocol and a domain. */
static int addr_is_srv(const char *name) {
        size_t service = addr_service_label(name);
        size_t proto = service > 0 ? addr_service_label(name + service + 1) : 0;

        return proto > 0 && addr_is_host(name, strlen(name)) &&
               addr_is_host(name + service + proto + 2, strlen(name + service + proto + 2));
}

/* text is what follows "srv:". */
static int addr_parse_srv(struct addr *addr, const char *text, const char **why) {
        if (!addr_is_srv(text)) {
                return addr_bad(why, "not the name of SRV records: _service._protocol.domain, as in "
                                     "srv:_ldap._tcp.example.org, without a port");
        }
        addr->kind = ADDR_SRV;
        return 0;
}

static int addr_is_dotted(const char *text, size_t len) {
        return len > 0 && strspn(text, "0123456789.") >= len;
}

/* What is wrong with a text of several colons outside brackets. */
static const char *addr_why_colons(const char *text) {
        return text[strspn(text, "0123456789abcdefABCDEF:.%")] == '\0' || strstr(text, "::")
                ? addr_why_brackets
                : "not an address: allowed are 10.0.0.1:80, [::1]:80, host.name:80, :80, unix:/path and unix:@name";
}

/* "[...]:80" */
static int addr_parse_brackets(struct addr *addr, const char *text, const char **why) {
        const char *end = strchr(text, ']');
        uint16_t port;

        if (!end) {
                return addr_bad(why, "the closing ] of an IPv6 address is missing");
        }
        if (end[1] != ':') {
                return addr_bad(why, addr_why_no_port);
        }
        if (addr_parse_port(end + 2, 1, &port) < 0) {
                return addr_bad(why, addr_why_port);
        }
        return addr_parse_ipv6(addr, text + 1, (size_t)(end - text - 1), port, why);
}

static int addr_parse_any(struct addr *addr, const char *text, const char **why) {
        const char *colon;
        size_t len;
        uint16_t port;

        if (strncmp(text, "unix:", 5) == 0) {
                return addr_parse_unix(addr, text + 5, why);
        }
        if (strncmp(text, "fd:", 3) == 0) {
                return addr_parse_fd(addr, text + 3, why);
        }
        if (strncmp(text, "srv:", 4) == 0) {
                return addr_parse_srv(addr, text + 4, why);
        }
        if (text[0] == '[') {
                return addr_parse_brackets(addr, text, why);
        }
        colon = strchr(text, ':');
        if (!colon) {
                return addr_bad(why, addr_why_no_port);
        }
        if (strchr(colon + 1, ':')) {
                return addr_bad(why, addr_why_colons(text));
        }
        if (addr_parse_port(colon + 1, 1, &port) < 0) {
                return addr_bad(why, addr_why_port);
        }
        len = (size_t)(colon - text);
        if (len == 0) {
                addr_set_in6(addr, ADDR_ANY, port);
                return 0;
        }
        if (addr_is_dotted(text, len)) {
                return addr_parse_ipv4(addr, text, len, port) < 0 ? addr_bad(why, addr_why_ipv4) : 0;
        }
        if (len == 1 && text[0] == '*') {
                return addr_bad(why, "every address is written as :80, without *");
        }
        if (!addr_is_host(text, len)) {
                return addr_bad(why, "not a host name: letters, digits, - and _ in labels of up to 63, 253 in all");
        }
        addr->kind = ADDR_HOST;
        return 0;
}

int addr_parse(struct addr *addr, const char *text, const char **why) {
        int r;

        memset(addr, 0, sizeof(*addr));
        r = addr_parse_any(addr, text, why);
        if (r < 0) {
                memset(addr, 0, sizeof(*addr));
        }
        return r;
}

static int addr_parse_source_any(struct addr *addr, const char *text, const char **why) {
        size_t len = strlen(text);
        const char *colon = strchr(text, ':');
        const char *end;
        uint16_t port = 0;

        if (text[0] == '[') {
                end = strchr(text, ']');
                if (!end) {
                        return addr_bad(why, "the closing ] of an IPv6 address is missing");
                }
                if (end[1] != '\0' && (end[1] != ':' || addr_parse_port(end + 2, 0, &port) < 0)) {
                        return addr_bad(why, "the port must be a number from 0 to 65535");
                }
                return addr_parse_ipv6(addr, text + 1, (size_t)(end - text - 1), port, why);
        }
        if (colon && strchr(colon + 1, ':')) {
                return addr_parse_ipv6(addr, text, len, 0, why);
        }
        if (colon && addr_parse_port(colon + 1, 0, &port) < 0) {
                return addr_bad(why, "the port must be a number from 0 to 65535");
        }
        if (addr_parse_ipv4(addr, text, colon ? (size_t)(colon - text) : len, port) < 0) {
                return addr_bad(why, "a source is a numeric address of this machine, as 10.0.0.1 or 2001:db8::1");
        }
        return 0;
}

int addr_parse_source(struct addr *addr, const char *text, const char **why) {
        int r;

        memset(addr, 0, sizeof(*addr));
        r = addr_parse_source_any(addr, text, why);
        if (r < 0) {
                memset(addr, 0, sizeof(*addr));
        }
        return r;
}

int addr_split_host(const char *text, char *host, size_t size, uint16_t *port) {
        const char *colon = strchr(text, ':');
        size_t len = colon ? (size_t)(colon - text) : 0;

        if (!colon || len >= size || !addr_is_host(text, len) || addr_parse_port(colon + 1, 1, port) < 0) {
                return -EINVAL;
        }
        memcpy(host, text, len);
        host[len] = '\0';
        return 0;
}

int addr_srv_name(const char *text, char *name, size_t size) {
        if (strncmp(text, "srv:", 4) != 0 || !addr_is_srv(text + 4) || strlen(text + 4) >= size) {
                return -EINVAL;
        }
        strcpy(name, text + 4);
        return 0;
}

/* Appends c to buf at *at, escaped where it is odd, as far as it fits whole. */
static void addr_put(char *buf, size_t size, size_t *at, unsigned char c) {
        int odd = c < 0x20 || c > 0x7e || c == '\\';
        size_t need = odd ? 4 : 1;

        if (*at + need >= size) {
                return;
        }
        if (odd) {
                snprintf(buf + *at, size - *at, "\\x%02x", c);
        } else {
                buf[*at] = (char)c;
        }
        *at += need;
        buf[*at] = '\0';
}

static void addr_format_unix(const struct sockaddr_un *un, socklen_t len, char *buf, size_t size) {
        size_t n = len > ADDR_UNIX_OFFSET ? len - ADDR_UNIX_OFFSET : 0;
        size_t i = 0;
        size_t at;

        if (n > sizeof(un->sun_path)) {
                n = sizeof(un->sun_path);
        }
        if (n == 0) {
                snprintf(buf, size, "unix");
                return;
        }
        if (un->sun_path[0] == '\0') {
                snprintf(buf, size, "unix:@");
                i = 1;
        } else {
                snprintf(buf, size, "unix:");
                n = strnlen(un->sun_path, n);
        }
        for (at = strlen(buf); i < n; ++i) {
                addr_put(buf, size, &at, (unsigned char)un->sun_path[i]);
        }
}

static void addr_format_in6(const struct sockaddr_in6 *in6, char *buf, size_t size) {
        char ip[INET6_ADDRSTRLEN];

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
                inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ip, sizeof(ip));
                snprintf(buf, size, "%s:%u", ip, ntohs(in6->sin6_port));
                return;
        }
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
        /* The number of the interface and not its name, which would cost system calls for each peer. */
        if (in6->sin6_scope_id > 0) {
                snprintf(buf, size, "[%s%%%u]:%u", ip, in6->sin6_scope_id, ntohs(in6->sin6_port));
        } else {
                snprintf(buf, size, "[%s]:%u", ip, ntohs(in6->sin6_port));
        }
}

char *addr_format(const struct sockaddr *sa, socklen_t len, char *buf, size_t size) {
        const struct sockaddr_in *in = (const void *)sa;
        char ip[INET_ADDRSTRLEN];

        if (size == 0) {
                return buf;
        }
        if (len >= sizeof(struct sockaddr_in) && sa->sa_family == AF_INET) {
                inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
                snprintf(buf, size, "%s:%u", ip, ntohs(in->sin_port));
        } else if (len >= sizeof(struct sockaddr_in6) && sa->sa_family == AF_INET6) {
                addr_format_in6((const void *)sa, buf, size);
        } else if (len >= sizeof(sa->sa_family) && sa->sa_family == AF_UNIX) {
                addr_format_unix((const void *)sa, len, buf, size);
        } else {
                snprintf(buf, size, "unknown");
        }
        return buf;
}

void addr_unmap(struct addr *addr) {
        struct sockaddr_in in = { .sin_family = AF_INET };

        if (addr_family(addr) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr)) {
                return;
        }
        in.sin_port = addr->in6.sin6_port;
        memcpy(&in.sin_addr, &addr->in6.sin6_addr.s6_addr[12], sizeof(in.sin_addr));
        memset(&addr->in6, 0, sizeof(addr->in6));
        addr->in = in;
        addr->len = sizeof(in);
}

int addr_family(const struct addr *addr) {
        if (addr->kind == ADDR_NONE || addr->kind == ADDR_HOST || addr->kind == ADDR_SRV || addr->kind == ADDR_FD ||
            addr->len < sizeof(addr->sa.sa_family)) {
                return AF_UNSPEC;
        }
        return addr->sa.sa_family;
}

static int addr_equal_unix(const struct addr *a, const struct addr *b) {
        size_t n = a->len - ADDR_UNIX_OFFSET;
        size_t m = b->len - ADDR_UNIX_OFFSET;

        if (n > 0 && m > 0 && a->un.sun_path[0] != '\0' && b->un.sun_path[0] != '\0') {
                /* Whether a path's NUL is counted in len makes no difference to the kernel. */
                n = strnlen(a->un.sun_path, n);
                m = strnlen(b->un.sun_path, m);
        }
        return n > 0 && n == m && memcmp(a->un.sun_path, b->un.sun_path, n) == 0;
}

int addr_equal(const struct addr *a, const struct addr *b) {
        struct addr x;
        struct addr y;

        if (a->kind == ADDR_FD || b->kind == ADDR_FD) {
                return a->kind == b->kind && strcmp(a->name, b->name) == 0;
        }
        if (addr_family(a) == AF_UNIX || addr_family(b) == AF_UNIX) {
                return addr_family(a) == addr_family(b) && addr_equal_unix(a, b);
        }
        x = *a;
        y = *b;
        addr_unmap(&x);
        addr_unmap(&y);
        if (addr_family(&x) != addr_family(&y)) {
                return 0;
        }
        switch (addr_family(&x)) {
        case AF_INET:
                return x.in.sin_port == y.in.sin_port && x.in.sin_addr.s_addr == y.in.sin_addr.s_addr;
        case AF_INET6:
                return x.in6.sin6_port == y.in6.sin6_port && x.in6.sin6_scope_id == y.in6.sin6_scope_id &&
                       memcmp(&x.in6.sin6_addr, &y.in6.sin6_addr, sizeof(x.in6.sin6_addr)) == 0;
        default:
                return 0;
        }
}

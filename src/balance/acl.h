/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_BALANCE_ACL_H
#define SPLICED_BALANCE_ACL_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "net/prefix.h"

/*
 * Who may come in: the lists allow and deny of a frontend (or one list of who may,
 * with none of who may not), made fit for a look-up.
 *
 * A rule speaks either of the client's address (a network) or of the socket's own peer (unix, uid, gid).
 * Among networks the longest prefix decides; of the peer, uid and gid decide before unix.  Both kinds have something
 * to say only where a PROXY header over AF_UNIX names the client: then neither is more specific than the other.
 * Of what is equally specific, deny decides.  Where nothing matches: denied if allow is given.
 *
 * Pure; immutable once built, so threads share it.
 */

enum acl_verdict { ACL_NONE = PREFIX_NONE, ACL_ALLOW = PREFIX_LESS, ACL_DENY = PREFIX_MORE };

/* A uid or gid with its verdict. */
struct acl_id {
        uint32_t id;
        uint8_t verdict;
};

struct acl_ids {
        struct acl_id *list;            /* owned; ascending, each id once */
        size_t n;
};

struct acl {
        struct prefix_table v4, v6;
        struct acl_ids uids, gids;
        uint8_t local;                  /* what is said of unix */
        uint8_t otherwise;              /* where nothing matches */
};

/* Who asks. */
struct acl_client {
        int family;                     /* of the client: AF_INET, AF_INET6 (never v4-mapped) or AF_UNIX */
        const struct in6_addr *address; /* an IPv4 one in its first four bytes */
        int has_peer;                   /* the socket is AF_UNIX, and these are its peer's: */
        uint32_t uid, gid;
        const uint32_t *groups;         /* supplementary ones */
        size_t n_groups;
};

/*
 * Builds the rules.  Names must have been looked up: rules of kind CONF_RULE_USER and CONF_RULE_GROUP match nobody.
 * Returns 0 or -ENOMEM.  acl_deinit() is fine on a zeroed or failed one.
 */
int acl_init(struct acl *acl, const struct conf_rules *allow, const struct conf_rules *deny);
void acl_deinit(struct acl *acl);

/* Whether everybody may, whatever is asked. */
int acl_is_open(const struct acl *acl);

/* Whether it takes the peer's uid and gid to tell, and whether it takes its supplementary groups. */
int acl_asks_ids(const struct acl *acl);
int acl_asks_groups(const struct acl *acl);

/* Whether the client may. */
int acl_allows(const struct acl *acl, const struct acl_client *client);

#endif

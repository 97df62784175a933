/* SPDX-License-Identifier: ISC */
#include "keeper/privilege.h"

#include <cap-ng.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PRIVILEGE_BUFFER 2048
#define PRIVILEGE_BUFFER_MAX (1U << 20)
#define PRIVILEGE_CONGESTION "/proc/sys/net/ipv4/tcp_allowed_congestion_control"

static int privilege_fail(char *why, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Writes a sentence to why and returns r, so that failing is one statement. */
static int privilege_fail(char *why, int r, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(why, PRIVILEGE_WHY, fmt, args);
        va_end(args);
        return r;
}

/* 1 with *id set where text is a number that may be an id, else 0.  (uid_t)-1 means "unchanged" to the kernel. */
static int privilege_number(const char *text, unsigned *id) {
        unsigned long long n;
        char *end;

        if (!isdigit((unsigned char)text[0]))
                return 0;
        errno = 0;
        n = strtoull(text, &end, 10);
        if (*end || errno || n >= UINT_MAX)
                return 0;
        *id = (unsigned)n;
        return 1;
}

/* A user's entry; what it points to is in *buf, to be freed by the caller.  *found is NULL where there is none. */
static int privilege_user_entry(const char *user, struct passwd *entry, struct passwd **found, char **buf) {
        size_t size = PRIVILEGE_BUFFER;
        unsigned id;
        int r;

        do {
                free(*buf);
                size *= 2;
                *buf = malloc(size);
                if (!*buf)
                        return -ENOMEM;
                *found = NULL;
                r = privilege_number(user, &id) ? getpwuid_r(id, entry, *buf, size, found)
                                                : getpwnam_r(user, entry, *buf, size, found);
        } while (r == ERANGE && size < PRIVILEGE_BUFFER_MAX);
        /* Some databases say so instead of finding nothing: getpwnam(3). */
        return r == ENOENT || r == ESRCH ? 0 : -r;
}

static int privilege_group_id(const char *group, gid_t *gid, char *why) {
        struct group entry, *found = NULL;
        size_t size = PRIVILEGE_BUFFER;
        char *buf = NULL;
        int r;

        if (privilege_number(group, gid))
                return 0;
        do {
                free(buf);
                size *= 2;
                buf = malloc(size);
                if (!buf)
                        return privilege_fail(why, -ENOMEM, "cannot look up group %.64s: no memory", group);
                r = getgrnam_r(group, &entry, buf, size, &found);
        } while (r == ERANGE && size < PRIVILEGE_BUFFER_MAX);
        if (found)
                *gid = found->gr_gid;
        free(buf);
        if (found)
                return 0;
        if (r && r != ENOENT && r != ESRCH)
                return privilege_fail(why, -r, "cannot look up group %.64s: %s", group, strerror(r));
        return privilege_fail(why, -EINVAL, "there is no group %.64s; make it or use a number", group);
}

/* The groups of a user by name, or just the main one. */
static int privilege_groups(struct privilege *privilege, const char *name, char *why) {
        int n = PRIVILEGE_GROUPS;

        privilege->groups[0] = privilege->gid;
        privilege->n_groups = 1;
        if (!name)
                return 0;
        if (getgrouplist(name, privilege->gid, privilege->groups, &n) < 0)
                return privilege_fail(why, -E2BIG, "user %.64s is in %d groups, %d are allowed", name, n,
                                      PRIVILEGE_GROUPS);
        privilege->n_groups = n;
        return 0;
}

int privilege_lookup(struct privilege *privilege, const char *user, const char *group, char *why) {
        struct passwd entry, *found = NULL;
        char *buf = NULL;
        int r = 0;

        *privilege = (struct privilege){ .uid = (uid_t)-1, .gid = (gid_t)-1 };
        if (user) {
                r = privilege_user_entry(user, &entry, &found, &buf);
                if (r < 0)
                        privilege_fail(why, r, "cannot look up user %.64s: %s", user, strerror(-r));
                else if (found)
                        privilege->uid = found->pw_uid;
                else if (!privilege_number(user, &privilege->uid))
                        r = privilege_fail(why, -EINVAL, "there is no user %.64s; make it or use a number", user);
                else if (!group)
                        r = privilege_fail(why, -EINVAL, "user %.64s is in no user database, so a group is needed too",
                                           user);
        }
        if (r >= 0 && group)
                r = privilege_group_id(group, &privilege->gid, why);
        else if (r >= 0 && found)
                privilege->gid = found->pw_gid;
        if (r >= 0 && privilege->gid != (gid_t)-1)
                r = privilege_groups(privilege, found ? found->pw_name : NULL, why);
        free(buf);
        return r;
}

/* Whether choosing a congestion control takes CAP_NET_ADMIN.  Where that cannot be told it does. */
static int privilege_congestion(const char *name) {
        char allowed[1024], *save = NULL, *word;
        FILE *file = fopen(PRIVILEGE_CONGESTION, "re");
        size_t n;

        if (!file)
                return 1;
        n = fread(allowed, 1, sizeof(allowed) - 1, file);
        fclose(file);
        allowed[n] = '\0';
        for (word = strtok_r(allowed, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
                if (strcmp(word, name) == 0)
                        return 0;
        return 1;
}

static int privilege_has(const struct sockopt_set *set, enum sockopt_id id) {
        return set->set >> id & 1;
}

static unsigned privilege_needed_by(const struct sockopt_set *set) {
        unsigned needs = 0;

        if (privilege_has(set, SOCKOPT_MARK) || privilege_has(set, SOCKOPT_DEVICE) ||
            (privilege_has(set, SOCKOPT_TRANSPARENT) && set->value[SOCKOPT_TRANSPARENT]) ||
            (privilege_has(set, SOCKOPT_PRIORITY) && set->value[SOCKOPT_PRIORITY] > 6))
                needs |= PRIVILEGE_RAW;
        if ((privilege_has(set, SOCKOPT_BUSY_POLL) && set->value[SOCKOPT_BUSY_POLL] > 0) ||
            (privilege_has(set, SOCKOPT_CONGESTION) && privilege_congestion(set->congestion)))
                needs |= PRIVILEGE_ADMIN;
        return needs;
}

unsigned privilege_needed(const struct conf *conf) {
        unsigned needs = PRIVILEGE_BIND;

        for (size_t f = 0; f < conf->n_frontends; f++)
                for (size_t i = 0; i < conf->frontends[f].n_listeners; i++)
                        needs |= privilege_needed_by(&conf->frontends[f].listeners[i].sockopts);
        for (size_t b = 0; b < conf->n_backends; b++)
                for (size_t i = 0; i < conf->backends[b].n_servers; i++)
                        needs |= privilege_needed_by(&conf->backends[b].servers[i].sockopts);
        return needs;
}

/* What is not in the bounding set cannot become ambient. */
static int privilege_may_keep(unsigned cap) {
        return capng_have_capability(CAPNG_PERMITTED, cap) && capng_have_capability(CAPNG_BOUNDING_SET, cap);
}

/* The capabilities for needs that this process has, as bits; *lacks names one that it has not, or is NULL. */
static uint64_t privilege_keep(unsigned needs, const char **lacks) {
        int bind = privilege_may_keep(CAP_NET_BIND_SERVICE);
        int raw = privilege_may_keep(CAP_NET_RAW);
        int admin = privilege_may_keep(CAP_NET_ADMIN);
        uint64_t keep = 0;

        *lacks = NULL;
        if ((needs & PRIVILEGE_BIND) && bind)
                keep |= UINT64_C(1) << CAP_NET_BIND_SERVICE;
        if ((needs & PRIVILEGE_RAW) && raw)
                keep |= UINT64_C(1) << CAP_NET_RAW;
        if (((needs & PRIVILEGE_ADMIN) || ((needs & PRIVILEGE_RAW) && !raw)) && admin)
                keep |= UINT64_C(1) << CAP_NET_ADMIN;
        if ((needs & PRIVILEGE_RAW) && !raw && !admin)
                *lacks = "CAP_NET_RAW";
        if ((needs & PRIVILEGE_ADMIN) && !admin)
                *lacks = "CAP_NET_ADMIN";
        return keep;
}

static void privilege_select(uint64_t keep, capng_type_t types) {
        for (unsigned cap = 0; cap < 64; cap++)
                if (keep >> cap & 1)
                        capng_update(CAPNG_ADD, types, cap);
}

/* Needs CAP_SETPCAP, which a plain user lacks; no_new_privs then says the same. */
static int privilege_drop_bounds(uint64_t keep) {
        if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
                return 0;
        capng_clear(CAPNG_SELECT_BOUNDS);
        privilege_select(keep, CAPNG_BOUNDING_SET);
        return capng_apply(CAPNG_SELECT_BOUNDS) < 0 ? -EPERM : 0;
}

static int privilege_drop_caps(uint64_t keep) {
        capng_clear(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT);
        privilege_select(keep, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_AMBIENT);
        errno = 0;
        if (capng_apply(CAPNG_SELECT_CAPS) < 0)
                return errno ? -errno : -EPERM;
        if (capng_apply(CAPNG_SELECT_AMBIENT) < 0)
                return errno ? -errno : -EPERM;
        return 0;
}

/* Whether the ids are such already: then nobody needs the right to change them. */
static int privilege_is(const struct privilege *privilege) {
        uid_t uid, euid, suid;
        gid_t gid, egid, sgid;

        if (getresuid(&uid, &euid, &suid) < 0 || getresgid(&gid, &egid, &sgid) < 0)
                return 0;
        return (privilege->uid == (uid_t)-1 ||
                (uid == privilege->uid && euid == privilege->uid && suid == privilege->uid)) &&
               (privilege->gid == (gid_t)-1 ||
                (gid == privilege->gid && egid == privilege->gid && sgid == privilege->gid));
}

/* Groups first, since whoever has changed its user may not change them any more. */
static int privilege_become(const struct privilege *privilege, char *why) {
        const char *what = "take the groups";
        int failed = 0;

        if (privilege->gid != (gid_t)-1) {
                failed = setgroups((size_t)privilege->n_groups, privilege->groups) < 0;
                if (!failed) {
                        what = "take the group";
                        failed = setresgid(privilege->gid, privilege->gid, privilege->gid) < 0;
                }
        }
        if (!failed && privilege->uid != (uid_t)-1) {
                what = "keep capabilities";
                failed = prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) < 0;
                if (!failed) {
                        what = "become the user";
                        failed = setresuid(privilege->uid, privilege->uid, privilege->uid) < 0;
                }
        }
        if (!failed)
                return 0;
        failed = errno;
        return privilege_fail(why, -failed, "cannot %s (user %ld, group %ld): %s%s", what,
                              privilege->uid == (uid_t)-1 ? -1L : (long)privilege->uid,
                              privilege->gid == (gid_t)-1 ? -1L : (long)privilege->gid, strerror(failed),
                              failed == EPERM ? "; user and group need a start as root" : "");
}

int privilege_check(unsigned needs, char *why) {
        const char *lacks;

        capng_setpid((int)gettid());
        if (capng_get_caps_process() < 0)
                return 0;
        privilege_keep(needs, &lacks);
        return lacks ? privilege_fail(why, PRIVILEGE_LACKS,
                                      "the configuration needs %s, which this process has not", lacks) : 0;
}

int privilege_drop(const struct privilege *privilege, unsigned needs, char *why) {
        int asked = privilege->uid != (uid_t)-1 || privilege->gid != (gid_t)-1;
        const char *lacks;
        uint64_t keep;
        int r;

        if (!asked && geteuid() == 0)
                return 0;
        /* The library remembers the thread that first asked, which after a bare clone() is another one. */
        capng_setpid((int)gettid());
        if (capng_get_caps_process() < 0)
                return privilege_fail(why, -EPERM, "cannot read the capabilities of this process");
        keep = privilege_keep(needs, &lacks);
        r = privilege_drop_bounds(keep);
        if (r < 0)
                return privilege_fail(why, r, "cannot reduce the bounding set of capabilities");
        if (!privilege_is(privilege)) {
                r = privilege_become(privilege, why);
                if (r < 0)
                        return r;
        }
        r = privilege_drop_caps(keep);
        if (r < 0)
                return privilege_fail(why, r, "cannot reduce the capabilities: %s", strerror(-r));
        if (prctl(PR_SET_KEEPCAPS, 0L, 0L, 0L, 0L) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0)
                return privilege_fail(why, -errno, "cannot refuse new privileges: %s", strerror(errno));
        if (!privilege_is(privilege) || (asked && geteuid() != 0 && setuid(0) == 0))
                return privilege_fail(why, -EPERM, "the privileges that were given up can be had back");
        /* Cleared with the change; without it a crash leaves no core. */
        if (prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L) < 0)
                return privilege_fail(why, -errno, "cannot keep cores possible: %s", strerror(errno));
        if (lacks)
                return privilege_fail(why, PRIVILEGE_LACKS,
                                      "the configuration needs %s, which this process was not given", lacks);
        return 0;
}

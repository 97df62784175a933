/* SPDX-License-Identifier: ISC */
#include "net/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#define IDENTITY_BUFFER 2048u
#define IDENTITY_BUFFER_MAX (1u << 20)

int identity_find(const char *name, enum identity_kind kind, uint32_t *id) {
        struct passwd pw, *found_pw = NULL;
        struct group gr, *found_gr = NULL;
        size_t size = IDENTITY_BUFFER;
        char *buf = NULL;
        int r;

        do {
                free(buf);
                buf = malloc(size);
                if (!buf)
                        return -ENOMEM;
                r = kind == IDENTITY_GROUP ? getgrnam_r(name, &gr, buf, size, &found_gr)
                                           : getpwnam_r(name, &pw, buf, size, &found_pw);
                size *= 2;
        } while (r == ERANGE && size <= IDENTITY_BUFFER_MAX);
        if (found_gr)
                *id = gr.gr_gid;
        else if (found_pw)
                *id = pw.pw_uid;
        free(buf);
        if (found_gr || found_pw)
                return 0;
        /* Some databases say so instead of finding nothing: getpwnam(3). */
        return r == 0 || r == ENOENT || r == ESRCH || r == EBADF || r == EPERM ? IDENTITY_UNKNOWN : -r;
}

/* SPDX-License-Identifier: ISC */
#include "keeper/pidfile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int pidfile_write(const char *path) {
        char temporary[PATH_MAX];
        FILE *file;
        int r = 0;

        if (snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid()) >= (int)sizeof(temporary))
                return -ENAMETOOLONG;
        /* One that a start left half-way; in a container the number is the same each time. */
        unlink(temporary);
        file = fopen(temporary, "wex");
        if (!file)
                return -errno;
        fchmod(fileno(file), 0644);
        if (fprintf(file, "%ld\n", (long)getpid()) < 0)
                r = -EIO;
        if (fclose(file) != 0 && r == 0)
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                unlink(temporary);
        return r;
}

void pidfile_remove(const char *path) {
        FILE *file = fopen(path, "re");
        long pid = 0;

        if (!file)
                return;
        if (fscanf(file, "%ld", &pid) != 1)
                pid = 0;
        fclose(file);
        if (pid == (long)getpid())
                unlink(path);
}

/* SPDX-License-Identifier: ISC */
#ifndef SPLICED_KEEPER_PIDFILE_H
#define SPLICED_KEEPER_PIDFILE_H

#include <sys/types.h>

/* Writes this process's number to path, whole or not at all (a new file renamed into place).  Returns 0 or -errno. */
int pidfile_write(const char *path);

/* Removes it where it still holds this process's number. */
void pidfile_remove(const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The few file calls of the store and its snapshots: whole writes, durable renames. Paths are
 * absolute or relative to the process. */
#pragma once

#include "base/err.h"

enum { FILES_PATH_MAX = 4096 };

int files_write_all(int fd, const void *p, size_t len, const char *path, struct err *e);
/* Up to len bytes, fewer only at the end of the file. */
int files_read_full(int fd, void *out, size_t len, size_t *out_n, const char *path, struct err *e);
int files_sync(int fd, const char *path, struct err *e);
int files_sync_dir(const char *dir, struct err *e);
int files_sync_parent(const char *path, struct err *e);            /* of the file `path` */
int files_rename(const char *from, const char *to, struct err *e); /* durable */
int files_mkdir(const char *path, struct err *e);                  /* existing is fine; durable */
int files_exists(const char *path);
/* The directory and the plain files in it; absent is fine. */
int files_remove_dir(const char *path, struct err *e);
int files_join(char out[FILES_PATH_MAX], const char *dir, const char *name, struct err *e);
int files_err(struct err *e, int errnum, const char *what, const char *path);

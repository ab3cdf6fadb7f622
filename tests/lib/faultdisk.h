/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in front of another one, of whose calls one fails: the n-th, whatever it is. Nothing of
 * the failing call is done, but of a write its first half. One thread at a time. */
#pragma once

#include "base/disk.h"

struct faultdisk;

/* Borrows `under`, which must outlive it. */
struct faultdisk *faultdisk_new(struct disk *under);
void faultdisk_free(struct faultdisk *f);
struct disk *faultdisk_disk(struct faultdisk *f);

/* The n-th call from now on fails once with code; 0 = none. Every call counts but closing a file
 * and asking for free space. */
void faultdisk_fail_at(struct faultdisk *f, unsigned n, int code);
/* The name of the call that failed last, NULL when none has since faultdisk_fail_at. */
const char *faultdisk_failed(const struct faultdisk *f);

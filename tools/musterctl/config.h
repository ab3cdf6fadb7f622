/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `config` share: publishing, contents in JSON, contents in files. */
#pragma once

#include "tools/musterctl/ctl.h"

struct ctl_publish {
    const char *group, *key;
    struct slice content;
    const char *content_type; /* NULL: text/plain */
    const char *comment, *author, *description, *tags;
    uint64_t if_revision; /* 0: whatever is there */
    int is_create_only;
};

/* PUT; the answer is the API's document. */
int ctl_publish(struct ctl *c, const struct ctl_publish *p, struct muster_answer **out);
/* --comment, --author or else $USER. */
void ctl_publish_words(const struct ctl *c, struct ctl_publish *p);
/* By the ending of a file's name; NULL when it tells nothing. */
const char *ctl_content_type_of(const char *file);

/* "content", or "content_base64" when it is not UTF-8 or holds a NUL. */
void ctl_json_set_content(struct json_t *obj, struct slice content);
/* Back; 0, or -1 when neither is there or the base64 is wrong. */
int ctl_json_get_content(const struct json_t *obj, struct buf *out);

/* The whole file, "-" is standard input; at most 64 MiB. Says what failed. */
int ctl_read_file(const char *path, struct buf *out);
/* Written beside and renamed: complete or not there. */
int ctl_write_file(const char *path, struct slice content, unsigned mode);

/* --- filename.c: names as file names --- */

enum { CTL_FILENAME_MAX = 240 };

/* A name of group or key as one file name: letters, digits, spaces, most marks and UTF-8 stay,
 * the rest becomes %XX; no leading dot. Longer ones than CTL_FILENAME_MAX are cut and end with
 * ~ and a digest: such a file is only understood together with muster-export.json. */
void ctl_filename_encode(struct buf *out, const char *name);
/* Back. -1 when it is none of ours, or was cut. */
int ctl_filename_decode(struct buf *out, const char *filename);

/* SPDX-License-Identifier: Apache-2.0 */
/* Inside server/conf: a row of the table, and what its files say to each other. */
#pragma once

#include "server/conf/conf.h"

enum conf_type { CONF_TEXT, CONF_BOOL, CONF_U64, CONF_BYTES, CONF_MS };

struct conf_row {
    const char *key; /* YAML path; the flag is --key with - for _ and ., the variable MUSTER_KEY
                        with _ for . */
    char short_flag; /* 0 = none */
    enum conf_type type;
    size_t offset, size; /* in struct conf */
    const char *dflt;
    uint64_t min, max;
    const char *argument; /* in help; NULL for a switch */
    const char *help;
    int is_reloadable; /* SIGHUP takes it over */
};

extern const struct conf_row conf_table[];
extern const size_t conf_table_n;

void conf_defaults(struct conf_parsed *p);
int conf_set(struct conf_parsed *p, size_t row, struct slice v, enum conf_origin origin,
             struct err *e);
int conf_row_of(struct slice key, size_t *out_row);
const char *conf_nearest(const char *word); /* key that was probably meant, or NULL */
void conf_format(const struct conf *c, size_t row, char out[CONF_TEXT_MAX]);
/* "--peer-tls-cert" without the dashes; "MUSTER_PEER_TLS_CERT". */
void conf_flag_name(const struct conf_row *r, char out[64]);
void conf_env_name(const struct conf_row *r, char out[64]);

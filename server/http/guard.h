/* SPDX-License-Identifier: Apache-2.0 */
/* The head guard: decides where a request head ends and whether it may be shown to the parser at
 * all.
 *
 * It looks only at line ends, the request line and sizes, and it does so once per byte. What it
 * lets pass has CRLF line ends, no folded line, no control byte, a request line of exactly three
 * parts and a version of 1.0 or 1.1. Header names and values are the parser's. */
#pragma once

#include "base/err.h"

enum {
    HEAD_FIELDS_MAX = 100, /* then 431 */
    HEAD_LINE_MAX = 8192,  /* request line; then 414 */
    HEAD_BYTES_MAX =
        65535, /* upper end of the configurable limit: offsets into a head are 16 bits wide */
    HEAD_MORE = 1,
};

/* State of one scan. The bytes scanned so far must be offered again, at the same offsets, with more
 * behind them. */
struct head_guard {
    uint32_t start;   /* of the head, after at most one empty line */
    uint32_t line;    /* where the line being read starts */
    uint32_t scanned; /* bytes looked at */
    uint16_t n_lines; /* complete lines of the head */
    uint8_t is_trailer;
    uint8_t minor;   /* HTTP/1.minor */
    uint32_t target; /* offset of the request target */
    uint32_t target_len;
};

void head_guard_init(struct head_guard *g, int is_trailer);
/* 0: complete, the head is in[g->start .. *out_end). HEAD_MORE: not yet. Else MU_E_*, and a
 * sentence in e. */
int head_guard_scan(struct head_guard *g, struct slice in, size_t max, size_t *out_end,
                    struct err *e);

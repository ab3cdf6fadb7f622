/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
    int code;
    int status;
    const char *name;
    const char *title;
};

static const struct row rows[] = {
#define X(name, number, status, title) {number, status, #name, title},
    MU_ERR_LIST(X)
#undef X
};

static const struct row *row_of(int code)
{
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e != NULL) {
        char text[sizeof(e->text)]; /* an argument may be e->text itself */
        va_list a;
        va_start(a, fmt);
        vsnprintf(text, sizeof(text), fmt, a);
        va_end(a);
        e->code = code;
        memcpy(e->text, text, strlen(text) + 1);
    }
    return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    if (e == NULL) {
        return MU_E_INTERNAL;
    }
    char was[sizeof(e->text)];
    char head[sizeof(e->text)];
    va_list a;
    memcpy(was, e->text, sizeof(was));
    va_start(a, fmt);
    vsnprintf(head, sizeof(head), fmt, a);
    va_end(a);
    size_t n = strlen(head);
    n = n < sizeof(e->text) - 3 ? n : sizeof(e->text) - 3; /* ": " always fits */
    memcpy(e->text, head, n);
    snprintf(e->text + n, sizeof(e->text) - n, ": %s", was);
    return e->code;
}

const char *err_name(int code)
{
    const struct row *r = row_of(code);
    return r != NULL ? r->name : code == 0 ? "OK" : "UNKNOWN";
}

const char *err_title(int code)
{
    const struct row *r = row_of(code);
    return r != NULL ? r->title : code == 0 ? "ok" : "unknown error";
}

int err_http_status(int code)
{
    const struct row *r = row_of(code);
    return r != NULL ? r->status : 500;
}

void err_invariant_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "muster: invariant failed: %s (%s:%d)\n", what, file, line);
    abort();
}

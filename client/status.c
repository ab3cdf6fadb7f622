/* SPDX-License-Identifier: Apache-2.0 */
#include "client/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/json.h"

enum { PROBLEM_MAX = 65536 }; /* a longer problem document is not read */

const char *muster_status_text(muster_status status)
{
    switch (status) {
    case MUSTER_OK:
        return "ok";
    case MUSTER_INVALID:
        return "invalid";
    case MUSTER_NOT_FOUND:
        return "not found";
    case MUSTER_CONFLICT:
        return "conflict";
    case MUSTER_COMPACTED:
        return "compacted";
    case MUSTER_UNREACHABLE:
        return "unreachable";
    case MUSTER_UNKNOWN:
        return "outcome unknown";
    case MUSTER_REFUSED:
        return "refused";
    case MUSTER_NO_MEMORY:
        return "out of memory";
    case MUSTER_CLOSED:
        return "closed";
    case MUSTER_IO:
        return "input/output error";
    }
    return "unknown status";
}

muster_status status_set(struct muster_error *e, muster_status status, const char *fmt, ...)
{
    if (e != NULL) {
        struct muster_error n = {.status = status};
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(n.text, sizeof(n.text), fmt, ap);
        va_end(ap);
        *e = n;
    }
    return status;
}

muster_status status_no_memory(struct muster_error *e)
{
    return status_set(e, MUSTER_NO_MEMORY, "out of memory");
}

static muster_status of_http(int http_status)
{
    switch (http_status) {
    case 400:
    case 414:
    case 415:
        return MUSTER_INVALID;
    case 404:
        return MUSTER_NOT_FOUND;
    case 409:
    case 412:
        return MUSTER_CONFLICT;
    case 410:
        return MUSTER_COMPACTED;
    default:
        return MUSTER_REFUSED;
    }
}

muster_status status_from_answer(struct muster_error *e, int http_status, const char *body,
                                 size_t len)
{
    muster_status status = of_http(http_status);
    struct muster_error n = {.status = status, .http_status = http_status};
    (void)snprintf(n.text, sizeof(n.text), "the server answered %d", http_status);
    struct cjson_doc *doc = NULL;
    if (len <= PROBLEM_MAX) {
        (void)cjson_parse(body, len, &doc); /* the status says enough */
    }
    const char *code = cjson_text(cjson_get(cjson_root(doc), "code"));
    const char *detail = cjson_text(cjson_get(cjson_root(doc), "detail"));
    if (code != NULL) {
        (void)snprintf(n.code, sizeof(n.code), "%s", code);
    }
    if (detail != NULL) {
        (void)snprintf(n.text, sizeof(n.text), "%s", detail);
    }
    cjson_free(doc);
    if (e != NULL) {
        *e = n;
    }
    return status;
}

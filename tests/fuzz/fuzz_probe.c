/* SPDX-License-Identifier: Apache-2.0 */
/* Targets of health checks. First byte: 1 TCP, else HTTP. What is accepted makes one request line:
 * no way to slip in a second one, or a header. The same of targets that are fetched. */
#include <stdlib.h>

#include "server/core/fetch.h"

static void check_plain(const char *s)
{
    for (; *s != '\0'; s++) {
        MU_INVARIANT((unsigned char)*s > ' ' && *s != 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct probe_target t = {0};
    struct err e = {0};
    if (len == 0) {
        return 0;
    }
    struct fetch_request q = {.kind = (enum fetch_kind)(data[0] % 3),
                              .target = slice_of(data + 1, len - 1)};
    if (fetch_check(&q, &e) == 0) {
        for (size_t i = 0; i < q.target.len; i++) {
            MU_INVARIANT(q.target.p[i] > ' ' && q.target.p[i] < 0x7f);
        }
    } else {
        MU_INVARIANT(e.code == MU_E_BAD_REQUEST && e.text[0] != '\0');
    }
    e = (struct err){0};
    enum check_type type = data[0] == 1 ? CHECK_TCP : CHECK_HTTP;
    if (probe_target_parse(type, slice_of(data + 1, len - 1), &t, &e) != 0) {
        MU_INVARIANT(e.code == MU_E_BAD_REQUEST && e.text[0] != '\0');
        return 0;
    }
    MU_INVARIANT(t.type == type && t.host[0] != '\0' && t.port != 0);
    MU_INVARIANT(strlen(t.host) <= PROBE_HOST_MAX && strlen(t.path) <= PROBE_PATH_MAX);
    check_plain(t.host);
    check_plain(t.path);
    MU_INVARIANT(type == CHECK_TCP || t.path[0] == '/');
    return 0;
}

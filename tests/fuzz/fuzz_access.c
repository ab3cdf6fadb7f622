/* SPDX-License-Identifier: Apache-2.0 */
/* The text of policies: rules come out of it or a sentence, and asking about any name ends. */
#include "server/access/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rules s;
    struct err e = {0};
    size_t half = size / 2;
    rules_init(&s);
    if (rules_read(&s, slice_of(data, size), &e) != 0) {
        MU_INVARIANT(e.text[0] != '\0');
    }
    rules_order(&s);
    MU_INVARIANT(s.n <= RULES_MAX);
    for (unsigned kind = 0; kind < ACCESS_KINDS; kind++) {
        struct slice name = slice_of(data + half, size - half);
        enum access_right r = rules_find(&s, (enum access_kind)kind, name);
        int below = rules_allow_below(&s, (enum access_kind)kind, name, ACCESS_READ);
        MU_INVARIANT(r <= ACCESS_DENY && (below == 0 || below == 1));
    }
    rules_fini(&s);
    return 0;
}

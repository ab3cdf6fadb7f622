/* SPDX-License-Identifier: Apache-2.0 */
/* Texts and regular expressions of templates: taken or refused with a sentence. A zero parts
 * them. */
#include <string.h>

#include "server/query/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0}, f = {0};
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t n = zero != NULL ? (size_t)(zero - data) : size;
    if (query_check_text(slice_of(data, n), &e) != 0) {
        MU_INVARIANT(e.code == MU_E_BAD_REQUEST && e.text[0] != '\0');
    }
    if (zero != NULL && query_check_regex(slice_of(zero + 1, size - n - 1), &f) != 0) {
        MU_INVARIANT(f.code == MU_E_BAD_REQUEST && f.text[0] != '\0');
    }
    return 0;
}

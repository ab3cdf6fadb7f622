/* SPDX-License-Identifier: Apache-2.0 */
/* Peer messages: the first byte is the type. What decodes encodes to the same bytes, and its items
 * can be walked. */
#include <stdlib.h>

#include "base/mem.h"
#include "raft/conf.h"
#include "raft/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct message *m)
{
    struct slice items = m->forward.items;
    struct message_forward_item f;
    struct message_result_item r;
    size_t n = 0;
    while (m->type == MESSAGE_FORWARD ? message_next_forward(&items, &f)
                                      : message_next_result(&items, &r)) {
        n++;
    }
    MU_INVARIANT(n == m->forward.n && items.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message_scratch scratch;
    struct message m;
    uint8_t head[MESSAGE_HEAD_MAX];
    if (size == 0 || message_decode(data[0], slice_of(data + 1, size - 1), &scratch, &m) != 0) {
        return 0;
    }
    size_t len = message_encode(&m, head);
    MU_INVARIANT(len <= size - 1 && memcmp(head, data + 1, len) == 0);
    if (m.type == MESSAGE_FORWARD || m.type == MESSAGE_FORWARD_RESULT) {
        walk(&m);
    }
    if (m.type == MESSAGE_APPEND) {
        size_t bytes = 0;
        for (size_t i = 0; i < m.append.n; i++) {
            const struct slice *d = &m.append.entries[i].data;
            bytes += d->len;
            MU_INVARIANT(d->len == 0 || (d->p >= data && d->p + d->len <= data + size));
        }
        MU_INVARIANT(len + m.append.n * MESSAGE_ENTRY_HEAD + bytes == size - 1);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The client's stream of events: cut anywhere it reads the same, and no event in it does harm. */
#include "base/err.h"
#include "client/event.h"
#include "client/instance.h"
#include "client/mem.h"
#include "client/sse.h"

struct told {
    uint64_t digest;
    unsigned n;
};

static void look_at(const struct event *ev)
{
    char *content = NULL;
    size_t len = 0;
    MU_INVARIANT(ev->group != NULL && ev->name != NULL);
    if (ev->is_config) {
        if (event_content(ev, &content, &len) == MUSTER_OK) {
            MU_INVARIANT(content[len] == '\0');
        }
        cmem_free(content);
    } else if (!ev->is_delete) {
        struct inst *i = NULL;
        if (inst_parse(ev->instance, &i) == MUSTER_OK) {
            MU_INVARIANT(i->i.id != NULL && i->i.address != NULL && i->i.weight <= 10000);
        }
        inst_unref(i);
    }
}

static void look_at_data(const char *data, size_t len)
{
    struct event_doc *doc = NULL;
    struct inst_list *l = NULL;
    struct event ev;
    if (event_parse(data, len, &doc) == MUSTER_OK) {
        for (size_t i = 0; i < event_count(doc); i++) {
            if (event_at(doc, i, &ev)) {
                look_at(&ev);
            }
        }
        event_free(doc);
    }
    if (inst_list_parse(data, len, &l) == MUSTER_OK) {
        for (size_t k = 1; k < l->n; k++) {
            MU_INVARIANT(strcmp(l->v[k - 1]->i.cluster, l->v[k]->i.cluster) <= 0);
        }
        inst_list_unref(l);
    }
}

static int take(void *user, const struct sse_message *m)
{
    struct told *t = user;
    MU_INVARIANT(m->data[m->len] == '\0' && strlen(m->type) < SSE_TYPE_MAX);
    t->n++;
    t->digest = (t->digest ^ m->id ^ m->len << 32) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < m->len; i++) {
        t->digest = (t->digest ^ (unsigned char)m->data[i]) * UINT64_C(0x100000001b3);
    }
    return m->len % 251 == 250;
}

static int take_first(void *user, const struct sse_message *m)
{
    look_at_data(m->data, m->len);
    return take(user, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct told whole = {0}, pieces = {0};
    struct sse s;
    int rc = SSE_OK;
    sse_init(&s, take_first, &whole);
    int whole_rc = sse_feed(&s, data, len);
    sse_fini(&s);
    /* Pieces of a length that the input itself chooses. */
    size_t step = len > 0 ? 1 + data[0] % 7 : 1;
    sse_init(&s, take, &pieces);
    for (size_t at = 0; at < len && rc == SSE_OK; at += step) {
        rc = sse_feed(&s, data + at, len - at < step ? len - at : step);
    }
    sse_fini(&s);
    if (whole_rc == SSE_NO_MEMORY || rc == SSE_NO_MEMORY) {
        return 0;
    }
    MU_INVARIANT(rc == whole_rc && whole.n == pieces.n && whole.digest == pieces.digest);
    return 0;
}

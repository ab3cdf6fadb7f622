/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a registration: the instance as it is now.
 *
 * Health and output are not said by the registration, the store decides them. A node that has not
 * applied the write yet, as a follower may not, waits until it has: a gate behind the write. */
#include <stdio.h>
#include <string.h>

#include "server/api/api_impl.h"

struct registered {
    struct core_read gate;
    struct api_write *w;
};

/* The row as this very write left it; 0 when this node does not have it (yet, or any more). */
static int has_row(struct view *v, const struct api_write *w, struct instance_row *out)
{
    const struct cmd_instance_put *p = w->data;
    return view_instance(v, &p->name, out) == 0 && out->meta.mod_rev == w->cw.result.mod_rev;
}

static void answer(struct api_write *w, const struct instance_row *now)
{
    const struct command_result *res = &w->cw.result;
    const struct cmd_instance_put *p = w->data;
    struct buf *out = http_scratch(w->r);
    struct jw j;
    char etag[32];
    struct instance_row row = p->row;
    row.meta.create_rev = res->create_rev;
    row.meta.mod_rev = res->mod_rev;
    row.meta.version = res->version;
    row.meta.lease = res->lease;
    row.is_healthy = now != NULL     ? now->is_healthy
                     : p->set_health ? row.is_healthy
                                     : row.check.type == CHECK_NONE;
    row.output = now != NULL ? now->output : (struct slice){0};
    jw_init(&j, out);
    api_instance_json(&j, &p->name, &row);
    snprintf(etag, sizeof(etag), "\"%llu\"", (unsigned long long)res->mod_rev);
    http_add_header(w->r, "ETag", etag);
    http_respond(w->r, res->is_created ? 201 : 200, "application/json", buf_slice(out));
}

/* Also when the gate failed: the write was done, and that is what counts. */
static void gate_done(struct core_request *q)
{
    struct api_write *w = CONTAINER_OF(q, struct registered, gate.q)->w;
    struct view *v = view_open(core_store(w->api->core));
    struct instance_row now;
    answer(w, has_row(v, w, &now) ? &now : NULL);
    view_close(v);
}

void api_instance_written(struct api_write *w)
{
    struct view *v = view_open(core_store(w->api->core));
    struct instance_row now;
    int is_here = has_row(v, w, &now);
    if (is_here || w->cw.result.is_created) {
        answer(w, is_here ? &now : NULL); /* how a new one begins is known */
        view_close(v);
        return;
    }
    view_close(v);
    struct registered *g = http_alloc(w->r, sizeof(*g));
    memset(g, 0, sizeof(*g));
    g->w = w;
    g->gate.q.done = gate_done;
    g->gate.q.reply = worker_mailbox(http_worker(w->r));
    core_read_gate(w->api->core, &g->gate, READ_LINEAR, w->api->timeout_ms);
}

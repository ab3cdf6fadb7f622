/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that change several keys at once: instances that hang on one lease go in one revision,
 * when it is revoked. A list shows all of them or none. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/load.h"

enum { GROUP_SIZE = 3 };

struct group {
    char service[32], lease[24];
    uint64_t values[GROUP_SIZE];
};

static enum hist_out make_lease(struct client *c, const struct group *g)
{
    char body[64];
    struct write w = {.method = "POST", .path = "/api/v1/leases", .body = body, .is_safe = 1};
    struct hist_op o = {0};
    /* Long enough to end by nothing but its revocation. */
    snprintf(body, sizeof(body), "{\"ttl\":\"1h\",\"id\":\"%s\"}", g->lease);
    snprintf(w.headers, sizeof(w.headers), "Content-Type: application/json\r\n");
    load_write(c, &w, &o);
    return o.out;
}

static enum hist_out join(struct client *c, struct group *g, int i)
{
    char body[256], path[128], key[64];
    struct write w = {.method = "PUT", .path = path, .body = body, .is_safe = 1};
    snprintf(key, sizeof(key), "%s/i%d", g->service, i);
    snprintf(path, sizeof(path), "/api/v1/services/%s/instances/i%d", g->service, i);
    struct hist_op o = load_begin(c, HIST_WRITE, key);
    o.value = g->values[i] = load_unique(c);
    snprintf(body, sizeof(body),
             "{\"address\":\"10.1.2.3\",\"lease\":\"%s\",\"metadata\":{\"v\":\"%" PRIu64 "\"}}",
             g->lease, o.value);
    snprintf(w.headers, sizeof(w.headers), "Content-Type: application/json\r\n");
    load_write(c, &w, &o);
    load_record(c, &o);
    return o.out;
}

/* One read of all: how many there are, and each by itself. */
static void look_at_all(struct client *c, const struct group *g)
{
    char path[64], id[16];
    snprintf(path, sizeof(path), "/api/v1/services/%s", g->service);
    struct hist_op o = load_begin(c, HIST_GROUP, g->service);
    struct reply r = load_get(c, path, &o);
    if (o.out != HIST_OK) {
        return;
    }
    struct hist_op each = o;
    for (int i = 0; i < GROUP_SIZE; i++) {
        snprintf(id, sizeof(id), "\"id\":\"i%d\"", i);
        int is_there = strstr(r.body, id) != NULL;
        each.kind = HIST_READ;
        each.out = is_there ? HIST_OK : HIST_FAIL;
        each.value = is_there ? g->values[i] : 0;
        snprintf(each.key, sizeof(each.key), "%s/i%d", g->service, i);
        load_record(c, &each);
        o.value += (uint64_t)is_there;
    }
    o.want = GROUP_SIZE;
    load_record(c, &o);
}

/* One write to the server, one operation of each key; the revision stands at the first. */
static enum hist_out revoke(struct client *c, const struct group *g)
{
    char path[64];
    struct write w = {.method = "DELETE", .path = path, .is_safe = 1};
    snprintf(path, sizeof(path), "/api/v1/leases/%s", g->lease);
    struct hist_op o = load_begin(c, HIST_DELETE, "");
    load_write(c, &w, &o);
    for (int i = 0; i < GROUP_SIZE; i++) {
        snprintf(o.key, sizeof(o.key), "%s/i%d", g->service, i);
        load_record(c, &o);
        o.rev = 0;
    }
    return o.out;
}

static void one_group(struct client *c, uint64_t number)
{
    struct group g;
    snprintf(g.service, sizeof(g.service), "m%" PRIu32 "-%" PRIu64, c->process, number);
    snprintf(g.lease, sizeof(g.lease), "%" PRIx64, load_unique(c));
    if (make_lease(c, &g) != HIST_OK) {
        return;
    }
    for (int i = 0; i < GROUP_SIZE; i++) {
        if (join(c, &g, i) != HIST_OK) {
            return;
        }
    }
    uint64_t n_looks = load_random(c, 4);
    for (uint64_t i = 0; i < n_looks; i++) {
        look_at_all(c, &g);
    }
    enum hist_out out = revoke(c, &g);
    for (int i = 0; i < 5 && (out != HIST_OK || i == 0); i++) {
        look_at_all(c, &g);
        load_pause(c, (int)load_random(c, 40));
    }
}

void load_group(struct client *c)
{
    for (uint64_t n = 0; !atomic_load(&c->load->is_over); n++) {
        one_group(c, n);
        load_pause(c, (int)load_random(c, (uint64_t)c->load->pace_ms + 1));
    }
}

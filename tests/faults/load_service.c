/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of services: a registry of persistent instances, and instances that live as long as they
 * are kept alive. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/load.h"

#define SERV "/api/v1/services/"

/* The number in metadata.v behind p, 0 when there is none. */
static uint64_t number_in(const char *p)
{
    const char *at = strstr(p, "\"v\":\"");
    return at != NULL ? strtoull(at + 5, NULL, 10) : 0;
}

/* --- registry --- */

static void register_one(struct client *c, const char *key, const char *path)
{
    char body[256];
    struct write w = {.method = "PUT", .path = path, .body = body};
    struct hist_op o = load_begin(c, HIST_WRITE, key);
    o.value = load_unique(c);
    snprintf(body, sizeof(body),
             "{\"address\":\"10.1.2.3\",\"port\":80,\"metadata\":{\"v\":\"%" PRIu64 "\"}}",
             o.value);
    snprintf(w.headers, sizeof(w.headers), "Content-Type: application/json\r\n");
    w.is_safe = load_random(c, 2) == 0;
    load_write(c, &w, &o);
    load_record(c, &o);
}

/* A list is a read of each instance that it could hold, at one time. */
static void list_all(struct client *c, const char *service)
{
    char path[128], key[64], id[32];
    snprintf(path, sizeof(path), SERV "%s", service);
    struct hist_op o = load_begin(c, HIST_READ, "");
    struct reply r = load_get(c, path, &o);
    if (o.out != HIST_OK) {
        return;
    }
    for (int i = 0; i < LOAD_INSTANCES; i++) {
        snprintf(key, sizeof(key), "%s/i%d", service, i);
        snprintf(id, sizeof(id), "\"id\":\"i%d\"", i);
        memcpy(o.key, key, sizeof(o.key));
        const char *at = strstr(r.body, id);
        o.out = at != NULL ? HIST_OK : HIST_FAIL;
        o.value = at != NULL ? number_in(at) : 0;
        o.version = (uint64_t)r.is_stale;
        load_record(c, &o);
    }
}

void load_registry(struct client *c)
{
    while (!atomic_load(&c->load->is_over)) {
        char service[32], key[64], path[160];
        snprintf(service, sizeof(service), "s%" PRIu64 "-%" PRIu64, load_epoch(c->load),
                 load_random(c, LOAD_SERVICES));
        uint64_t id = load_random(c, LOAD_INSTANCES);
        snprintf(key, sizeof(key), "%s/i%" PRIu64, service, id);
        snprintf(path, sizeof(path), SERV "%s/instances/i%" PRIu64, service, id);
        uint64_t what = load_random(c, 10);
        if (what < 4) {
            register_one(c, key, path);
        } else if (what < 6) {
            struct write w = {.method = "DELETE", .path = path, .is_safe = (int)load_random(c, 2)};
            struct hist_op o = load_begin(c, HIST_DELETE, key);
            load_write(c, &w, &o);
            load_record(c, &o);
        } else if (what < 8) {
            list_all(c, service);
        } else {
            struct hist_op o = load_begin(c, HIST_READ, key);
            struct reply r = load_get(c, path, &o);
            o.value = o.out == HIST_OK ? number_in(r.body) : 0;
            o.version = (uint64_t)r.is_stale;
            load_record(c, &o);
        }
        load_pause(c, (int)load_random(c, (uint64_t)c->load->pace_ms + 1));
    }
}

/* --- lives --- */

struct life {
    char key[64], path[160];
    int64_t ttl_ms;
};

static enum hist_out grant(struct client *c, const struct life *l)
{
    char body[256];
    struct write w = {.method = "PUT", .path = l->path, .body = body, .is_safe = 1};
    struct hist_op o = load_begin(c, HIST_GRANT, l->key);
    o.ttl_ms = l->ttl_ms;
    o.value = load_unique(c);
    snprintf(body, sizeof(body),
             "{\"address\":\"10.1.2.3\",\"ttl\":\"%" PRId64
             "ms\",\"remove_after\":\"0s\",\"metadata\":{\"v\":\"%" PRIu64 "\"}}",
             l->ttl_ms, o.value);
    snprintf(w.headers, sizeof(w.headers), "Content-Type: application/json\r\n");
    load_write(c, &w, &o);
    load_record(c, &o);
    return o.out;
}

static enum hist_out keep_alive(struct client *c, const struct life *l)
{
    char path[192];
    struct write w = {.method = "POST", .path = path, .body = ""};
    snprintf(path, sizeof(path), "%s/keepalive", l->path);
    struct hist_op o = load_begin(c, HIST_KEEP, l->key);
    o.ttl_ms = l->ttl_ms;
    load_write(c, &w, &o);
    load_record(c, &o);
    return o.out;
}

static enum hist_out look(struct client *c, const struct life *l)
{
    struct hist_op o = load_begin(c, HIST_SEEN, l->key);
    struct reply r = load_get(c, l->path, &o);
    o.value = o.out == HIST_OK ? number_in(r.body) : 0;
    load_record(c, &o);
    return o.out;
}

/* One life: made, kept for a while, seen to be there, left alone, seen to go. */
static void live(struct client *c, uint64_t number)
{
    struct life l = {.ttl_ms = 1000 + (int64_t)load_random(c, 5) * 500};
    uint64_t n_keeps = load_random(c, 8);
    snprintf(l.key, sizeof(l.key), "t%d/c%" PRIu32 "-%" PRIu64, c->role % 2, c->process, number);
    snprintf(l.path, sizeof(l.path), SERV "t%d/instances/c%" PRIu32 "-%" PRIu64, c->role % 2,
             c->process, number);
    if (grant(c, &l) != HIST_OK) {
        load_pause(c, 100);
        return;
    }
    for (uint64_t i = 0; i < n_keeps; i++) {
        load_pause(c, (int)load_random(c, (uint64_t)l.ttl_ms * 2 / 5));
        if (load_random(c, 4) == 0 && look(c, &l) == HIST_FAIL) {
            return;
        }
        if (keep_alive(c, &l) == HIST_FAIL) {
            return;
        }
        if (atomic_load(&c->load->is_over)) {
            return;
        }
    }
    for (int i = 0; i < 200 && !atomic_load(&c->load->is_over); i++) {
        if (look(c, &l) == HIST_FAIL) {
            return;
        }
        load_pause(c, 100);
    }
}

void load_lease(struct client *c)
{
    for (uint64_t n = 0; !atomic_load(&c->load->is_over); n++) {
        live(c, n);
    }
}

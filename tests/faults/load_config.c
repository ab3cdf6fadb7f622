/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of configs: registers, lists to append to, locks with a fenced resource. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/faults/load.h"

#define CONF "/api/v1/configs/f/"
enum { LIST_MAX = 150, BODY_MAX = 9000 };

static void path_of(char *out, size_t cap, const char *key, const char *query)
{
    snprintf(out, cap, CONF "%s%s", key, query);
}

enum hist_out load_read(struct client *c, const char *key, const char *query, uint64_t *value,
                        uint64_t *rev)
{
    char path[128];
    int is_stale = strstr(query, "=stale") != NULL;
    path_of(path, sizeof(path), key, query);
    struct hist_op o = load_begin(c, is_stale ? HIST_STALE : HIST_READ, key);
    struct reply r = load_get(c, path, &o);
    o.value = o.out == HIST_OK ? strtoull(r.body, NULL, 10) : 0;
    o.version = (uint64_t)r.is_stale; /* of a read: the answer says that it may be stale */
    *value = o.value;
    *rev = o.out == HIST_OK ? r.etag : 0;
    load_record(c, &o);
    return o.out;
}

/* rule: "" for none, a header line else. Most values are small, some need several pages. */
static enum hist_out put(struct client *c, struct hist_op *o, const char *rule, uint64_t token)
{
    char path[128], body[BODY_MAX];
    struct write w = {.method = "PUT", .path = path, .body = body};
    path_of(path, sizeof(path), o->key, "");
    int pad = load_random(c, 12) == 0 ? (int)load_random(c, BODY_MAX - 80) : 1;
    snprintf(body, sizeof(body), "%" PRIu64 " %" PRIu64 "%*s.", o->value, token, pad, "");
    snprintf(w.headers, sizeof(w.headers), "%s", rule);
    w.is_safe = load_random(c, 2) == 0;
    load_write(c, &w, o);
    load_record(c, o);
    return o->out;
}

/* What the key must hold (0: it is not there), and its revision. */
struct held {
    uint64_t value, rev;
};

static enum hist_out swap(struct client *c, const char *key, struct held want, uint64_t value,
                          uint64_t token, uint64_t *out_rev)
{
    char rule[64];
    struct hist_op o = load_begin(c, HIST_CAS, key);
    o.value = value;
    o.want = want.value;
    o.again = token;
    if (want.value == 0) {
        snprintf(rule, sizeof(rule), "If-None-Match: *\r\n");
    } else {
        snprintf(rule, sizeof(rule), "If-Match: \"%" PRIu64 "\"\r\n", want.rev);
    }
    enum hist_out out = put(c, &o, rule, token);
    if (out_rev != NULL) {
        *out_rev = o.rev;
    }
    return out;
}

static void erase(struct client *c, const char *key, uint64_t want, uint64_t want_rev)
{
    char path[128];
    struct write w = {.method = "DELETE", .path = path};
    struct hist_op o = load_begin(c, HIST_DELETE, key);
    path_of(path, sizeof(path), key, "");
    o.want = want;
    if (want != 0) {
        snprintf(w.headers, sizeof(w.headers), "If-Match: \"%" PRIu64 "\"\r\n", want_rev);
    }
    w.is_safe = load_random(c, 2) == 0;
    load_write(c, &w, &o);
    load_record(c, &o);
}

void load_register(struct client *c)
{
    while (!atomic_load(&c->load->is_over)) {
        char key[32];
        uint64_t value = 0, rev = 0;
        uint64_t what = load_random(c, 100);
        snprintf(key, sizeof(key), "r%" PRIu64 "-%" PRIu64, load_epoch(c->load),
                 load_random(c, LOAD_KEYS));
        if (what < 35) {
            load_read(c, key, "", &value, &rev);
        } else if (what < 42) {
            load_read(c, key, "?consistency=stale", &value, &rev);
        } else if (what < 65) {
            struct hist_op o = load_begin(c, HIST_WRITE, key);
            o.value = load_unique(c);
            put(c, &o, "", 0);
        } else if (what < 73) {
            erase(c, key, 0, 0);
        } else if (load_read(c, key, "", &value, &rev) <= HIST_FAIL) {
            if (what < 78 && value != 0) {
                erase(c, key, value, rev);
            } else {
                swap(c, key, (struct held){value, rev}, load_unique(c), 0, NULL);
            }
        }
        load_pause(c, (int)load_random(c, (uint64_t)c->load->pace_ms + 1));
    }
}

/* --- lists --- */

static size_t parse_list(const char *body, uint64_t *out)
{
    size_t n = 0;
    for (char *end; n < LIST_MAX + 1; n++) {
        out[n] = strtoull(body, &end, 10);
        if (end == body) {
            break;
        }
        body = end;
    }
    return n;
}

static void append_to(struct client *c, const char *key, const struct reply *r)
{
    char text[BODY_MAX], path[128];
    struct write w = {.method = "PUT", .path = path, .body = text};
    struct hist_op o = load_begin(c, HIST_APPEND, key);
    path_of(path, sizeof(path), key, "");
    o.value = load_unique(c);
    snprintf(text, sizeof(text), "%s%" PRIu64 " ", r->status == 200 ? r->body : "", o.value);
    if (r->status == 200) {
        snprintf(w.headers, sizeof(w.headers), "If-Match: \"%" PRIu64 "\"\r\n", r->etag);
    } else {
        snprintf(w.headers, sizeof(w.headers), "If-None-Match: *\r\n");
    }
    w.is_safe = load_random(c, 2) == 0;
    load_write(c, &w, &o);
    load_record(c, &o);
}

/* Reads a list into values, which has room for LIST_MAX + 1. */
static struct reply read_list(struct client *c, const char *key, uint64_t *values,
                              struct hist_op *o)
{
    char path[128];
    path_of(path, sizeof(path), key, "");
    *o = load_begin(c, HIST_LIST, key);
    struct reply r = load_get(c, path, o);
    o->values = values;
    o->n_values = o->out == HIST_OK ? parse_list(r.body, values) : 0;
    o->version = (uint64_t)r.is_stale;
    load_record(c, o);
    return r;
}

void load_append(struct client *c)
{
    uint64_t number[LOAD_LISTS] = {0}, values[LIST_MAX + 1];
    while (!atomic_load(&c->load->is_over)) {
        char key[32];
        struct hist_op o;
        size_t which = (size_t)load_random(c, LOAD_LISTS);
        snprintf(key, sizeof(key), "a%zu-%" PRIu64, which, number[which]);
        struct reply r = read_list(c, key, values, &o);
        if (o.n_values >= LIST_MAX) {
            number[which]++;
        } else if (o.out <= HIST_FAIL && load_random(c, 3) != 0) {
            append_to(c, key, &r);
        }
        load_pause(c, (int)load_random(c, (uint64_t)c->load->pace_ms + 1));
    }
}

enum hist_out load_last_list(struct client *c, size_t which, uint64_t number)
{
    char key[32];
    uint64_t values[LIST_MAX + 1];
    struct hist_op o;
    snprintf(key, sizeof(key), "a%zu-%" PRIu64, which, number);
    for (int i = 0; i < 50; i++) {
        read_list(c, key, values, &o);
        if (o.out <= HIST_FAIL) {
            return o.out;
        }
        load_pause(c, 100);
    }
    return HIST_NONE;
}

/* --- locks: create-only, and a resource that takes no token older than the last --- */

enum { LOCK_HOLD_MAX_MS = 1500 };

/* Writes the token into what the lock guards, unless a younger one was there. */
static void guarded_write(struct client *c, const char *guard, uint64_t token)
{
    char path[128];
    uint64_t value, seen_token = 0;
    path_of(path, sizeof(path), guard, "");
    struct hist_op o = load_begin(c, HIST_READ, guard);
    struct reply r = load_get(c, path, &o);
    if (o.out == HIST_OK) {
        char *end;
        o.value = strtoull(r.body, &end, 10);
        seen_token = strtoull(end, NULL, 10);
    }
    value = o.value;
    uint64_t rev = r.etag;
    load_record(c, &o);
    if (o.out <= HIST_FAIL && seen_token <= token) {
        swap(c, guard, (struct held){value, rev}, load_unique(c), token, NULL);
    }
}

void load_lock(struct client *c)
{
    int64_t held_since[LOAD_LOCKS] = {0};
    uint64_t held_value[LOAD_LOCKS] = {0};
    while (!atomic_load(&c->load->is_over)) {
        char lock[32], guard[32];
        uint64_t value, rev, mine = load_unique(c);
        size_t which = (size_t)load_random(c, LOAD_LOCKS);
        snprintf(lock, sizeof(lock), "l%zu-%" PRIu64, which, load_epoch(c->load) / 2);
        snprintf(guard, sizeof(guard), "g%zu-%" PRIu64, which, load_epoch(c->load) / 2);
        enum hist_out out = swap(c, lock, (struct held){0, 0}, mine, 0, &rev);
        if (out == HIST_OK) {
            uint64_t hold = load_random(c, 10) == 0 ? 2 * LOCK_HOLD_MAX_MS : 30;
            load_pause(c,
                       (int)load_random(c, hold)); /* some are away for too long, and do not know */
            guarded_write(c, guard, rev);
            guarded_write(c, guard, rev);
            erase(c, lock, mine, rev);
        } else if (out == HIST_FAIL && load_read(c, lock, "", &value, &rev) == HIST_OK) {
            int64_t now = caller_now_ns();
            if (held_value[which] != value) {
                held_value[which] = value;
                held_since[which] = now;
            } else if (now - held_since[which] > LOCK_HOLD_MAX_MS * INT64_C(1000000)) {
                erase(c, lock, value, rev); /* its holder is taken for dead */
            }
        }
        load_pause(c, (int)load_random(c, 4 * (uint64_t)c->load->pace_ms + 1));
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that hold a config and wait until it differs: long-polls of one, and of several. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/load.h"

enum { WAIT_MAX_MS = 5000, KEYS_MAX = 3 };

struct held {
    char key[32];
    uint64_t value, rev;
};

static struct hist_op begin(struct client *c, const struct held *h)
{
    struct hist_op o = load_begin(c, HIST_WAIT, h->key);
    o.want = h->value;
    return o;
}

static void lost(struct client *c)
{
    load_switch(c);
    load_pause(c, 20);
}

static void wait_for_one(struct client *c, const struct held *h, int ms)
{
    char path[128], rule[64];
    snprintf(path, sizeof(path), "/api/v1/configs/f/%s?wait=%dms", h->key, ms);
    snprintf(rule, sizeof(rule), "If-None-Match: \"%" PRIu64 "\"\r\n", h->rev);
    struct hist_op o = begin(c, h);
    struct reply r = caller_call(c->caller, "GET", path, rule, NULL, ms + LOAD_TIMEOUT_MS);
    if (r.status != 200 && r.status != 304 && r.status != 404) {
        lost(c);
        return;
    }
    o.out = r.status == 304 ? HIST_FAIL : HIST_OK;
    o.value = r.status == 200 ? strtoull(r.body, NULL, 10) : 0;
    o.rev = r.rev;
    load_record(c, &o);
}

static void wait_for_all(struct client *c, const struct held *h, size_t n, int ms)
{
    char body[512], key[48];
    struct hist_op o[KEYS_MAX];
    int len = snprintf(body, sizeof(body), "{\"wait\":\"%dms\",\"configs\":[", ms);
    for (size_t i = 0; i < n; i++) {
        char etag[32] = "";
        if (h[i].rev != 0) {
            snprintf(etag, sizeof(etag), "\\\"%" PRIu64 "\\\"", h[i].rev);
        }
        len += snprintf(body + len, sizeof(body) - (size_t)len,
                        "%s{\"group\":\"f\",\"key\":\"%s\",\"etag\":\"%s\"}", i > 0 ? "," : "",
                        h[i].key, etag);
        o[i] = begin(c, &h[i]);
    }
    snprintf(body + len, sizeof(body) - (size_t)len, "]}");
    struct reply r = caller_call(c->caller, "POST", "/api/v1/configs:listen",
                                 "Content-Type: application/json\r\n", body, ms + LOAD_TIMEOUT_MS);
    if (r.status != 200) {
        lost(c);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(key, sizeof(key), "\"key\":\"%.31s\"", h[i].key);
        o[i].out = strstr(r.body, key) != NULL ? HIST_UNKNOWN : HIST_FAIL;
        o[i].rev = r.rev;
        load_record(c, &o[i]);
    }
}

void load_wait(struct client *c)
{
    while (!atomic_load(&c->load->is_over)) {
        struct held h[KEYS_MAX];
        size_t n = 0, wanted = 1 + (size_t)load_random(c, KEYS_MAX);
        uint64_t first = load_random(c, LOAD_KEYS);
        for (size_t i = 0; i < wanted; i++) {
            snprintf(h[n].key, sizeof(h[n].key), "r%" PRIu64 "-%" PRIu64, load_epoch(c->load),
                     (first + i) % LOAD_KEYS);
            n += load_read(c, h[n].key, "", &h[n].value, &h[n].rev) <= HIST_FAIL;
        }
        int ms = (int)load_random(c, WAIT_MAX_MS);
        if (n == 1 && load_random(c, 4) != 0) {
            wait_for_one(c, h, ms);
        } else if (n > 0) {
            wait_for_all(c, h, n, ms);
        }
        load_pause(c, (int)load_random(c, (uint64_t)c->load->pace_ms + 1));
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/client/fakestore.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

enum { CHANGES_MAX = 4096, LEASES_MAX = 64 };

struct change {
    char group[64], name[64], id[64]; /* id: of an instance */
    char *content;                    /* of a config; NULL: deleted */
    int port;
};

struct fakestore {
    struct stub *stub;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct change log[CHANGES_MAX]; /* [n] is revision n + 1 */
    uint64_t n;
    uint64_t compacted;
    int break_after;
    bool omits, is_down, is_over;
    int n_streams, n_beats, last_beat, n_put, n_delete;
    uint64_t next_lease, lost_below;
};

static void lock(struct fakestore *f)
{
    pthread_mutex_lock(&f->lock);
}

static void unlock(struct fakestore *f)
{
    pthread_mutex_unlock(&f->lock);
}

static uint64_t add(struct fakestore *f, struct change c)
{
    lock(f);
    f->log[f->n++] = c;
    uint64_t rev = f->n;
    pthread_cond_broadcast(&f->changed);
    unlock(f);
    return rev;
}

uint64_t fake_put(struct fakestore *f, const char *group, const char *key, const char *content)
{
    struct change c = {.content = content != NULL ? strdup(content) : NULL};
    snprintf(c.group, sizeof(c.group), "%s", group);
    snprintf(c.name, sizeof(c.name), "%s", key);
    return add(f, c);
}

uint64_t fake_instance(struct fakestore *f, const char *service, const char *id, int port)
{
    struct change c = {.group = "DEFAULT_GROUP", .port = port};
    snprintf(c.name, sizeof(c.name), "%s", service);
    snprintf(c.id, sizeof(c.id), "%s", id);
    return add(f, c);
}

static void set(struct fakestore *f, void (*how)(struct fakestore *f, uint64_t v), uint64_t v)
{
    lock(f);
    how(f, v);
    pthread_cond_broadcast(&f->changed);
    unlock(f);
}

static void set_break(struct fakestore *f, uint64_t v)
{
    f->break_after = (int)v;
}

static void set_omit(struct fakestore *f, uint64_t v)
{
    f->omits = v != 0;
}

static void set_compact(struct fakestore *f, uint64_t v)
{
    f->compacted = v;
}

static void set_down(struct fakestore *f, uint64_t v)
{
    f->is_down = v != 0;
}

static void set_lost(struct fakestore *f, uint64_t v)
{
    (void)v;
    f->lost_below = f->next_lease;
}

void fake_break_after(struct fakestore *f, int n)
{
    set(f, set_break, (uint64_t)n);
}

void fake_omit(struct fakestore *f, bool omits)
{
    set(f, set_omit, omits);
}

void fake_compact(struct fakestore *f, uint64_t revision)
{
    set(f, set_compact, revision);
}

void fake_down(struct fakestore *f, bool is_down)
{
    set(f, set_down, is_down);
}

void fake_lose_leases(struct fakestore *f)
{
    set(f, set_lost, 0);
}

static int get(struct fakestore *f, const int *what)
{
    lock(f);
    int v = *what;
    unlock(f);
    return v;
}

int fake_streams(struct fakestore *f)
{
    return get(f, &f->n_streams);
}

int fake_beats(struct fakestore *f, int *out_last_n)
{
    if (out_last_n != NULL) {
        *out_last_n = get(f, &f->last_beat);
    }
    return get(f, &f->n_beats);
}

int fake_registrations(struct fakestore *f)
{
    return get(f, &f->n_put);
}

int fake_deregistrations(struct fakestore *f)
{
    return get(f, &f->n_delete);
}

/* --- configs and services --- */

/* The last change of that name at or below `rev`; 0: none. Locked. */
static uint64_t find(struct fakestore *f, const char *name, uint64_t rev)
{
    for (uint64_t r = rev; r > 0; r--) {
        const struct change *c = &f->log[r - 1];
        char full[160];
        snprintf(full, sizeof(full), "%s/%s", c->group, c->name);
        if (c->id[0] == '\0' && strcmp(full, name) == 0) {
            return r;
        }
    }
    return 0;
}

static void get_config(struct fakestore *f, const struct stub_req *r, const char *name)
{
    char plain[128], extra[128];
    const char *at = strstr(r->target, "?revision=");
    snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(name, "?"), name);
    if (strstr(plain, "/slow") != NULL) {
        usleep(300 * 1000);
    }
    lock(f);
    uint64_t rev = find(f, plain, at != NULL ? strtoull(at + 10, NULL, 10) : f->n);
    bool is_there = rev != 0 && f->log[rev - 1].content != NULL;
    bool is_gone = at != NULL && rev <= f->compacted;
    char *body = strdup(is_there ? f->log[rev - 1].content : "{\"code\":\"NOT_FOUND\"}");
    snprintf(extra, sizeof(extra),
             "Muster-Revision: %llu\r\nETag: \"%llu\"\r\nMuster-Version: 1\r\n",
             (unsigned long long)f->n, (unsigned long long)rev);
    unlock(f);
    stub_answer(r, is_gone ? 410 : is_there ? 200 : 404, extra, body);
    free(body);
}

static void put_instance(char *out, size_t cap, const struct change *c, uint64_t rev)
{
    size_t at = strlen(out);
    snprintf(out + at, cap - at,
             "{\"group\":\"%s\",\"service\":\"%s\",\"cluster\":\"DEFAULT\",\"id\":\"%s\","
             "\"address\":\"127.0.0.1\",\"port\":%d,\"healthy\":true,\"revision\":%llu}",
             c->group, c->name, c->id, c->port, (unsigned long long)rev);
}

static void get_service(struct fakestore *f, const struct stub_req *r, const char *name)
{
    char plain[64], extra[64];
    char *body = calloc(1, 1 << 20);
    size_t n = 0;
    snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(name, "?"), name);
    strcpy(body, "{\"instances\":[");
    lock(f);
    for (uint64_t i = 0; i < f->n; i++) {
        const struct change *c = &f->log[i];
        bool is_last = c->id[0] != '\0' && strcmp(c->name, plain) == 0 && c->port != 0;
        for (uint64_t k = i + 1; k < f->n; k++) {
            is_last &= strcmp(f->log[k].id, c->id) != 0 || strcmp(f->log[k].name, c->name) != 0;
        }
        if (is_last) {
            strcat(body, n++ > 0 ? "," : "");
            put_instance(body, 1 << 20, c, i + 1);
        }
    }
    snprintf(extra, sizeof(extra), "Muster-Revision: %llu\r\n", (unsigned long long)f->n);
    unlock(f);
    strcat(body, "]}");
    stub_answer(r, 200, extra, body);
    free(body);
}

/* --- the stream --- */

/* Is the name in one of the patterns? They are "group%2Fname", whole. */
static bool is_wanted(const struct stub_req *r, const struct change *c)
{
    char want[160];
    snprintf(want, sizeof(want), "%s%%2F%s", c->group, c->name);
    const char *at = strstr(r->target, want);
    return at != NULL && strchr("&,", at[strlen(want)]) != NULL;
}

static void event_text(char *out, size_t cap, const struct change *c, uint64_t rev, bool omits)
{
    snprintf(out, cap, "id: %llu\nevent: change\ndata: {\"revision\":%llu,\"events\":[{",
             (unsigned long long)rev, (unsigned long long)rev);
    size_t at = strlen(out);
    bool is_delete = c->id[0] != '\0' ? c->port == 0 : c->content == NULL;
    at += (size_t)snprintf(out + at, cap - at, "\"type\":\"%s\",\"kind\":\"%s\",",
                           is_delete ? "delete" : "put", c->id[0] != '\0' ? "instance" : "config");
    if (c->id[0] == '\0') {
        at += (size_t)snprintf(out + at, cap - at,
                               "\"group\":\"%s\",\"key\":\"%s\",\"revision\":%llu", c->group,
                               c->name, (unsigned long long)rev);
        if (!is_delete && omits) {
            snprintf(out + at, cap - at, ",\"content_omitted\":true");
        } else if (!is_delete) {
            snprintf(out + at, cap - at, ",\"content\":\"%s\"", c->content);
        }
    } else if (is_delete) {
        snprintf(out + at, cap - at,
                 "\"group\":\"%s\",\"service\":\"%s\",\"cluster\":\"DEFAULT\",\"id\":\"%s\"",
                 c->group, c->name, c->id);
    } else {
        strcat(out, "\"instance\":");
        put_instance(out, cap, c, rev);
    }
    strcat(out, "}]}\n\n");
}

static void wait_a_little(struct fakestore *f)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 100 * 1000 * 1000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&f->changed, &f->lock, &t);
}

/* The next message for this stream into text; false: it is over. */
static bool next_message(struct fakestore *f, const struct stub_req *r, uint64_t *next, char *text)
{
    bool goes_on = true;
    text[0] = '\0';
    lock(f);
    if (*next > f->n && !f->is_over && !f->is_down) {
        wait_a_little(f);
    }
    if (f->is_over || f->is_down) {
        goes_on = false;
    } else if (*next <= f->compacted) {
        strcpy(text, "event: compacted\ndata: {}\n\n");
        goes_on = false;
    } else if (*next <= f->n) {
        const struct change *c = &f->log[*next - 1];
        if (is_wanted(r, c)) {
            event_text(text, 4096, c, *next, f->omits);
        }
        ++*next;
    }
    unlock(f);
    return goes_on;
}

static void watch(struct fakestore *f, const struct stub_req *r)
{
    const char *from = strstr(r->target, "&from=");
    char text[4096];
    lock(f);
    f->n_streams++;
    uint64_t next = from != NULL ? strtoull(from + 6, NULL, 10) : f->n + 1;
    bool is_gone = next <= f->compacted;
    int left = f->break_after;
    unlock(f);
    if (is_gone) {
        stub_answer(r, 410, "", "{\"code\":\"COMPACTED\"}");
        return;
    }
    stub_stream(r);
    snprintf(text, sizeof(text), "id: %llu\nevent: progress\ndata: {}\n\n",
             (unsigned long long)next - 1);
    bool ok = stub_text(r, text);
    while (ok && next_message(f, r, &next, text)) {
        if (text[0] != '\0') {
            /* The last one of a stream that breaks is cut in half. */
            ok = --left != 0;
            text[ok ? sizeof(text) - 1 : strlen(text) / 2] = '\0';
            ok = stub_text(r, text) && ok;
        } else {
            ok = stub_text(r, ":\n"); /* notice a peer that has gone */
        }
        text[0] = '\0';
    }
    if (text[0] != '\0') {
        stub_text(r, text);
    }
}

/* --- leases --- */

static void put_lease(struct fakestore *f, const struct stub_req *r)
{
    char body[64];
    lock(f);
    f->n_put++;
    snprintf(body, sizeof(body), "{\"lease\":\"%016llx\"}", (unsigned long long)++f->next_lease);
    unlock(f);
    stub_answer(r, 200, "Muster-Revision: 1\r\n", body);
}

static void keepalive(struct fakestore *f, const struct stub_req *r)
{
    char *body = calloc(1, 65536);
    int n = 0;
    strcpy(body, "{\"leases\":[");
    lock(f);
    const char *p = strchr(r->body, '[');
    while ((p = p != NULL ? strchr(p + 1, '"') : NULL) != NULL) {
        uint64_t id = strtoull(p + 1, NULL, 16);
        size_t at = strlen(body);
        snprintf(body + at, 65536 - at, "%s{\"id\":\"%016llx\",%s}", n++ > 0 ? "," : "",
                 (unsigned long long)id,
                 id <= f->lost_below ? "\"error\":\"NOT_FOUND\"" : "\"ttl\":\"1s\"");
        p = strchr(p + 1, '"');
    }
    f->n_beats++;
    f->last_beat = n;
    unlock(f);
    strcat(body, "]}");
    stub_answer(r, 200, "", body);
    free(body);
}

static void serve(void *user, const struct stub_req *r)
{
    struct fakestore *f = user;
    const char *path = r->target + strlen("/api/v1");
    lock(f);
    bool is_down = f->is_down;
    f->n_delete += strcmp(r->method, "DELETE") == 0;
    unlock(f);
    if (is_down) {
        return;
    }
    if (strncmp(path, "/configs/", 9) == 0) {
        get_config(f, r, path + 9);
    } else if (strcmp(r->method, "PUT") == 0) {
        put_lease(f, r);
    } else if (strcmp(r->method, "DELETE") == 0) {
        stub_answer(r, 204, "", "");
    } else if (strncmp(path, "/services/", 10) == 0) {
        get_service(f, r, path + 10);
    } else if (strncmp(path, "/watch?", 7) == 0) {
        watch(f, r);
    } else {
        keepalive(f, r);
    }
}

struct fakestore *fake_start(void)
{
    struct fakestore *f = calloc(1, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->stub = stub_start(serve, f);
    return f;
}

void fake_stop(struct fakestore *f)
{
    lock(f);
    f->is_over = true;
    pthread_cond_broadcast(&f->changed);
    unlock(f);
    stub_stop(f->stub);
    for (uint64_t i = 0; i < f->n; i++) {
        free(f->log[i].content);
    }
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

const char *fake_url(const struct fakestore *f)
{
    return stub_url(f->stub);
}

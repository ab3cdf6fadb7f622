/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tools/musterctl/fake_muster.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct muster {
    char endpoints[1024];
};

static const struct fake_answer *table;
static size_t table_n;
static struct buf requests;

void fake_answers(const struct fake_answer *answers, size_t n)
{
    table = answers;
    table_n = n;
    buf_fini(&requests);
    buf_init(&requests);
}

char *fake_requests(void)
{
    char *s = mem_slice_str(buf_slice(&requests));
    buf_clear(&requests);
    return s;
}

/* --- the library's functions --- */

void muster_options_init(struct muster_options *o)
{
    *o = (struct muster_options){.size = sizeof(*o)};
}

const char *muster_version(void)
{
    return "1.2.3";
}

const char *muster_status_text(muster_status status)
{
    (void)status;
    return "failed";
}

muster_status muster_open(const struct muster_options *o, struct muster **out,
                          struct muster_error *e)
{
    (void)e;
    *out = mem_zalloc(sizeof(**out));
    snprintf((*out)->endpoints, sizeof((*out)->endpoints), "%s", o->endpoints);
    return MUSTER_OK;
}

void muster_close(struct muster *m)
{
    mem_free(m);
}

muster_status muster_call(struct muster *m, const struct muster_request *q,
                          struct muster_answer **out, struct muster_error *e)
{
    struct muster_error none;
    e = e != NULL ? e : &none;
    buf_printf(&requests, "%s %s%s%.*s\n", q->method, q->path, q->body_len != 0 ? " " : "",
               (int)q->body_len, q->body_len != 0 ? (const char *)q->body : "");
    for (size_t i = 0; i < table_n; i++) {
        const struct fake_answer *a = &table[i];
        if ((a->endpoint != NULL && strcmp(a->endpoint, m->endpoints) != 0) ||
            strcmp(a->method, q->method) != 0 || strcmp(a->path, q->path) != 0) {
            continue;
        }
        if (a->status != MUSTER_OK) {
            *e = (struct muster_error){.status = a->status};
            snprintf(e->code, sizeof(e->code), "%s", a->code != NULL ? a->code : "");
            snprintf(e->text, sizeof(e->text), "%s", a->body);
            return a->status;
        }
        *out = mem_zalloc(sizeof(**out));
        **out = (struct muster_answer){.http_status = 200,
                                       .revision = a->revision,
                                       .etag = mem_strdup(a->etag != NULL ? a->etag : "1"),
                                       .content_type = mem_strdup("text/plain"),
                                       .body = mem_strdup(a->body),
                                       .body_len = strlen(a->body)};
        return MUSTER_OK;
    }
    *e = (struct muster_error){.status = MUSTER_UNREACHABLE, .text = "nobody answers"};
    return MUSTER_UNREACHABLE;
}

void muster_answer_free(struct muster_answer *a)
{
    if (a != NULL) {
        mem_free(a->etag);
        mem_free(a->content_type);
        mem_free(a->body);
        mem_free(a);
    }
}

/* One message: the body that the table has for the path "watch". */
muster_status muster_watch(struct muster *m, const char *query, uint64_t from_revision,
                           int (*fn)(void *user, const struct muster_event *event), void *user,
                           struct muster_error *e)
{
    (void)m;
    (void)e;
    buf_printf(&requests, "WATCH %s from %llu\n", query, (unsigned long long)from_revision);
    for (size_t i = 0; i < table_n; i++) {
        if (strcmp(table[i].path, "watch") == 0) {
            struct muster_event ev = {.type = "change",
                                      .revision = table[i].revision,
                                      .data = table[i].body,
                                      .len = strlen(table[i].body)};
            fn(user, &ev);
        }
    }
    return MUSTER_OK;
}

/* --- a command line --- */

int fake_run(char **out, const char *const *words)
{
    struct ctl c = {0};
    struct err e = {0};
    size_t size = 0;
    int argc = 0;
    while (words[argc] != NULL) {
        argc++;
    }
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    FILE *f = tmpfile();
    int rc = ctl_parse(argc, (char **)(uintptr_t)words, &c.p, &e);
    if (rc != 0) {
        fputs(e.text, f);
        rc = CTL_USAGE;
    } else if (c.p.what == CTL_HELP) {
        ctl_print_help(&c.p, f);
    } else if (c.p.what == CTL_MAN) {
        ctl_print_man(f);
    } else if (c.p.what == CTL_RUN) {
        const char *o = ctl_opt(&c.p, "output");
        ctl_out_init(&c.out, f,
                     strcmp(o, "json") == 0    ? CTL_JSON
                     : strcmp(o, "plain") == 0 ? CTL_PLAIN
                                               : CTL_TABLE,
                     1);
        FILE *null = freopen("/dev/null", "w", stderr);
        rc = c.p.command->run(&c);
        fflush(null);
        dup2(saved, STDERR_FILENO);
        ctl_close(&c);
    }
    close(saved);
    fflush(f);
    size = (size_t)ftell(f);
    *out = mem_zalloc(size + 1);
    rewind(f);
    size_t n = fread(*out, 1, size, f);
    (*out)[n] = '\0';
    fclose(f);
    ctl_parsed_fini(&c.p);
    return rc;
}

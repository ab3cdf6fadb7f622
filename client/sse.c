/* SPDX-License-Identifier: Apache-2.0 */
#include "client/sse.h"

#include <string.h>

#include "base/text.h"

enum { KEEP_MAX = 256 * 1024 }; /* memory kept from one message to the next */

void sse_init(struct sse *s, sse_fn fn, void *user)
{
    *s = (struct sse){.fn = fn, .user = user};
    cbuf_init(&s->line, SSE_MESSAGE_MAX);
    cbuf_init(&s->data, SSE_MESSAGE_MAX);
}

void sse_fini(struct sse *s)
{
    cbuf_fini(&s->line);
    cbuf_fini(&s->data);
}

static void forget_message(struct sse *s)
{
    if (s->data.cap > KEEP_MAX) {
        cbuf_fini(&s->data);
        cbuf_fini(&s->line);
    }
    cbuf_clear(&s->data);
    s->type[0] = '\0';
    s->id = 0;
    s->has_data = false;
}

void sse_reset(struct sse *s)
{
    cbuf_clear(&s->line);
    s->was_cr = false;
    forget_message(s);
}

static int dispatch(struct sse *s)
{
    int rc = SSE_OK;
    if (s->has_data) {
        struct sse_message m = {.type = s->type[0] != '\0' ? s->type : "message",
                                .id = s->id,
                                .data = s->data.p,
                                .len = s->data.len};
        rc = s->fn(s->user, &m) != 0 ? SSE_STOPPED : SSE_OK;
    }
    forget_message(s);
    return rc;
}

static int take_id(struct sse *s, struct slice value)
{
    uint64_t id = 0;
    if (text_u64(value, UINT64_MAX - 1, &id) != 0) {
        return SSE_BAD_ID;
    }
    s->id = id;
    return SSE_OK;
}

static int take_data(struct sse *s, struct slice value)
{
    if (s->has_data) {
        cbuf_append(&s->data, "\n", 1);
    }
    cbuf_append(&s->data, value.p, value.len);
    s->has_data = true;
    return s->data.no_memory ? SSE_NO_MEMORY : s->data.is_over ? SSE_TOO_LARGE : SSE_OK;
}

/* "name: value", "name:value", "name" or ":comment". */
static int take_line(struct sse *s)
{
    struct slice line = slice_of(s->line.p, s->line.len);
    if (line.len == 0) {
        return dispatch(s);
    }
    const uint8_t *colon = memchr(line.p, ':', line.len);
    struct slice name = colon != NULL ? slice_of(line.p, (size_t)(colon - line.p)) : line;
    struct slice value = slice_of(line.p + name.len, line.len - name.len);
    if (value.len > 0) {
        value = slice_of(value.p + 1, value.len - 1);
    }
    if (value.len > 0 && value.p[0] == ' ') {
        value = slice_of(value.p + 1, value.len - 1);
    }
    if (slice_eq(name, SLICE_LIT("data"))) {
        return take_data(s, value);
    }
    if (slice_eq(name, SLICE_LIT("id"))) {
        return take_id(s, value);
    }
    if (slice_eq(name, SLICE_LIT("event")) && value.len < sizeof(s->type)) {
        memcpy(s->type, value.p, value.len);
        s->type[value.len] = '\0';
    }
    return SSE_OK;
}

static const char *line_end(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    const char *cr = memchr(p, '\r', (size_t)((lf != NULL ? lf : end) - p));
    return cr != NULL ? cr : lf;
}

int sse_feed(struct sse *s, const void *bytes, size_t len)
{
    const char *p = bytes;
    const char *end = p + len;
    while (p < end) {
        if (s->was_cr && *p == '\n') {
            s->was_cr = false;
            p++;
            continue;
        }
        s->was_cr = false;
        const char *stop = line_end(p, end);
        cbuf_append(&s->line, p, (size_t)((stop != NULL ? stop : end) - p));
        if (cbuf_failed(&s->line)) {
            return s->line.no_memory ? SSE_NO_MEMORY : SSE_TOO_LARGE;
        }
        if (stop == NULL) {
            return SSE_OK;
        }
        s->was_cr = *stop == '\r';
        p = stop + 1;
        int rc = take_line(s);
        cbuf_clear(&s->line); /* also when the message was forgotten with its memory */
        if (rc != SSE_OK) {
            return rc;
        }
    }
    return SSE_OK;
}

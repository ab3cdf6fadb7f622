/* SPDX-License-Identifier: Apache-2.0 */
/* Head guard, parser and connection: the same bytes give the same answers however they are cut, and
 * nothing is held beyond its limit. The first byte of the input chooses the cuts. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/unit/server/http/sans_io.h"

static void echo(struct http_req *r, void *arg)
{
    (void)arg;
    struct buf *b = http_scratch(r);
    struct slice body = http_body(r);
    MU_INVARIANT(body.len <= http_route_of(r)->body_max);
    buf_printf(b, "<%d %.*s [%.*s]>", (int)http_method(r), SLICE_FMT(http_path(r)),
               SLICE_FMT(body));
    http_respond(r, 200, "text/plain", buf_slice(b));
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/x", echo, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_POST, "/x", echo, PERM_NONE_REQUIRED, 20),
    HTTP_ROUTE(HTTP_M_PUT, "/p/{p}", echo, PERM_NONE_REQUIRED, 1000),
};

static const struct http_server_options options;

/* Everything that came out, and whether the connection ended. Cuts follow from `seed`; 0 = none. */
static char *run(struct slice in, unsigned seed, int *out_closed)
{
    struct sans_io s;
    sans_io_init(&s, &options, routes, N_ELEMENTS(routes));
    s.limits.head_bytes = 1024;
    while (in.len > 0) {
        size_t n = in.len;
        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            n = 1 + (seed >> 16) % 23;
            n = n < in.len ? n : in.len;
        }
        sans_io_input(&s, slice_of(in.p, n));
        in = slice_of(in.p + n, in.len - n);
    }
    MU_INVARIANT(http_local_owed(s.local) == 0);
    *out_closed = s.n_closed;
    char *out = mem_strdup(sans_io_take(&s));
    http_conn_eof(s.conn);
    sans_io_turn(&s);
    sans_io_fini(&s);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1) {
        return 0;
    }
    struct slice in = slice_of(data + 1, len - 1);
    int whole_closed = 0;
    int cut_closed = 0;
    char *whole = run(in, 0, &whole_closed);
    char *cut = run(in, data[0] + 1u, &cut_closed);
    if (strcmp(whole, cut) != 0 || whole_closed != cut_closed) {
        (void)fprintf(stderr, "cuts matter:\n--- whole (%d)\n%s\n--- cut (%d)\n%s\n", whole_closed,
                      whole, cut_closed, cut);
        abort();
    }
    mem_free(whole);
    mem_free(cut);
    return 0;
}

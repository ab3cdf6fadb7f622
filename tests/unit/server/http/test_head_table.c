/* SPDX-License-Identifier: Apache-2.0 */
/* What is a request and what is not: a table of heads and bodies, each fed whole, in two parts at
 * every place, and byte by byte. Every way must give the same answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sans_io.h"

/* Answers with what it understood: method, decoded parameter, body. */
static void echo(struct http_req *r, void *arg)
{
    (void)arg;
    struct buf *b = http_scratch(r);
    const struct http_route *row = http_route_of(r);
    buf_printf(b, "<%d %.*s", (int)http_method(r), SLICE_FMT(http_path(r)));
    if (strchr(row->pattern, '{') != NULL) {
        buf_printf(b, " p=%.*s", SLICE_FMT(http_param(r, "p")));
    }
    struct slice q;
    if (http_query(r, "q", &q)) {
        buf_printf(b, " q=%.*s", SLICE_FMT(q));
    }
    if (http_header(r, "x", &q)) {
        buf_printf(b, " x=%.*s", SLICE_FMT(q));
    }
    buf_printf(b, " [%.*s]>", SLICE_FMT(http_body(r)));
    http_respond(r, 200, "text/plain", buf_slice(b));
}

static const struct http_route routes[] = {
    HTTP_ROUTE(HTTP_M_GET, "/x", echo, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_POST, "/x", echo, PERM_NONE_REQUIRED, 20),
    HTTP_ROUTE(HTTP_M_GET, "/p/{p}", echo, PERM_NONE_REQUIRED, 0),
    HTTP_ROUTE(HTTP_M_GET, "/", echo, PERM_NONE_REQUIRED, 0),
};

struct row {
    const char *name;
    const char *input;
    size_t len;            /* 0 = strlen(input) */
    const char *want;      /* statuses in order, then "close" when the connection was closed */
    const char *in_answer; /* must be part of the output; NULL = whatever */
};

#define H       "Host: a\r\n"
#define CHUNKED "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
#define BIN(s)  s, sizeof(s) - 1

/* clang-format off */
static const struct row rows[] = {
    /* accepted */
    {"plain GET", "GET /x HTTP/1.1\r\n" H "\r\n", 0, "200", "<1 /x []>"},
    {"three pipelined", "GET /x HTTP/1.1\r\n" H "\r\nPOST /x HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n" H "\r\n", 0, "200 200 200", "[ab]>"},
    {"one empty line first", "\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "200", NULL},
    {"HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", 0, "200 close", "Connection: close\r\n"},
    {"HTTP/1.0 keep-alive", "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, "200", "Connection: keep-alive\r\n"},
    {"1.1 with close", "GET /x HTTP/1.1\r\n" H "Connection: close\r\n\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "200 close", "Connection: close\r\n"},
    {"header names in any case", "GET /x HTTP/1.1\r\nhOST: a\r\nX:  v \t\r\n\r\n", 0, "200", "x=v ["},
    {"empty header value", "GET /x HTTP/1.1\r\n" H "X:\r\nY: 1\r\n\r\n", 0, "200", "x= ["},
    {"no blank after colon", "GET /x HTTP/1.1\r\nHost:a\r\nX:v\r\n\r\n", 0, "200", "x=v"},
    {"high bytes in a value", "GET /x HTTP/1.1\r\n" H "X: \xc3\xa9\r\n\r\n", 0, "200", "x=\xc3\xa9"},
    {"Host with port", "GET /x HTTP/1.1\r\nHost: [::1]:8500\r\n\r\n", 0, "200", NULL},
    {"empty Host", "GET /x HTTP/1.1\r\nHost:\r\n\r\n", 0, "200", NULL},
    {"HEAD by GET's row", "HEAD /x HTTP/1.1\r\n" H "\r\n", 0, "200", "Content-Length: 10\r\n"},
    {"Content-Length 0", "POST /x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, "200", "[]>"},
    {"GET with Content-Length 0", "GET /x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0, "200", "[]>"},
    {"POST without length", "POST /x HTTP/1.1\r\n" H "\r\n", 0, "200", "[]>"},
    {"body by length", "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", 0, "200", "[hello]>"},
    {"chunked", CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 0, "200", "[abcde]>"},
    {"chunked in upper case", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n", 0, "200", "[a]>"},
    {"chunked empty", CHUNKED "0\r\n\r\n", 0, "200", "[]>"},
    {"chunked then pipelined", CHUNKED "1\r\na\r\n0\r\n\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "200 200", "<1 /x []>"},
    {"chunk size with hex and leading zeros", CHUNKED "00A\r\n0123456789\r\n0\r\n\r\n", 0, "200", "[0123456789]>"},
    {"chunk extension", CHUNKED "1;a=b\r\nz\r\n0\r\n\r\n", 0, "200", "[z]>"},
    {"trailers are thrown away", CHUNKED "1\r\na\r\n0\r\nX: evil\r\n\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "200 200", "<4 /x [a]>"},
    {"Expect 100-continue", "POST /x HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nok", 0, "100 200", "[ok]>"},
    {"Expect without a body", "POST /x HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n", 0, "200", NULL},
    {"Expect from 1.0 is ignored", "POST /x HTTP/1.0\r\nExpect: magic\r\nContent-Length: 2\r\n\r\nok", 0, "200 close", "[ok]>"},
    {"upgrade offer is not taken", "GET /x HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "200 200", NULL},
    {"upgrade offer with a body", "POST /x HTTP/1.1\r\n" H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", 0, "200", "[hi]>"},
    {"path and query decoded once", "GET /p/a%2Fb%2525?q=1%2B1+2 HTTP/1.1\r\n" H "\r\n", 0, "200", "p=a/b%25 q=1+1 2"},
    {"OPTIONS", "OPTIONS /x HTTP/1.1\r\n" H "\r\n", 0, "204", "Allow: GET, HEAD, POST, OPTIONS\r\n"},
    {"small body of an unknown path is read over", "POST /y HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET /x HTTP/1.1\r\n" H "\r\n", 0, "404 200", NULL},
    {"chunked body of an unknown path is read over", "POST /y HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "404 200", NULL},

    /* no route */
    {"unknown path", "GET /y HTTP/1.1\r\n" H "\r\n", 0, "404", "\"code\":\"NOT_FOUND\""},
    {"known path, other method", "DELETE /x HTTP/1.1\r\n" H "\r\n", 0, "405", "Allow: GET, HEAD, POST, OPTIONS\r\n"},
    {"method without a name here", "PROPFIND /x HTTP/1.1\r\n" H "\r\n", 0, "405", NULL},

    /* request line */
    {"no version", "GET /x\r\n" H "\r\n", 0, "400 close", NULL},
    {"no version, nothing else", "GET /x\r\n\r\n", 0, "400 close", NULL},
    {"HTTP/0.9 by name", "GET /x HTTP/0.9\r\n" H "\r\n", 0, "505 close", NULL},
    {"HTTP/1.2", "GET /x HTTP/1.2\r\n" H "\r\n", 0, "505 close", NULL},
    {"HTTP/2.0", "GET /x HTTP/2.0\r\n" H "\r\n", 0, "505 close", NULL},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, "505 close", NULL},
    {"HTTP/11.1", "GET /x HTTP/11.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"http/1.1 in lower case", "GET /x http/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"two spaces", "GET  /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"two spaces before the version", "GET /x  HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"space behind the version", "GET /x HTTP/1.1 \r\n" H "\r\n", 0, "400 close", NULL},
    {"tab as a space", "GET\t/x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"space before the method", " GET /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"method in lower case", "get /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"unknown method", "FROB /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"CONNECT", "CONNECT a:80 HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"CONNECT with a path", "CONNECT /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"absolute form", "GET http://a/x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"asterisk form", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"target without slash", "GET x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"byte 0x80 in the target", "GET /\x80 HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"fragment", "GET /x#y HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"NUL in the target", BIN("GET /x\0 HTTP/1.1\r\n" H "\r\n"), "400 close", NULL},
    {"two empty lines first", "\r\n\r\nGET /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"TLS hello", BIN("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "400 close", "not TLS"},

    /* line ends and header lines */
    {"bare LF everywhere", "GET /x HTTP/1.1\nHost: a\n\n", 0, "400 close", NULL},
    {"bare LF behind the request line", "GET /x HTTP/1.1\n" H "\r\n", 0, "400 close", NULL},
    {"bare LF behind a header", "GET /x HTTP/1.1\r\nHost: a\n\r\n", 0, "400 close", NULL},
    {"bare LF at the end of the head", "GET /x HTTP/1.1\r\n" H "\n", 0, "400 close", NULL},
    {"bare CR in a value", "GET /x HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 0, "400 close", NULL},
    {"smuggling by CR in a value", "POST /x HTTP/1.1\r\n" H "X:\rxTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"head ended by CRLF CR X", "GET /x HTTP/1.1\r\n" H "\r\rGET /x HTTP/1.1\r\n" H "\r\n", 0, "400 close", NULL},
    {"NUL in a value", BIN("GET /x HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), "400 close", NULL},
    {"control byte in a value", "GET /x HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", 0, "400 close", NULL},
    {"DEL in a value", "GET /x HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n", 0, "400 close", NULL},
    {"folded line", "GET /x HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 0, "400 close", NULL},
    {"folded line by tab", "GET /x HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n", 0, "400 close", NULL},
    {"folded Transfer-Encoding", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"space before the first header", "GET /x HTTP/1.1\r\n Host: a\r\n\r\n", 0, "400 close", NULL},
    {"space before the colon", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"space in a name", "GET /x HTTP/1.1\r\n" H "X Y: 1\r\n\r\n", 0, "400 close", NULL},
    {"empty name", "GET /x HTTP/1.1\r\n" H ": 1\r\n\r\n", 0, "400 close", NULL},
    {"no colon", "GET /x HTTP/1.1\r\n" H "X\r\n\r\n", 0, "400 close", NULL},
    {"byte 0xff in a name", "GET /x HTTP/1.1\r\n" H "X\xff: 1\r\n\r\n", 0, "400 close", NULL},
    {"no Host", "GET /x HTTP/1.1\r\n\r\n", 0, "400 close", NULL},
    {"two Hosts", "GET /x HTTP/1.1\r\n" H H "\r\n", 0, "400 close", NULL},
    {"two Hosts in 1.0", "GET /x HTTP/1.0\r\n" H H "\r\n", 0, "400 close", NULL},
    {"Host with a slash", "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, "400 close", NULL},
    {"Host with two words", "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n", 0, "400 close", NULL},
    {"Host with an at sign", "GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n", 0, "400 close", NULL},

    /* length of the body */
    {"both lengths", "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"both lengths, other order", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"two Content-Lengths", "POST /x HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 0, "400 close", NULL},
    {"two equal Content-Lengths", "POST /x HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 0, "400 close", NULL},
    {"Content-Length list", "POST /x HTTP/1.1\r\n" H "Content-Length: 2,2\r\n\r\nab", 0, "400 close", NULL},
    {"Content-Length +2", "POST /x HTTP/1.1\r\n" H "Content-Length: +2\r\n\r\nab", 0, "400 close", NULL},
    {"Content-Length -2", "POST /x HTTP/1.1\r\n" H "Content-Length: -2\r\n\r\nab", 0, "400 close", NULL},
    {"Content-Length 0x2", "POST /x HTTP/1.1\r\n" H "Content-Length: 0x2\r\n\r\nab", 0, "400 close", NULL},
    {"Content-Length with a blank inside", "POST /x HTTP/1.1\r\n" H "Content-Length: 1 2\r\n\r\nab", 0, "400 close", NULL},
    {"empty Content-Length", "POST /x HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 0, "400 close", NULL},
    {"Content-Length overflow", "POST /x HTTP/1.1\r\n" H "Content-Length: 18446744073709551618\r\n\r\nab", 0, "400 close", NULL},
    {"huge Content-Length", "POST /x HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\nab", 0, "413 close", NULL},
    {"NUL in Content-Length", BIN("POST /x HTTP/1.1\r\n" H "Content-Length: 2\0\r\n\r\nab"), "400 close", NULL},
    {"gzip, chunked", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, "501 close", NULL},
    {"chunked, gzip", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 0, "501 close", NULL},
    {"gzip", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", 0, "501 close", NULL},
    {"identity", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 0, "501 close", NULL},
    {"xchunked", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0, "501 close", NULL},
    {"chunked twice", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "501 close", NULL},
    {"empty Transfer-Encoding", "POST /x HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 0, "501 close", NULL},
    {"1.0 with chunked", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"unknown expectation", "POST /x HTTP/1.1\r\n" H "Expect: magic\r\nContent-Length: 2\r\n\r\nok", 0, "417 close", NULL},
    {"Expect and too large", "POST /x HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 21\r\n\r\n", 0, "413 close", NULL},
    {"too large but small enough to read over", "POST /x HTTP/1.1\r\n" H "Content-Length: 21\r\n\r\n012345678901234567890GET /x HTTP/1.1\r\n" H "\r\n", 0, "413 200", NULL},
    {"body where none is taken", "GET /x HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\na", 0, "413", NULL},
    {"chunked body where none is taken", "GET /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 0, "413 close", NULL},

    /* chunks */
    {"chunk size with a blank behind", CHUNKED "1 \r\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"chunk size with a blank before", CHUNKED " 1\r\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"chunk size in 0x form", CHUNKED "0x1\r\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"chunk size with a sign", CHUNKED "+1\r\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"empty chunk size", CHUNKED "\r\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"chunk size that wraps", CHUNKED "10000000000000001\r\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"chunk over the limit", CHUNKED "ffffffff\r\n", 0, "413 close", NULL},
    {"chunks over the limit", CHUNKED "14\r\n01234567890123456789\r\n1\r\na\r\n0\r\n\r\n", 0, "413 close", NULL},
    {"chunks at the limit", CHUNKED "14\r\n01234567890123456789\r\n0\r\n\r\n", 0, "200", "[01234567890123456789]"},
    {"data not followed by CRLF", CHUNKED "1\r\nab\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"missing CRLF behind data", CHUNKED "1\r\na0\r\n\r\n", 0, "400 close", NULL},
    {"bare LF behind the chunk size", CHUNKED "1\na\r\n0\r\n\r\n", 0, "400 close", NULL},
    {"bare LF behind data", CHUNKED "1\r\na\n0\r\n\r\n", 0, "400 close", NULL},
    {"bare LF in the trailer", CHUNKED "0\r\n\n", 0, "400 close", NULL},
    {"folded trailer", CHUNKED "0\r\nX: a\r\n b\r\n\r\n", 0, "400 close", NULL},
    {"trailer that starts folded", CHUNKED "0\r\n X: a\r\n\r\n", 0, "400 close", NULL},
    {"empty trailer name", CHUNKED "0\r\n: a\r\n\r\n", 0, "400 close", NULL},
    {"control byte in a trailer", CHUNKED "0\r\nX: \x01\r\n\r\n", 0, "400 close", NULL},

    /* path */
    {"NUL by escape", "GET /p/a%00 HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"bad escape", "GET /p/a%2 HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"dot segment", "GET /p/. HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"dot-dot segment", "GET /p/../x HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"dot-dot by escape", "GET /p/%2e%2E/x HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"empty segment", "GET //x HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"empty last segment", "GET /x/ HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"overlong UTF-8", "GET /p/%c0%af HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"not UTF-8 in the query", "GET /x?q=%ff HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
    {"bad escape in the query", "GET /x?q=%zz HTTP/1.1\r\n" H "\r\n", 0, "400", NULL},
};
/* clang-format on */

static const struct http_server_options options;

/* "200 404 close" */
static void summary(const struct sans_io *s, const char *out, char *to, size_t cap)
{
    size_t n = 0;
    to[0] = '\0';
    for (const char *at = strstr(out, "HTTP/1.1 "); at != NULL; at = strstr(at + 1, "HTTP/1.1 ")) {
        n += (size_t)snprintf(to + n, cap - n, "%s%.3s", n > 0 ? " " : "", at + 9);
    }
    if (s->n_closed > 0) {
        (void)snprintf(to + n, cap - n, "%sclose", n > 0 ? " " : "");
    }
}

/* Feed `row` cut at `at` (0: whole; -1: every byte alone); out and summary are the caller's to
 * free. */
static char *run_row(const struct row *row, int at, char *sum, size_t cap)
{
    struct sans_io s;
    size_t len = row->len != 0 ? row->len : strlen(row->input);
    sans_io_init(&s, &options, routes, N_ELEMENTS(routes));
    if (at < 0) {
        for (size_t i = 0; i < len; i++) {
            sans_io_input(&s, slice_of(row->input + i, 1));
        }
    } else {
        sans_io_input(&s, slice_of(row->input, (size_t)at));
        sans_io_input(&s, slice_of(row->input + at, len - (size_t)at));
    }
    char *out = mem_strdup(sans_io_take(&s));
    summary(&s, out, sum, cap);
    assert_int_equal(http_local_owed(s.local), 0);
    sans_io_fini(&s);
    return out;
}

/* 1 when this cut gives what the whole gave. */
static int check_cut(const struct row *row, int at, const char *whole, const char *whole_sum)
{
    char sum[128];
    char *out = run_row(row, at, sum, sizeof(sum));
    int is_same = strcmp(out, whole) == 0 && strcmp(sum, whole_sum) == 0;
    if (!is_same) {
        print_error("%s: cut at %d gives \"%s\", whole \"%s\"\n", row->name, at, sum, whole_sum);
    }
    mem_free(out);
    return is_same;
}

static int check_row(const struct row *row)
{
    char sum[128];
    char *out = run_row(row, 0, sum, sizeof(sum));
    int is_good = strcmp(sum, row->want) == 0 &&
                  (row->in_answer == NULL || strstr(out, row->in_answer) != NULL);
    if (!is_good) {
        print_error("%s: got \"%s\", want \"%s\": %s\n", row->name, sum, row->want, out);
    }
    size_t len = row->len != 0 ? row->len : strlen(row->input);
    for (int at = 1; at < (int)len && is_good; at++) {
        is_good = check_cut(row, at, out, sum);
    }
    is_good = is_good && check_cut(row, -1, out, sum);
    mem_free(out);
    return is_good;
}

static void every_cut_gives_the_same(void **state)
{
    (void)state;
    size_t n_bad = 0;
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        n_bad += !check_row(&rows[i]);
    }
    assert_int_equal(n_bad, 0);
    assert_true(N_ELEMENTS(rows) >= 57);
}

/* Sizes: 16 KiB of head, 8 KiB of request line, 100 headers; the first limit on the way decides. */
static void limits_of_the_head(void **state)
{
    (void)state;
    static const struct {
        size_t target, value, n_headers;
        const char *want;
    } cases[] = {
        {8192 - 14, 0, 1, "404"}, {8192 - 13, 0, 1, "414 close"}, {20000, 0, 1, "414 close"},
        {1, 16000, 1, "200"},     {1, 16384, 1, "431 close"},     {1, 30000, 1, "431 close"},
        {1, 0, 99, "200"},        {1, 0, 100, "431 close"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct buf b;
        buf_init(&b);
        buf_append_str(&b, "GET /");
        for (size_t k = 0; k < cases[i].target; k++) {
            buf_append_byte(&b, 'x');
        }
        buf_append_str(&b, " HTTP/1.1\r\n" H);
        for (size_t k = 0; k < cases[i].n_headers; k++) {
            buf_append_str(&b, "Y: ");
            for (size_t v = 0; v < cases[i].value; v++) {
                buf_append_byte(&b, 'v');
            }
            buf_append_str(&b, "\r\n");
        }
        buf_append_str(&b, "\r\n");
        struct row row = {.name = "size", .input = (const char *)b.p, .len = b.len};
        char sum[128];
        char *out = run_row(&row, 0, sum, sizeof(sum));
        assert_string_equal(sum, cases[i].want);
        for (int at = 1; at < (int)b.len; at += 997) {
            assert_true(check_cut(&row, at, out, sum));
        }
        assert_true(check_cut(&row, -1, out, sum));
        mem_free(out);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same),
        cmocka_unit_test(limits_of_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

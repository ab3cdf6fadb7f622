/* SPDX-License-Identifier: Apache-2.0 */
/* Contents of configs: in files, in JSON, on their way to the cluster. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_write.h"
#include "base/mem.h"
#include "base/text.h"
#include "tools/musterctl/config.h"

enum { FILE_MAX = 64 * 1024 * 1024, BLOCK = 65536 };

/* --- publishing --- */

void ctl_publish_words(const struct ctl *c, struct ctl_publish *p)
{
    p->comment = ctl_opt(&c->p, "comment");
    p->author = ctl_opt(&c->p, "author");
    if (p->author == NULL) {
        p->author = getenv("USER");
    }
}

static void param(struct buf *path, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0') {
        ctl_path_param(path, name, value);
    }
}

int ctl_publish(struct ctl *c, const struct ctl_publish *p, struct muster_answer **out)
{
    struct buf path;
    char rev[24];
    buf_init(&path);
    buf_append_str(&path, "/configs");
    ctl_path_segment(&path, p->group);
    ctl_path_segment(&path, p->key);
    param(&path, "comment", p->comment);
    param(&path, "author", p->author);
    param(&path, "description", p->description);
    param(&path, "tags", p->tags);
    snprintf(rev, sizeof(rev), "%llu", (unsigned long long)p->if_revision);
    buf_append_byte(&path, '\0');
    struct muster_request q = {.method = "PUT",
                               .path = (const char *)path.p,
                               .body = p->content.len != 0 ? p->content.p : (const uint8_t *)"",
                               .body_len = p->content.len,
                               .content_type =
                                   p->content_type != NULL ? p->content_type : "text/plain",
                               .if_match = p->if_revision != 0 ? rev : NULL,
                               .if_none_match = p->is_create_only ? "*" : NULL};
    int rc = ctl_call(c, &q, "", out);
    buf_fini(&path);
    return rc;
}

const char *ctl_content_type_of(const char *file)
{
    static const char *const types[][2] = {{".json", "application/json"},
                                           {".yaml", "application/yaml"},
                                           {".yml", "application/yaml"},
                                           {".toml", "application/toml"},
                                           {".xml", "application/xml"},
                                           {".html", "text/html"},
                                           {".properties", "text/x-java-properties"}};
    size_t len = strlen(file);
    for (size_t i = 0; i < N_ELEMENTS(types); i++) {
        size_t n = strlen(types[i][0]);
        if (len > n && strcmp(file + len - n, types[i][0]) == 0) {
            return types[i][1];
        }
    }
    return NULL;
}

/* --- in JSON --- */

void ctl_json_set_content(struct json_t *obj, struct slice content)
{
    if (text_is_utf8(content) && (content.len == 0 || memchr(content.p, 0, content.len) == NULL)) {
        json_object_set_new(
            obj, "content",
            json_stringn(content.len != 0 ? (const char *)content.p : "", content.len));
        return;
    }
    struct buf b;
    struct jw w;
    buf_init(&b);
    jw_init(&w, &b);
    jw_base64(&w, content);
    /* With its quotes: base64 needs no escapes. */
    json_object_set_new(obj, "content_base64", json_stringn((const char *)b.p + 1, b.len - 2));
    buf_fini(&b);
}

static int sextet(unsigned char c)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != 0 ? strchr(set, c) : NULL;
    return at != NULL ? (int)(at - set) : -1;
}

static int base64_decode(struct slice s, struct buf *out)
{
    if (s.len % 4 != 0) {
        return -1;
    }
    for (size_t i = 0; i < s.len; i += 4) {
        size_t n_pad = i + 4 < s.len ? 0 : s.p[i + 2] == '=' ? 2 : s.p[i + 3] == '=' ? 1 : 0;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int v = k >= 4 - n_pad ? (s.p[i + k] == '=' ? 0 : -1) : sextet(s.p[i + k]);
            if (v < 0) {
                return -1;
            }
            bits = bits << 6 | (uint32_t)v;
        }
        const uint8_t bytes[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        buf_append(out, bytes, 3 - n_pad);
    }
    return 0;
}

int ctl_json_get_content(const struct json_t *obj, struct buf *out)
{
    const json_t *text = json_object_get(obj, "content");
    const json_t *coded = json_object_get(obj, "content_base64");
    if (json_is_string(text)) {
        buf_append(out, json_string_value(text), json_string_length(text));
        return 0;
    }
    return json_is_string(coded)
               ? base64_decode(slice_of(json_string_value(coded), json_string_length(coded)), out)
               : -1;
}

/* --- in files --- */

int ctl_read_file(const char *path, struct buf *out)
{
    int is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int errnum = fd < 0 ? errno : 0;
    while (errnum == 0) {
        ssize_t n = read(fd, buf_reserve(out, BLOCK), BLOCK);
        if (n < 0 && errno == EINTR && !ctl_is_interrupted()) {
            continue;
        }
        if (n <= 0) {
            errnum = n < 0 ? errno : 0;
            break;
        }
        out->len += (size_t)n;
        errnum = out->len > FILE_MAX ? EFBIG : 0;
    }
    if (!is_stdin && fd >= 0) {
        close(fd);
    }
    return errnum == 0 ? CTL_OK
                       : ctl_say(CTL_FAILED, "reading %s: %s", is_stdin ? "standard input" : path,
                                 strerror(errnum));
}

static int write_all(int fd, struct slice s)
{
    while (s.len != 0) {
        ssize_t n = write(fd, s.p, s.len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        n = n < 0 ? 0 : n;
        s = slice_of(s.p + n, s.len - (size_t)n);
    }
    return 0;
}

int ctl_write_file(const char *path, struct slice content, unsigned mode)
{
    char part[4096];
    int n = snprintf(part, sizeof(part), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(part)) {
        return ctl_say(CTL_FAILED, "writing %.200s...: the path is too long", path);
    }
    int fd = mkostemp(part, O_CLOEXEC);
    if (fd < 0) {
        return ctl_say(CTL_FAILED, "writing %s: %s", path, strerror(errno));
    }
    int is_written = write_all(fd, content) == 0 && fchmod(fd, (mode_t)mode) == 0;
    int errnum = errno;
    if (close(fd) != 0 && is_written) {
        is_written = 0;
        errnum = errno;
    }
    if (is_written && rename(part, path) != 0) {
        is_written = 0;
        errnum = errno;
    }
    if (!is_written) {
        unlink(part);
        return ctl_say(CTL_FAILED, "writing %s: %s", path, strerror(errnum));
    }
    return CTL_OK;
}

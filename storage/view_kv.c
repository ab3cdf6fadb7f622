/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/view_kv.h"

#include "storage/view_impl.h"

int view_user(struct view *v, struct slice key, mu_rev rev, struct user_row *out)
{
    struct slice row;
    struct buf k;
    buf_init(&k);
    key_user(&k, key);
    int rc = view_row(v, buf_slice(&k), rev, &row);
    buf_fini(&k);
    return rc != 0 ? rc : view_stored(user_row_decode(row, out));
}

int view_session(struct view *v, struct slice id, struct session_row *out)
{
    struct slice row;
    struct buf k;
    buf_init(&k);
    key_session(&k, id);
    int rc = view_row(v, buf_slice(&k), 0, &row);
    buf_fini(&k);
    return rc != 0 ? rc : view_stored(session_row_decode(row, out));
}

int view_record(struct view *v, struct slice kind, struct slice name, struct record_row *out)
{
    struct slice row;
    struct buf k;
    buf_init(&k);
    key_record(&k, kind, name);
    int rc = view_row(v, buf_slice(&k), 0, &row);
    buf_fini(&k);
    return rc != 0 ? rc : view_stored(record_row_decode(row, out));
}

/* --- many --- */

struct scan {
    union {
        view_user_fn user;
        view_session_fn session;
        view_record_fn record;
    } fn;
    void *arg;
};

static int scan_from(struct view *v, struct buf *prefix, struct buf *start, view_row_fn fn,
                     struct scan *s)
{
    int rc = view_rows(v, buf_slice(prefix), buf_slice(start), fn, s);
    buf_fini(prefix);
    if (start != prefix) {
        buf_fini(start);
    }
    return rc;
}

static int on_user(void *arg, struct slice key, struct slice row)
{
    struct scan *s = arg;
    struct user_row r;
    int rc = view_stored(user_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.user(s->arg, slice_of(key.p + 1, key.len - 1), &r);
}

int view_users_from(struct view *v, struct slice prefix, struct slice start, view_user_fn fn,
                    void *arg)
{
    struct scan s = {.fn.user = fn, .arg = arg};
    struct buf p, from;
    buf_init(&p);
    buf_init(&from);
    key_user(&p, prefix);
    key_user(&from, slice_cmp(start, prefix) < 0 ? prefix : start);
    return scan_from(v, &p, &from, on_user, &s);
}

int view_users(struct view *v, struct slice prefix, view_user_fn fn, void *arg)
{
    return view_users_from(v, prefix, prefix, fn, arg);
}

static int on_session(void *arg, struct slice key, struct slice row)
{
    struct scan *s = arg;
    struct session_row r;
    int rc = view_stored(session_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.session(s->arg, slice_of(key.p + 1, key.len - 1), &r);
}

int view_sessions(struct view *v, view_session_fn fn, void *arg)
{
    struct scan s = {.fn.session = fn, .arg = arg};
    struct buf p;
    buf_init(&p);
    key_session(&p, slice_of(NULL, 0));
    return scan_from(v, &p, &p, on_session, &s);
}

static int on_record(void *arg, struct slice key, struct slice row)
{
    struct scan *s = arg;
    struct record_row r;
    struct slice kind, name;
    int rc = key_parse_record(key, &kind, &name);
    rc = view_stored(rc != 0 ? rc : record_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.record(s->arg, name, &r);
}

int view_records(struct view *v, struct slice kind, view_record_fn fn, void *arg)
{
    struct scan s = {.fn.record = fn, .arg = arg};
    struct buf p;
    buf_init(&p);
    key_record_prefix(&p, kind);
    return scan_from(v, &p, &p, on_record, &s);
}

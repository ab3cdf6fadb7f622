/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/view_catalog.h"

#include <string.h>

#include "storage/view_impl.h"

/* The newest rows under a prefix, for a callback that knows their kind. */
struct catalog_scan {
    union {
        view_node_fn node;
        view_place_fn place;
        view_check_fn check;
        view_service_fn service;
    } fn;
    void *arg;
};

static int scan_rows(struct view *v, struct buf *prefix, view_row_fn fn, struct catalog_scan *s)
{
    int rc = view_rows(v, buf_slice(prefix), slice_of(NULL, 0), fn, s);
    buf_fini(prefix);
    return rc;
}

/* ---- nodes ---- */

int view_node(struct view *v, struct slice name, struct node_row *out)
{
    struct buf key;
    struct slice row;
    buf_init(&key);
    key_node(&key, name);
    int rc = view_row(v, buf_slice(&key), 0, &row);
    buf_fini(&key);
    return rc != 0 ? rc : view_stored(node_row_decode(row, out));
}

static int on_node(void *arg, struct slice key, struct slice row)
{
    struct catalog_scan *s = arg;
    struct slice name;
    struct node_row r;
    int rc = key_parse_node(key, &name);
    rc = view_stored(rc != 0 ? rc : node_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.node(s->arg, name, &r);
}

int view_nodes(struct view *v, view_node_fn fn, void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    buf_append_byte(&prefix, SPACE_NODE);
    return scan_rows(v, &prefix, on_node, &(struct catalog_scan){.fn.node = fn, .arg = arg});
}

/* ---- places ---- */

int view_place(struct view *v, struct slice node, struct slice service_id, struct place_row *out)
{
    struct buf key;
    struct slice row;
    buf_init(&key);
    key_place(&key, node, service_id);
    int rc = view_row(v, buf_slice(&key), 0, &row);
    buf_fini(&key);
    return rc != 0 ? rc : view_stored(place_row_decode(row, out));
}

static int on_place(void *arg, struct slice key, struct slice row)
{
    struct catalog_scan *s = arg;
    struct slice node, service_id;
    struct place_row r;
    int rc = key_parse_place(key, &node, &service_id);
    rc = view_stored(rc != 0 ? rc : place_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.place(s->arg, node, service_id, &r);
}

int view_places(struct view *v, struct slice node, view_place_fn fn, void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_place_prefix(&prefix, node);
    return scan_rows(v, &prefix, on_place, &(struct catalog_scan){.fn.place = fn, .arg = arg});
}

/* ---- checks ---- */

static int on_check(void *arg, struct slice key, struct slice row)
{
    struct catalog_scan *s = arg;
    struct check_name n;
    struct check_row r;
    int rc = key_parse_check(key, &n);
    rc = view_stored(rc != 0 ? rc : check_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.check(s->arg, &n, &r);
}

int view_checks(struct view *v, struct slice node, view_check_fn fn, void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_check_prefix(&prefix, node);
    return scan_rows(v, &prefix, on_check, &(struct catalog_scan){.fn.check = fn, .arg = arg});
}

int view_checks_of(struct view *v, struct slice node, struct slice service_id, view_check_fn fn,
                   void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_check_prefix_of(&prefix, node, service_id);
    return scan_rows(v, &prefix, on_check, &(struct catalog_scan){.fn.check = fn, .arg = arg});
}

int view_check(struct view *v, struct slice node, struct slice id, struct slice *out_service_id,
               struct check_row *out)
{
    struct buf key;
    struct slice row;
    int rc = view_link(v, LINK_CHECK, node, id, out_service_id);
    if (rc != 0) {
        return rc;
    }
    buf_init(&key);
    key_check(&key, &(struct check_name){node, *out_service_id, id});
    rc = view_row(v, buf_slice(&key), 0, &row);
    buf_fini(&key);
    return rc != 0 ? rc : view_stored(check_row_decode(row, out));
}

/* ---- the cluster's agent ---- */

int view_agent_service(struct view *v, struct slice service_id, struct slice *out_node)
{
    return view_link(v, LINK_AGENT_SERVICE, service_id, slice_of(NULL, 0), out_node);
}

int view_agent_check(struct view *v, struct slice check_id, struct slice *out_node,
                     struct slice *out_service_id)
{
    struct slice at;
    int rc = view_link(v, LINK_AGENT_CHECK, check_id, slice_of(NULL, 0), &at);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *zero = memchr(at.p, 0, at.len);
    if (zero == NULL) {
        return MU_E_CORRUPT;
    }
    size_t n = (size_t)(zero - at.p);
    *out_node = slice_of(at.p, n);
    *out_service_id = slice_of(zero + 1, at.len - n - 1);
    return 0;
}

/* ---- services ---- */

static int on_service(void *arg, struct slice key, struct slice row)
{
    struct catalog_scan *s = arg;
    struct service_name n;
    struct service_row r;
    int rc = key_parse_service(key, &n);
    rc = view_stored(rc != 0 ? rc : service_row_decode(row, &r));
    return rc != 0 ? rc : s->fn.service(s->arg, &n, &r);
}

int view_services_all(struct view *v, struct slice ns, struct slice group, view_service_fn fn,
                      void *arg)
{
    struct buf prefix;
    buf_init(&prefix);
    key_service_prefix(&prefix, ns, group, slice_of(NULL, 0));
    return scan_rows(v, &prefix, on_service, &(struct catalog_scan){.fn.service = fn, .arg = arg});
}

struct last_service {
    struct slice key;
    struct service_row *out;
};

static int on_last(void *arg, struct slice key, struct slice row)
{
    struct last_service *l = arg;
    if (!slice_eq(key, l->key)) {
        return MU_E_NOT_FOUND; /* the key itself comes before those it begins */
    }
    int rc = view_stored(service_row_decode(row, l->out));
    return rc != 0 ? rc : 1;
}

int view_service_last(struct view *v, const struct service_name *n, struct service_row *out)
{
    struct buf key;
    buf_init(&key);
    key_service(&key, n);
    struct last_service l = {buf_slice(&key), out};
    int rc = view_rows(v, l.key, slice_of(NULL, 0), on_last, &l);
    buf_fini(&key);
    return rc == 1 ? 0 : rc == 0 ? MU_E_NOT_FOUND : rc;
}

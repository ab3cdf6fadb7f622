/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/view_catalog.h"

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

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: a view is one consistent state of the store, held by one thread for one request, never
 * across client I/O.
 *
 * Every slice got from a view is borrowed until view_close (from the mapped file; rows over a page,
 * which are stored in pieces, from memory of the view). What a callback is given is borrowed until
 * it returns. Any thread; a view belongs to one. A thread may have several views open; it must not
 * apply or load a snapshot meanwhile. */
#pragma once

#include "storage/store.h"

struct view;

struct view *view_open(struct store *s);
void view_close(struct view *v);
mu_rev view_revision(const struct view *v);
mu_index view_applied(const struct view *v);
/* At or below this revision, versions and changes of that space (SPACE_CONFIG, SPACE_INSTANCE) may
 * be gone. What is kept is still read exactly; what is not is MU_E_COMPACTED. */
mu_rev view_compacted(const struct view *v, uint8_t space);

/* rev 0 = newest. 0, NOT_FOUND (also when deleted at that revision), COMPACTED, FUTURE_REVISION. */
int view_config(struct view *v, const struct config_name *n, mu_rev rev, struct config_row *out);
/* The same without the content of a large row: content.p is NULL then and content.len right. For
 * whoever needs only what is beside it. */
int view_config_head(struct view *v, const struct config_name *n, mu_rev rev,
                     struct config_row *out);
int view_service(struct view *v, const struct service_name *n, struct service_row *out);
int view_instance(struct view *v, const struct instance_name *n, struct instance_row *out);

/* Scans in key order; fn returns 0 to go on, anything else stops and is returned. Configs come as
 * from view_config_head, also in a history. */
typedef int (*view_config_fn)(void *arg, const struct config_name *n, const struct config_row *row);
typedef int (*view_service_fn)(void *arg, const struct service_name *n,
                               const struct service_row *row);
typedef int (*view_instance_fn)(void *arg, const struct instance_name *n,
                                const struct instance_row *row);
int view_configs(struct view *v, struct slice ns, struct slice group, struct slice key_prefix,
                 view_config_fn fn, void *arg);
int view_services(struct view *v, struct slice ns, struct slice group, struct slice name_prefix,
                  view_service_fn fn, void *arg);
int view_instances(struct view *v, const struct service_name *n, view_instance_fn fn, void *arg);
int view_all_instances(struct view *v, view_instance_fn fn, void *arg);
/* Versions of one config, newest first (tombstones too), starting below `before` (0 = newest). */
int view_config_history(struct view *v, const struct config_name *n, mu_rev before,
                        view_config_fn fn, void *arg);

/* Changes in (rev, sub) order from revision `from`: fn gets the logical key and the stored row
 * (rows.h decodes it by the key's space), of the spaces in `spaces` (a string of space bytes) only.
 * Stops after `max_changes`, always at the end of a revision; *out_next is the revision to go on
 * with (head + 1 when all was read). COMPACTED when `from` is at or below the compacted revision of
 * one of the spaces. */
typedef int (*view_change_fn)(void *arg, mu_rev rev, uint32_t sub, struct slice key,
                              struct slice row, int is_delete);
int view_changes(struct view *v, const char *spaces, mu_rev from, size_t max_changes,
                 view_change_fn fn, void *arg, mu_rev *out_next);

int view_lease(struct view *v, mu_lease_id id, struct lease_row *out);
int view_leases(struct view *v, store_lease_fn fn, void *arg);
/* Logical keys that hang on a lease. */
typedef int (*view_key_fn)(void *arg, struct slice key);
int view_lease_keys(struct view *v, mu_lease_id id, view_key_fn fn, void *arg);

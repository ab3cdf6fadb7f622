/* SPDX-License-Identifier: Apache-2.0 */
/* What the storage tests share: a store in a folder of its own, commands with few words, a seeded
 * random. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "storage/view.h"

#define LIT(s) slice_str(s)

struct kit {
    char dir[256];
    struct store_options options;
    struct store *store;
    mu_index index; /* of the last entry */
    int64_t now;    /* stamped into commands */
    struct buf bytes;
    struct change_set changes; /* of the last apply */
    int was_reset;
};

/* A fresh folder and an open store. kit_fini closes and removes all. */
void kit_init(struct kit *k);
void kit_fini(struct kit *k);
void kit_open(struct kit *k);
void kit_close(struct kit *k, int is_clean);
void kit_make_dir(char out[256]);
void kit_remove_dir(const char *dir);

/* Apply one command and give its result. */
struct command_result kit_apply(struct kit *k, struct command *c);
struct command_result kit_put(struct kit *k, const char *key, const char *content);
struct command_result kit_put_cas(struct kit *k, const char *key, const char *content,
                                  enum cas_mode cas, mu_rev expect);
struct command_result kit_delete(struct kit *k, const char *key);
/* Instances of service `svc` in public / DEFAULT_GROUP / DEFAULT. */
struct command kit_instance(const char *svc, const char *id);
struct command_result kit_register(struct kit *k, const char *svc, const char *id);
struct command_result kit_register_ttl(struct kit *k, const char *svc, const char *id,
                                       int64_t ttl_ms, int64_t remove_after_ms);
struct command_result kit_register_lease(struct kit *k, const char *svc, const char *id,
                                         mu_lease_id lease);
struct command_result kit_deregister(struct kit *k, const char *svc, const char *id);
struct command_result kit_health(struct kit *k, const char *svc, const char *id, mu_rev create_rev,
                                 int is_healthy, const char *output);
struct command_result kit_grant(struct kit *k, mu_lease_id id, int64_t ttl_ms);
struct command_result kit_revoke(struct kit *k, mu_lease_id id);
struct command_result kit_step(struct kit *k, enum command_type type, mu_lease_id id,
                               uint64_t generation, int64_t remaining_ms);
/* Runs a whole compaction; returns the number of commands it took. */
unsigned kit_compact(struct kit *k, uint8_t space, int64_t before_ms, uint32_t keep);

struct config_name kit_config_name(const char *key);
struct service_name kit_service_name(const char *svc);
struct instance_name kit_instance_name(const char *svc, const char *id);
/* 0 or the view's error. Content is compared when `content` is not NULL. */
int kit_read(struct kit *k, const char *key, mu_rev rev, const char *content);
/* 1 with the row's flat fields when it is there. */
int kit_find_instance(struct kit *k, const char *svc, const char *id, struct instance_row *out);
int kit_find_service(struct kit *k, const char *svc, struct service_row *out);
int kit_find_lease(struct kit *k, mu_lease_id id, struct lease_row *out);

/* The whole store is consistent in itself: rows and their events, chains, service counts, leases
 * and what hangs on them. */
void kit_check(struct kit *k);

/* xorshift; never 0. */
uint64_t kit_random(uint64_t *state);
uint64_t kit_below(uint64_t *state, uint64_t n);

/* Some command, the same for the same seed: few names, so that commands meet. Borrows from `text`.
 */
struct kit_text {
    char key[16], service[16], id[16], content[16384];
    struct lease_step steps[12];
};
void kit_random_command(uint64_t *seed, struct kit_text *text, struct command *c);
/* Every table of two stores holds the same. */
void kit_expect_equal(struct store *x, struct store *y);
/* Every table but DB_META, where the hash of the commands stands. */
void kit_expect_equal_rows(struct store *x, struct store *y);

/* Compare with tests/golden/storage/<name>.hex; MUSTER_GOLDEN_WRITE=1 writes what is missing, never
 * what is there. */
void kit_golden(const char *name, struct slice bytes);

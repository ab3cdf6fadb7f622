/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes with real sockets on one loop, and strangers that speak to them byte by byte. */
#pragma once

#include <uv.h>

#include "raft/transport.h"
#include "raft/transport_hello.h"
#include "tests/unit/unit.h"

struct kit_node {
    struct transport *t;
    mu_node_id id;
    char name[16];
    char address[32];
    uint8_t cluster[16];
    int is_strict; /* allows nobody */
    int is_up[10]; /* by id of the peer */
    unsigned n_ups, n_downs;
    uint64_t n_received, sum_received, last_received, n_out_of_order;
    uint8_t last_type;
    size_t last_len;
    /* Called for each frame, after counting. */
    void (*hook)(struct kit_node *n, mu_node_id from, uint8_t type, struct slice body);
    void *hook_arg;
    int is_closed;
};

#define kit_test(test) cmocka_unit_test_setup(test, kit_start)
int kit_start(void **state); /* a new loop */
uv_loop_t *kit_loop(void);
void kit_fini(void); /* all nodes are closed; nothing may be left in the loop */

/* A node on a port of the kernel's choice. */
void kit_open(struct kit_node *n, mu_node_id id, const char *name, const struct tls_config *tls);
/* The same on the address it had before. */
void kit_reopen(struct kit_node *n, const struct tls_config *tls);
void kit_close(struct kit_node *n);
void kit_closed(void *arg); /* callback of transport_close: sets n->is_closed */
/* n dials those that are given, up to NULL. */
void kit_peers(struct kit_node *n, ...) __attribute__((sentinel));

/* Run the loop until cond is true, or fail after ms. */
#define kit_until(ms, cond)                                                          \
    do {                                                                             \
        int64_t kit_end_ = kit_now() + (ms);                                         \
        while (!(cond)) {                                                            \
            if (kit_now() > kit_end_) {                                              \
                fail_msg("%s:%d: not within %d ms: " #cond, __FILE__, __LINE__, ms); \
            }                                                                        \
            kit_turn();                                                              \
        }                                                                            \
    } while (0)
int64_t kit_now(void);
void kit_turn(void); /* one turn of the loop, at most 5 ms */
void kit_run(int ms);

/* Frames carry a counter, so that order and loss are seen. */
int kit_send(struct kit_node *from, mu_node_id to, uint64_t counter, size_t len);

/* A socket that talks to a node, connected. */
int kit_raw(const struct kit_node *to);
void kit_raw_send(int fd, const void *p, size_t len);
/* Run until the node closes it (1) or ms are over (0); what came is appended to `got` (NULL:
 * dropped). */
int kit_raw_ended(int fd, int ms, struct buf *got);
/* A listener of ours that takes one connection, reads the hello and answers "welcome" as node `id`.
 */
int kit_raw_listen(char *out_address, size_t cap);
int kit_raw_welcome(int listener, mu_node_id id);
int kit_raw_answer_bytes(int listener, struct slice bytes);
int kit_raw_answer(int listener, const struct peer_ack *a);
/* A proper hello of `from` to `to`; change it as you like before sending. */
struct peer_hello kit_hello(mu_node_id from, const char *name, const struct kit_node *to);

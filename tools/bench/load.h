/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator: N clients, each with one request outstanding, over epoll in one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum load_server { LOAD_MUSTER, LOAD_CONSUL, LOAD_ETCD };
enum load_op {
    LOAD_PUT,
    LOAD_GET, /* linearizable */
    LOAD_REGISTER,
    LOAD_KEEPALIVE,
    LOAD_GET_DEFAULT, /* these of Consul's API alone */
    LOAD_GET_STALE,
    LOAD_AGENT,
    LOAD_REGISTER_CHECK,
    LOAD_OPS
};

enum {
    LOAD_PORTS_MAX = 8,
    LOAD_KEYS = 100000,
    LOAD_AGENT_IDS = 100, /* services of the agent, described anew again and again */
    LOAD_BATCH = 64       /* leases in one keep-alive request of muster */
};

struct load {
    enum load_server server;
    enum load_op op;
    int ports[LOAD_PORTS_MAX];
    int n_ports;
    int clients;
    double seconds, warm_up;
    size_t value_bytes;
    /* results */
    int is_measuring, is_stopping;
    uint64_t n_ok, n_err;
    uint32_t *latency; /* units of 100 ns */
    size_t n_latency, cap_latency;
    uint64_t started_at, ended_at;
    double cpu; /* of this program, while measuring */
    uint64_t seed, serial;
    int epoll;
};

uint64_t load_now(void); /* ns */
uint64_t load_random(struct load *l);
/* One operation ended. weight: how many operations it stands for (a batch). */
void load_record(struct load *l, uint64_t started_at, int is_ok, unsigned weight);
int load_connect(int port); /* non-blocking, no delay; exits on failure */
_Noreturn void load_die(const char *what);
void load_run_http(struct load *l);
void load_run_etcd(struct load *l);
/* n long-polls on one key, one write, time to the last answer; printed as JSON. */
void load_fan_out(struct load *l, int n, int port_write);
/* n parked long-polls for some seconds. */
void load_park(struct load *l, int n);
/* epoll loop: on_event for each ready descriptor until the time is over. */
void load_loop(struct load *l, void (*on_event)(struct load *l, void *conn, uint32_t events));

/* SPDX-License-Identifier: Apache-2.0 */
/* mload: load from one thread; prints one JSON line; everything is bounded in count and time.
 *
 *   --server muster|consul|etcd --op
 * put|get|register|keepalive|get-default|get-stale|agent|register-check --ports P,... --clients N
 *   --server muster|consul --fan-out N --ports P,...      one write, N waiters
 *   --server muster --park N --ports P,... --seconds S    N waiters, nothing happens */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/load.h"

uint64_t load_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t load_random(struct load *l)
{
    l->seed ^= l->seed << 13;
    l->seed ^= l->seed >> 7;
    l->seed ^= l->seed << 17;
    return l->seed;
}

_Noreturn void load_die(const char *what)
{
    fprintf(stderr, "mload: %s%s%s\n", what, errno != 0 ? ": " : "",
            errno != 0 ? strerror(errno) : "");
    exit(1);
}

void load_record(struct load *l, uint64_t started_at, int is_ok, unsigned weight)
{
    uint64_t units = (load_now() - started_at) / 100;
    if (!l->is_measuring) {
        return;
    }
    if (!is_ok) {
        l->n_err += weight;
        return;
    }
    l->n_ok += weight;
    if (l->n_latency == l->cap_latency) {
        l->cap_latency = l->cap_latency != 0 ? l->cap_latency * 2 : 1 << 18;
        l->latency = realloc(l->latency, l->cap_latency * sizeof(*l->latency));
        if (l->latency == NULL) {
            load_die("out of memory");
        }
    }
    l->latency[l->n_latency++] = units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
}

int load_connect(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        load_die("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static double cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

void load_loop(struct load *l, void (*on_event)(struct load *l, void *conn, uint32_t events))
{
    struct epoll_event ev[256];
    uint64_t begun = load_now();
    double cpu = 0;
    for (;;) {
        int n = epoll_wait(l->epoll, ev, 256, 20);
        uint64_t now = load_now();
        if (!l->is_measuring && (double)(now - begun) > l->warm_up * 1e9) {
            l->is_measuring = 1;
            l->started_at = now;
            cpu = cpu_seconds();
        }
        if (l->is_measuring && (double)(now - l->started_at) > l->seconds * 1e9) {
            l->ended_at = now;
            l->cpu = cpu_seconds() - cpu;
            return;
        }
        for (int i = 0; i < n; i++) {
            on_event(l, ev[i].data.ptr, ev[i].events);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile(const struct load *l, double q)
{
    return l->n_latency != 0 ? l->latency[(size_t)((double)(l->n_latency - 1) * q)] / 10000.0 : 0;
}

static void print_result(struct load *l)
{
    double s = (double)(l->ended_at - l->started_at) / 1e9;
    if (l->n_latency > 0) {
        qsort(l->latency, l->n_latency, sizeof(*l->latency), by_value);
    }
    printf(
        "{\"ops_per_s\":%.1f,\"n\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"cpu_s\":%.3f}\n",
        (double)l->n_ok / s, (unsigned long long)l->n_ok, (unsigned long long)l->n_err, s,
        quantile(l, 0.5), quantile(l, 0.99), quantile(l, 1.0), l->cpu);
}

static int word(const char *s, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(s, words[i]) == 0) {
            return i;
        }
    }
    fprintf(stderr, "mload: unknown word %s\n", s);
    exit(2);
}

/* A number from 0 to max, or the end of the program with a sentence. */
static double number(const char *s, double max)
{
    char *end;
    double v = strtod(s, &end);
    if (end == s || *end != '\0' || !(v >= 0 && v <= max)) {
        fprintf(stderr, "mload: \"%s\" is not a number from 0 to %g\n", s, max);
        exit(2);
    }
    return v;
}

static void parse_ports(struct load *l, const char *s)
{
    while (*s != '\0' && l->n_ports < LOAD_PORTS_MAX) {
        char *end;
        long p = strtol(s, &end, 10);
        if (end == s || p < 1 || p > 65535) {
            fprintf(stderr, "mload: ports are numbers from 1 to 65535\n");
            exit(2);
        }
        l->ports[l->n_ports++] = (int)p;
        s = *end == ',' ? end + 1 : end;
    }
}

int main(int argc, char **argv)
{
    static const char *const servers[] = {"muster", "consul", "etcd"};
    static const char *const ops[] = {"put",         "get",       "register", "keepalive",
                                      "get-default", "get-stale", "agent",    "register-check"};
    static const struct option options[] = {{"server", 1, NULL, 's'},  {"op", 1, NULL, 'o'},
                                            {"ports", 1, NULL, 'p'},   {"clients", 1, NULL, 'c'},
                                            {"seconds", 1, NULL, 't'}, {"warm-up", 1, NULL, 'w'},
                                            {"value", 1, NULL, 'v'},   {"fan-out", 1, NULL, 'f'},
                                            {"park", 1, NULL, 'k'},    {NULL, 0, NULL, 0}};
    struct load l = {
        .clients = 1, .seconds = 3, .warm_up = 1, .value_bytes = 256, .seed = 88172645463325252u};
    int c, fan_out = 0, park = 0;
    l.seed ^= load_now();
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            l.server = (enum load_server)word(optarg, servers, 3);
            break;
        case 'o':
            l.op = (enum load_op)word(optarg, ops, LOAD_OPS);
            break;
        case 'p':
            parse_ports(&l, optarg);
            break;
        case 'c':
            l.clients = (int)number(optarg, 20000);
            break;
        case 't':
            l.seconds = number(optarg, 600);
            break;
        case 'w':
            l.warm_up = number(optarg, 60);
            break;
        case 'v':
            l.value_bytes = (size_t)number(optarg, 65536);
            break;
        case 'f':
            fan_out = (int)number(optarg, 20000);
            break;
        case 'k':
            park = (int)number(optarg, 20000);
            break;
        default:
            return 2;
        }
    }
    if (l.n_ports == 0 || l.clients < 1 || l.clients > 20000 || l.seconds > 600 ||
        l.value_bytes > 65536) {
        fprintf(
            stderr,
            "mload: --ports, 1 to 20000 --clients, at most 600 --seconds, at most 65536 --value bytes\n");
        return 2;
    }
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    errno = 0;
    if (fan_out > 0) {
        load_fan_out(&l, fan_out, l.ports[0]);
    } else if (park > 0) {
        load_park(&l, park);
    } else {
        (l.server == LOAD_ETCD ? load_run_etcd : load_run_http)(&l);
        print_result(&l);
    }
    return 0;
}

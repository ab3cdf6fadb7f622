/* SPDX-License-Identifier: Apache-2.0 */
/* switch SEED FD...: an Ethernet switch between TAP devices, one per namespace, that does to frames
 * what lines on stdin say; ends with stdin. All chances are drawn from the seed.
 *
 *   link FROM TO [cut=0|1] [delay=MS] [jitter=MS] [loss=P] [dup=P] [reset=P] [rate=KIB_PER_S]
 *   clear           all links as they were
 *   count           answers one line: frames passed, lost, doubled, late, reset
 *
 * FROM and TO are numbers of ports from 0. A reset makes of a TCP segment one that ends the
 * connection. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PORTS_MAX = 12, FRAME_MAX = 2048, WAITING_MAX = 20000, BURST = 64 };

struct link {
    int is_cut;
    double delay_ms, jitter_ms, loss, dup, reset, rate_kib;
    int64_t free_at; /* with a rate: when the line is idle again */
};

struct frame {
    int64_t due;
    uint64_t number; /* breaks ties: as they came */
    int to;
    size_t len;
    uint8_t bytes[FRAME_MAX];
};

static struct link links[PORTS_MAX][PORTS_MAX];
static struct pollfd ports[PORTS_MAX + 1]; /* the last one: stdin */
static uint8_t macs[PORTS_MAX][6];
static int n_ports;
static struct frame *heap[WAITING_MAX];
static size_t n_heap;
static uint64_t seed, n_frames, n_lost, n_doubled, n_late, n_reset;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double draw(void) /* [0, 1) */
{
    uint64_t x = seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((x ^ (x >> 31)) >> 11) / 9007199254740992.0;
}

/* --- frames that wait --- */

static int is_before(const struct frame *a, const struct frame *b)
{
    return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void heap_put(struct frame *f)
{
    size_t i = n_heap++;
    while (i > 0 && is_before(f, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = f;
}

static struct frame *heap_take(void)
{
    struct frame *first = heap[0], *last = heap[--n_heap];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= n_heap) {
            break;
        }
        k += k + 1 < n_heap && is_before(heap[k + 1], heap[k]);
        if (!is_before(heap[k], last)) {
            break;
        }
        heap[i] = heap[k];
        i = k;
    }
    heap[i] = last;
    return first;
}

/* --- what is done to a frame --- */

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
    for (; n > 1; n -= 2, p += 2) {
        sum += (uint32_t)p[0] << 8 | p[1];
    }
    sum += n > 0 ? (uint32_t)p[0] << 8 : 0;
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* A TCP segment over IPv4 becomes the RST that stands at its place. */
static size_t make_reset(uint8_t *b, size_t len)
{
    uint8_t *ip = b + 14, *tcp = ip + 20;
    if (len < 54 || b[12] != 0x08 || b[13] != 0 || ip[0] != 0x45 || ip[9] != 6 || (tcp[13] & 2)) {
        return len; /* no TCP, or the opening of a connection */
    }
    n_reset++;
    put16(ip + 2, 40);
    put16(ip + 10, 0);
    put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
    tcp[12] = 0x50;
    tcp[13] = 0x14; /* RST, ACK */
    put16(tcp + 16, 0);
    put16(tcp + 16, (uint16_t)~sum16(tcp, 20, 6 + 20 + (uint32_t)sum16(ip + 12, 8, 0)));
    return 54;
}

static void queue(int from, int to, const uint8_t *bytes, size_t len)
{
    struct link *l = &links[from][to];
    int64_t now = now_ns();
    n_frames++;
    if (l->is_cut || draw() < l->loss || n_heap >= WAITING_MAX - 1) {
        n_lost++;
        return;
    }
    for (int n = draw() < l->dup ? 2 : 1; n > 0; n--) {
        struct frame *f = malloc(sizeof(*f));
        if (f == NULL) {
            return;
        }
        n_doubled += n == 2;
        memcpy(f->bytes, bytes, len);
        f->len = draw() < l->reset ? make_reset(f->bytes, len) : len;
        f->to = to;
        f->number = n_frames;
        f->due = now + (int64_t)((l->delay_ms + l->jitter_ms * draw()) * 1e6);
        if (l->rate_kib > 0) {
            l->free_at = l->free_at > now ? l->free_at : now;
            l->free_at += (int64_t)((double)len / (l->rate_kib * 1024) * 1e9);
            f->due += l->free_at - now;
        }
        n_late += f->due > now;
        heap_put(f);
    }
}

static void forward(int from)
{
    uint8_t b[FRAME_MAX];
    for (int k = 0; k < BURST; k++) {
        ssize_t n = read(ports[from].fd, b, sizeof(b));
        if (n < 14) {
            return;
        }
        memcpy(macs[from], b + 6, 6);
        int to = -1;
        for (int i = 0; i < n_ports && (b[0] & 1) == 0; i++) {
            to = memcmp(macs[i], b, 6) == 0 ? i : to;
        }
        for (int i = 0; i < n_ports; i++) {
            if (i != from && (to < 0 || to == i)) {
                queue(from, i, b, (size_t)n);
            }
        }
    }
}

static void deliver(void)
{
    int64_t now = now_ns();
    while (n_heap > 0 && heap[0]->due <= now) {
        struct frame *f = heap_take();
        if (write(ports[f->to].fd, f->bytes, f->len) < 0) {
            n_lost++;
        }
        free(f);
    }
}

/* --- commands --- */

static void set_link(char *text)
{
    char *save = NULL, *p = strtok_r(text, " ", &save);
    int from = p != NULL ? (int)strtol(p, NULL, 10) : -1;
    p = strtok_r(NULL, " ", &save);
    int to = p != NULL ? (int)strtol(p, NULL, 10) : -1;
    if (from < 0 || to < 0 || from >= n_ports || to >= n_ports) {
        return;
    }
    struct link *l = &links[from][to];
    while ((p = strtok_r(NULL, " ", &save)) != NULL) {
        char *value = strchr(p, '=');
        double v = value != NULL ? strtod(value + 1, NULL) : 0;
        l->is_cut = strncmp(p, "cut=", 4) == 0 ? v > 0 : l->is_cut;
        l->delay_ms = strncmp(p, "delay=", 6) == 0 ? v : l->delay_ms;
        l->jitter_ms = strncmp(p, "jitter=", 7) == 0 ? v : l->jitter_ms;
        l->loss = strncmp(p, "loss=", 5) == 0 ? v : l->loss;
        l->dup = strncmp(p, "dup=", 4) == 0 ? v : l->dup;
        l->reset = strncmp(p, "reset=", 6) == 0 ? v : l->reset;
        l->rate_kib = strncmp(p, "rate=", 5) == 0 ? v : l->rate_kib;
    }
}

static void command(char *line)
{
    if (strncmp(line, "link ", 5) == 0) {
        set_link(line + 5);
    } else if (strcmp(line, "clear") == 0) {
        memset(links, 0, sizeof(links));
    } else if (strcmp(line, "count") == 0) {
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", n_frames, n_lost,
               n_doubled, n_late, n_reset);
        fflush(stdout);
    }
}

/* 0 at the end of stdin. */
static int take_commands(void)
{
    static char text[8192];
    static size_t len;
    ssize_t n = read(0, text + len, sizeof(text) - 1 - len);
    if (n <= 0) {
        return n < 0 && errno == EINTR;
    }
    len += (size_t)n;
    for (char *end; (end = memchr(text, '\n', len)) != NULL;) {
        size_t used = (size_t)(end - text) + 1;
        *end = '\0';
        command(text);
        memmove(text, text + used, len - used);
        len -= used;
    }
    return len < sizeof(text) - 1;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc - 2 > PORTS_MAX) {
        fputs("usage: switch SEED FD...\n", stderr);
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10);
    n_ports = argc - 2;
    for (int i = 0; i < n_ports; i++) {
        ports[i] = (struct pollfd){.fd = (int)strtol(argv[i + 2], NULL, 10), .events = POLLIN};
        fcntl(ports[i].fd, F_SETFL, O_NONBLOCK);
    }
    ports[n_ports] = (struct pollfd){.fd = 0, .events = POLLIN};
    for (;;) {
        int64_t wait = n_heap > 0 ? heap[0]->due - now_ns() : INT64_C(1000000000);
        wait = wait > 0 ? wait : 0;
        struct timespec t = {wait / 1000000000, wait % 1000000000};
        ppoll(ports, (nfds_t)n_ports + 1, &t, NULL);
        for (int i = 0; i < n_ports; i++) {
            if (ports[i].revents != 0) {
                forward(i);
            }
        }
        deliver();
        if (ports[n_ports].revents != 0 && !take_commands()) {
            return 0;
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Events in order of time, chance from the seed, and the clocks that the nodes see. */
#include "tests/sim/cluster/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

struct event {
    int64_t at;
    uint64_t seq;
    sim_fn fn;
    void *arg;
    uint64_t n;
};

static struct event *heap;
static size_t n_heap, cap_heap;
static uint64_t next_seq;

static int is_before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_at(int64_t at, sim_fn fn, void *arg, uint64_t n)
{
    if (n_heap == cap_heap) {
        cap_heap = cap_heap != 0 ? cap_heap * 2 : 1024;
        heap = mem_realloc(heap, cap_heap * sizeof(*heap));
    }
    struct event e = {at > world->now ? at : world->now, next_seq++, fn, arg, n};
    size_t i = n_heap++;
    for (; i > 0 && is_before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2) {
        heap[i] = heap[(i - 1) / 2];
    }
    heap[i] = e;
}

static struct event pop(void)
{
    struct event top = heap[0], e = heap[--n_heap];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < n_heap; i = k) {
        k += k + 1 < n_heap && is_before(&heap[k + 1], &heap[k]);
        if (!is_before(&heap[k], &e)) {
            break;
        }
        heap[i] = heap[k];
    }
    heap[i] = e;
    return top;
}

int sim_step(void)
{
    if (n_heap == 0) {
        return 0;
    }
    struct event e = pop();
    world->now = e.at;
    world->out->events++;
    e.fn(e.arg, e.n);
    return 1;
}

uint64_t sim_draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_below(uint64_t n)
{
    return sim_draw(&world->rng) % n;
}

int sim_chance(unsigned percent)
{
    return sim_below(100) < percent;
}

int64_t sim_between(int64_t a, int64_t b)
{
    return a + (int64_t)sim_below((uint64_t)(b - a + 1));
}

void sim_trace(const char *what, uint64_t a, uint64_t b)
{
    uint64_t h = world->trace ^ (uint64_t)world->now;
    for (const char *s = what; *s != '\0'; s++) {
        h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
    }
    h ^= a * UINT64_C(0x9e3779b97f4a7c15) ^ (b << 17);
    world->trace = sim_draw(&h);
    if (world->o.is_traced) {
        fprintf(stderr, "%10.6f %s %llu %llu\n", (double)world->now / 1e6, what,
                (unsigned long long)a, (unsigned long long)b);
    }
}

void sim_bad(const char *fmt, ...)
{
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    world->out->is_bad = 1;
    snprintf(world->out->why, sizeof(world->out->why), "at %.6f s: %s", (double)world->now / 1e6,
             text);
    world->out->trace = world->trace;
    _exit(0); /* the outcome is in memory shared with the parent */
}

/* --- clocks: base/clock.h --- */

int64_t sim_node_mono_us(const struct sim_node *n)
{
    int64_t span = world->now - n->mono_at;
    return n->mono_us + span + span * n->rate_ppm / 1000000;
}

int64_t sim_when_mono(const struct sim_node *n, int64_t mono_ms)
{
    int64_t left = mono_ms * 1000 - sim_node_mono_us(n);
    left = left < 0 ? 0 : left;
    return world->now + left - left * n->rate_ppm / 1000000 + left / 5000 + 1;
}

int64_t clock_mono_us(void)
{
    return world->cur != NULL ? sim_node_mono_us(world->cur) : world->now;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return 1700000000000 + world->now / 1000 + (world->cur != NULL ? world->cur->wall_ms : 0);
}

uint64_t rnd_u64(void)
{
    return sim_draw(&world->rng);
}

uint64_t rnd_below(uint64_t n)
{
    return rnd_u64() % n;
}

void rnd_bytes(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)(rnd_u64() >> 32);
    }
}

/* An invariant of ours that fails is a find. */
_Noreturn void __wrap_err_invariant_failed(const char *what, const char *file, int line);
void __wrap_err_invariant_failed(const char *what, const char *file, int line)
{
    sim_bad("invariant of node %d: %s, %s:%d", world->cur != NULL ? world->cur->nr : -1, what, file,
            line);
}

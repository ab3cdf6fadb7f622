/* SPDX-License-Identifier: Apache-2.0 */
/* Figure 8 of the Raft paper (https://raft.github.io/raft.pdf, section 5.4.2) played on libraft
 * 0.15 of Debian 12 in that library's own fixture. A leader that counts replicas of an entry of an
 * older term takes it for committed; a server without it can still win.
 *
 * Exit 0: the entry survived. 3: an entry that two of three servers had applied was lost. 2: the
 * schedule could not be played. */
#include <raft.h>
#include <raft/fixture.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { N = 3, WAIT_MS = 20000 };

static uint64_t applied[N][8];
static unsigned n_applied[N];

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    unsigned *server = fsm->data;
    if (n_applied[*server] < 8) {
        applied[*server][n_applied[*server]++] = *(uint64_t *)buf->base;
    }
    *result = NULL;
    return 0;
}

static void add(struct raft_fixture *f, unsigned i, raft_term term, uint64_t value)
{
    struct raft_entry e = {.term = term, .type = RAFT_COMMAND};
    e.buf.len = sizeof(value);
    e.buf.base = raft_malloc(sizeof(value));
    memcpy(e.buf.base, &value, sizeof(value));
    raft_fixture_set_term(f, i, term);
    raft_fixture_add_entry(f, i, &e);
}

static int has_applied(unsigned i, uint64_t value)
{
    for (unsigned k = 0; k < n_applied[i]; k++) {
        if (applied[i][k] == value) {
            return 1;
        }
    }
    return 0;
}

static int give_up(const char *what)
{
    printf("the schedule could not be played: %s\n", what);
    return 2;
}

static int play(struct raft_fixture *f)
{
    struct raft_configuration conf;
    if (raft_fixture_configuration(f, N, &conf) != 0 || raft_fixture_bootstrap(f, &conf) != 0) {
        return give_up("bootstrap");
    }
    raft_configuration_close(&conf);
    add(f, 0, 2, 222);
    raft_fixture_set_term(f, 0, 3);
    add(f, 2, 3, 333);
    if (raft_fixture_start(f) != 0) {
        return give_up("start");
    }
    /* Server 0 is elected by server 1 and gives it the entry of term 2. */
    raft_fixture_kill(f, 2);
    if (!raft_fixture_step_until_has_leader(f, WAIT_MS) || raft_fixture_leader_index(f) != 0) {
        return give_up("server 0 is not elected");
    }
    (void)raft_fixture_step_until_applied(f, 1, 2, WAIT_MS);
    if (!has_applied(0, 222) || !has_applied(1, 222)) {
        printf("the entry of the older term was not taken for committed\n");
        return 0;
    }
    raft_fixture_kill(f, 0);
    raft_fixture_revive(f, 2);
    for (unsigned ms = 0; ms < WAIT_MS; ms++) {
        raft_fixture_step_until_elapsed(f, 1);
        if (raft_state(raft_fixture_get(f, 2)) == RAFT_LEADER) {
            printf(
                "violation: entry 222 was applied by servers 0 and 1; server 2 leads in term %llu "
                "with 333 in its place, server 1 is in state %d\n",
                raft_fixture_get(f, 2)->current_term, raft_state(raft_fixture_get(f, 1)));
            return 3;
        }
    }
    return give_up("server 2 is not elected");
}

int main(void)
{
    static struct raft_fixture f;
    static unsigned numbers[N] = {0, 1, 2};
    struct raft_fsm fsms[N];
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    memset(fsms, 0, sizeof(fsms));
    for (unsigned i = 0; i < N; i++) {
        fsms[i] = (struct raft_fsm){.version = 1, .data = &numbers[i], .apply = apply};
    }
    return raft_fixture_init(&f, N, fsms) != 0 ? give_up("init") : play(&f);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and their results: what is accepted encodes to the same bytes again, and its names make
 * keys that can be split. */
#include "base/err.h"
#include "storage/command/command.h"

static struct command command; /* large */

static void check_key(const struct command *c)
{
    struct buf key;
    struct config_name config;
    struct instance_name instance;
    buf_init(&key);
    switch (c->type) {
    case CMD_CONFIG_PUT:
        key_config(&key, &c->u.config_put.name);
        MU_INVARIANT(key_parse_config(buf_slice(&key), &config) == 0);
        MU_INVARIANT(slice_eq(config.key, c->u.config_put.name.key));
        break;
    case CMD_INSTANCE_PUT:
        key_instance(&key, &c->u.instance_put.name);
        MU_INVARIANT(key_parse_instance(buf_slice(&key), &instance) == 0);
        MU_INVARIANT(slice_eq(instance.id, c->u.instance_put.name.id));
        break;
    default:
        break;
    }
    MU_INVARIANT(key.len <= KEY_MAX);
    buf_fini(&key);
}

static void check_result(struct slice s)
{
    struct command_result r;
    uint8_t again[COMMAND_RESULT_SIZE];
    if (command_result_decode(s, &r) == 0) {
        command_result_encode(again, &r);
        MU_INVARIANT(slice_eq(s, slice_of(again, sizeof(again))));
    }
}

/* Operations are decoded one by one. */
static void encode_again(struct buf *out, struct command *c)
{
    static struct op ops[TXN_OPS_MAX];
    struct wire_reader r;
    if (c->type == CMD_TXN) {
        wire_read_init(&r, c->u.txn.body);
        for (size_t i = 0; i < c->u.txn.n; i++) {
            op_decode(&r, &ops[i]);
        }
        MU_INVARIANT(wire_read_end(&r) == 0);
        c->u.txn.ops = ops;
    }
    command_encode(out, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice s = slice_of(data, len);
    check_result(s);
    if (command_decode(s, &command) != 0) {
        return 0;
    }
    struct buf again;
    buf_init(&again);
    encode_again(&again, &command);
    MU_INVARIANT(slice_eq(s, buf_slice(&again)));
    check_key(&command);
    buf_fini(&again);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/statefile.h"

static const struct {
    const char *name;
    enum state_use use;
} types[] = {
    [0] = {"register", STATE_TAKEN},
    [2] = {"key", STATE_TAKEN},
    [3] = {"session", STATE_TAKEN},
    [4] = {"legacy ACL", STATE_PASSED},
    [5] = {"tombstone", STATE_OWN},
    [6] = {"coordinates", STATE_TAKEN},
    [7] = {"prepared query", STATE_TAKEN},
    [9] = {"autopilot", STATE_TAKEN},
    [11] = {"ACL bootstrap", STATE_OWN},
    [12] = {"intention", STATE_PASSED},
    [13] = {"certificate authority", STATE_PASSED},
    [14] = {"authority's state", STATE_PASSED},
    [15] = {"authority's configuration", STATE_PASSED},
    [16] = {"index", STATE_TAKEN},
    [17] = {"token", STATE_TAKEN},
    [19] = {"policy", STATE_TAKEN},
    [22] = {"config entry", STATE_TAKEN},
    [23] = {"role", STATE_TAKEN},
    [25] = {"binding rule", STATE_PASSED},
    [27] = {"auth method", STATE_PASSED},
    [29] = {"chunks", STATE_OWN},
    [30] = {"federation state", STATE_PASSED},
    /* of later versions */
    [31] = {"system metadata", STATE_OWN},
    [32] = {"virtual address", STATE_PASSED},
    [33] = {"free virtual address", STATE_PASSED},
    [34] = {"names by kind", STATE_OWN},
    [35] = {"peering", STATE_PASSED},
    [38] = {"trust bundle", STATE_PASSED},
    [40] = {"peering secrets", STATE_PASSED},
};

enum state_use state_use(uint8_t type)
{
    return type < N_ELEMENTS(types) ? types[type].use : STATE_UNKNOWN;
}

const char *state_name(uint8_t type)
{
    return state_use(type) != STATE_UNKNOWN ? types[type].name : "";
}

int statefile_begin(struct statefile *s, struct slice bytes, uint64_t *out_last_index,
                    struct err *e)
{
    struct slice header;
    *s = (struct statefile){.rest = bytes};
    if (mp_take(&s->rest, &header) != 0 || mp_type_of(header) != MP_MAP) {
        return err_set(e, MU_E_FORMAT, "state.bin does not begin with a header");
    }
    *out_last_index = mp_u64(mp_member(header, "LastIndex"));
    return 0;
}

int statefile_next(struct statefile *s, struct state_record *out, struct err *e)
{
    if (s->rest.len == 0) {
        return 0;
    }
    out->type = s->rest.p[0];
    s->rest = slice_of(s->rest.p + 1, s->rest.len - 1);
    s->n++;
    if (state_use(out->type) == STATE_UNKNOWN) {
        return err_set(e, MU_E_FORMAT, "Unrecognized msg type %d", out->type);
    }
    if (mp_take(&s->rest, &out->value) != 0) {
        return err_set(e, MU_E_FORMAT, "record %zu (%s) is cut off or malformed", s->n,
                       state_name(out->type));
    }
    return 1;
}

void statefile_put_header(struct buf *out, uint64_t last_index)
{
    mp_put_map(out, 1);
    mp_put_str(out, "LastIndex");
    mp_put_u64(out, last_index);
}

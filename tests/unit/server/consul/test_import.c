/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <jansson.h>

#include "base/json_read.h"
#include "base/mem.h"
#include "server/consul/import.h"

/* --- records are written down as JSON; bytes that JSON cannot say, otherwise --- */

struct arena {
    void *blocks[256];
    size_t n;
};

static void *alloc(void *arg, size_t size)
{
    struct arena *a = arg;
    assert_true(a->n < N_ELEMENTS(a->blocks));
    return a->blocks[a->n++] = mem_zalloc(size);
}

struct fixture {
    struct arena a;
    struct buf b;
    struct imported x;
    struct err e;
};

static int value(struct fixture *f, uint8_t type, struct slice bytes)
{
    struct import m = {.alloc = alloc, .arg = &f->a};
    struct state_record r = {.type = type, .value = bytes};
    f->e = (struct err){0};
    return import_record(&m, &r, &f->x, &f->e);
}

static int given(struct fixture *f, uint8_t type, const char *json)
{
    json_t *doc = NULL;
    assert_int_equal(jr_parse(slice_str(json), &doc, &f->e), 0);
    buf_clear(&f->b);
    mp_put_json(&f->b, doc);
    jr_free(doc);
    return value(f, type, buf_slice(&f->b));
}

static void done(struct fixture *f)
{
    while (f->a.n > 0) {
        mem_free(f->a.blocks[--f->a.n]);
    }
    buf_fini(&f->b);
}

static void is_text(struct slice s, const char *want)
{
    char text[2000];
    assert_true(s.len < sizeof(text));
    (void)snprintf(text, sizeof(text), "%.*s", SLICE_FMT(s));
    assert_string_equal(text, want);
}

/* --- what Consul writes --- */

static void registrations(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(
        given(
            &f, STATE_REGISTER,
            "{\"Node\":\"n\",\"Address\":\"10.0.0.1\",\"ID\":\"\",\"NodeMeta\":{\"a\":\"b\"},"
            "\"TaggedAddresses\":null,\"Service\":{\"ID\":\"w1\",\"Service\":\"w\",\"Port\":80,"
            "\"Tags\":[\"t\"],\"Address\":\"\",\"Weights\":{\"Passing\":5,\"Warning\":1},"
            "\"TaggedAddresses\":{},\"Connect\":{\"Native\":false,\"SidecarService\":null},"
            "\"Proxy\":{\"Config\":null,\"Expose\":{\"Checks\":false,\"Paths\":null}}},"
            "\"Check\":{\"CheckID\":\"c\",\"Name\":\"n\",\"Status\":\"warning\",\"ServiceID\":"
            "\"w1\",\"Type\":\"http\",\"Definition\":{\"HTTP\":\"http://x/\",\"TTL\":0,\"Interval\":"
            "90000000000,\"Header\":null,\"Body\":\"\",\"TLSSkipVerify\":false}}}"),
        0);
    is_text(f.x.node.name, "n");
    is_text(f.x.service.name.id, "n/w1");
    is_text(f.x.service.row.extra, "{\"Weights\":{\"Passing\":5,\"Warning\":1}}");
    assert_true(f.x.service.row.port == 80 && !f.x.service.is_agent && !f.x.is_member);
    assert_int_equal(f.x.check.row.status, CHECK_WARNING);
    assert_int_equal(f.x.check.row.run.kind, CHECK_KIND_NONE);
    is_text(f.x.check.row.definition, "{\"HTTP\":\"http://x/\",\"Interval\":\"1m30s\"}");
    done(&f);
}

/* What the store takes only in pieces is refused while nothing is changed yet. */
static void too_long_for_the_store(void **state)
{
    struct fixture f = {0};
    struct buf text;
    (void)state;
    for (unsigned n = 10; n <= 1000; n += 990) {
        buf_init(&text);
        buf_append_str(&text, "{\"Node\":\"n\",\"Address\":\"10.0.0.1\",\"NodeMeta\":{\"a\":\"b\"");
        for (unsigned i = 0; i < n; i++) {
            buf_printf(&text, ",\"key%u\":\"%0500u\"", i, i);
        }
        buf_append(&text, "}}", 3);
        assert_int_equal(given(&f, STATE_REGISTER, (char *)text.p),
                         n < 1000 ? 0 : MU_E_BAD_REQUEST);
        buf_fini(&text);
        done(&f);
    }
    assert_string_equal(f.e.text,
                        "register: a text or a list of it is longer than what can be stored");
}

static void checks_of_the_cluster(void **state)
{
    struct fixture f = {0};
    static const char text[] =
        "{\"Node\":\"n\",\"Address\":\"10.0.0.1\",\"MusterMember\":true,\"Check\":{\"CheckID\":\"c\","
        "\"Name\":\"n\",\"Status\":\"passing\",\"MusterAgent\":true,\"MusterDefinition\":\"\","
        "\"Definition\":{\"HTTP\":\"http://%s/\",\"Interval\":10000000000,\"H2PingUseTLS\":false,"
        "\"FailuresBeforeCritical\":3}}}";
    char json[500];
    (void)state;
    (void)snprintf(json, sizeof(json), text, "10.0.0.1");
    assert_int_equal(given(&f, STATE_REGISTER, json), 0);
    const struct check_row *row = &f.x.check.row;
    assert_true(f.x.is_member && f.x.check.is_agent && row->is_agent && !row->run.use_tls);
    assert_true(row->run.kind == CHECK_KIND_HTTP && row->run.interval_ms == 10000);
    assert_true(row->run.failures_to_fail == 3 && row->definition.len == 0);
    /* What a registration would refuse is refused here. */
    (void)snprintf(json, sizeof(json), text, "h:port");
    assert_int_equal(given(&f, STATE_REGISTER, json), MU_E_BAD_REQUEST);
    done(&f);
}

static void sessions_and_keys(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(
        given(&f, STATE_SESSION,
              "{\"ID\":\"7ad916a7-33bd-add9-ffe2-e58ea409b06b\",\"Node\":\"n\",\"Name\":\"s\","
              "\"LockDelay\":5000000000,\"Behavior\":\"delete\",\"TTL\":\"600s\",\"NodeChecks\":"
              "[\"a\",\"b\"],\"ServiceChecks\":[{\"ID\":\"c\"}]}"),
        0);
    const struct session_row *s = &f.x.session.row;
    assert_true(s->ttl_ms == 600000 && s->lock_delay_ns == 5000000000);
    assert_true(s->behavior == SESSION_DELETE && s->node_checks.len == 12 &&
                s->service_checks.len == 7);
    assert_int_equal(value(&f, STATE_KEY,
                           SLICE_LIT("\x83\xa3Key\xa1k\xa5Value\xa3\0\xff\1\xa5"
                                     "Flags\xcf\xff\xff\xff\xff\xff\xff\xff\xff")),
                     0);
    assert_true(f.x.key.flags == UINT64_MAX);
    assert_true(slice_eq(f.x.key.value, SLICE_LIT("\0\xff\1")));
    done(&f);
}

static void documents(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(
        given(&f, STATE_QUERY,
              "{\"ID\":\"a518d897-aff5-5f66-2c14-49954f61e39f\",\"Name\":\"q\",\"Session\":\"\","
              "\"Token\":\"root\",\"Template\":{\"Type\":\"name_prefix_match\",\"Regexp\":\"\","
              "\"RemoveEmptyTags\":false},\"Service\":{\"Service\":\"w\",\"Connect\":false,"
              "\"Tags\":null},\"DNS\":{\"TTL\":\"10s\"}}"),
        0);
    assert_int_equal(f.x.n_docs, 1);
    is_text(f.x.docs[0].claim, "~q");
    assert_null(memmem(f.x.docs[0].body.p, f.x.docs[0].body.len, "root", 4));
    assert_int_equal(
        given(&f, STATE_QUERY,
              "{\"ID\":\"a518d897-aff5-5f66-2c14-49954f61e39f\",\"Name\":\"q\",\"Service\":{"
              "\"Service\":\"w\",\"Connect\":true}}"),
        IMPORT_PASSED);
    assert_int_equal(given(&f, STATE_AUTOPILOT,
                           "{\"CleanupDeadServers\":true,\"LastContactThreshold\":300000000}"),
                     0);
    assert_non_null(memmem(f.x.docs[0].body.p, f.x.docs[0].body.len, "\"300ms\"", 7));
    assert_int_equal(given(&f, STATE_INDEX, "{\"Key\":\"kvs\",\"Value\":7}"), 0);
    assert_int_equal(f.x.n_docs, 0);
    assert_int_equal(given(&f, 12, "{}"), IMPORT_PASSED);
    assert_int_equal(given(&f, 5, "{}"), 0);
    done(&f);
}

/* An entry is bytes that hold its kind and itself; one of them holds the entry as bytes again. */
static void entries(void **state)
{
    struct fixture f = {0};
    static const char inner[] = "\x83\xa4Kind\xaeproxy-defaults\xa4Name\xa6global\xa6"
                                "Config\x81\xa1"
                                "a\xc2";
    struct buf whole = {0}, record = {0};
    (void)state;
    mp_put_str(&whole, "proxy-defaults");
    mp_put_map(&whole, 1);
    mp_put_str(&whole, "Entry");
    mp_put_raw(&whole, slice_of(inner, sizeof(inner) - 1));
    mp_put_raw(&record, buf_slice(&whole));
    assert_int_equal(value(&f, STATE_CONFIG, buf_slice(&record)), 0);
    is_text(f.x.docs[0].name, "proxy-defaults/global");
    is_text(f.x.docs[0].body,
            "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"a\":false}}");
    assert_int_equal(value(&f, STATE_CONFIG, SLICE_LIT("\xa1x")), MU_E_BAD_REQUEST);
    assert_int_equal(value(&f, STATE_CONFIG, SLICE_LIT("\xa7\xa4later\x80")), MU_E_BAD_REQUEST);
    assert_int_equal(value(&f, STATE_CONFIG, SLICE_LIT("\xa6\xa4late\x80")), IMPORT_PASSED);
    buf_fini(&whole);
    buf_fini(&record);
    done(&f);
}

static void access_control(void **state)
{
    struct fixture f = {0};
    (void)state;
    assert_int_equal(
        given(&f, STATE_TOKEN,
              "{\"AccessorID\":\"ccbacf2a-7584-f85d-f774-c096d83c605a\",\"SecretID\":\"root\","
              "\"Policies\":[{\"ID\":\"00000000-0000-0000-0000-000000000001\",\"Name\":\"x\"},"
              "{\"ID\":\"464d8f74-fc2c-ed0e-fb30-d456ee9b3650\",\"Name\":\"gone\"}]}"),
        0);
    is_text(f.x.docs[0].claim, "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2");
    assert_non_null(memmem(f.x.docs[0].body.p, f.x.docs[0].body.len,
                           "\"Policies\":[\"00000000-0000-0000-0000-000000000001\"]", 51));
    assert_int_equal(given(&f, STATE_TOKEN, "{\"SecretID\":\"x\",\"Type\":\"client\"}"),
                     IMPORT_PASSED);
    assert_int_equal(given(&f, STATE_TOKEN,
                           "{\"AccessorID\":\"ccbacf2a-7584-f85d-f774-c096d83c605a\","
                           "\"SecretID\":\"x\",\"MusterSecretHash\":\"xyz\"}"),
                     MU_E_BAD_REQUEST);
    assert_int_equal(given(&f, STATE_POLICY,
                           "{\"ID\":\"464d8f74-fc2c-ed0e-fb30-d456ee9b3650\",\"Name\":\"p\","
                           "\"Rules\":\"key \\\"a\\\" { policy = \\\"none\\\" }\"}"),
                     MU_E_BAD_REQUEST);
    assert_true(strncmp(f.e.text, "policy: p: ", 11) == 0);
    assert_int_equal(
        given(&f, STATE_POLICY, "{\"ID\":\"00000000-0000-0000-0000-000000000001\",\"Name\":\"m\"}"),
        0);
    assert_int_equal(f.x.docs[0].name.len, 0); /* it is there, as it is here */
    done(&f);
}

static void what_is_refused(void **state)
{
    static const struct {
        uint8_t type;
        const char *json;
    } bad[] = {
        {STATE_REGISTER, "{}"},
        {STATE_REGISTER, "[]"},
        {STATE_REGISTER, "{\"Node\":\"n\\u0001\"}"},
        {STATE_REGISTER, "{\"Node\":\"n\",\"ID\":\"short\"}"},
        {STATE_REGISTER, "{\"Node\":\"n\",\"Service\":{\"Service\":\"\"}}"},
        {STATE_REGISTER, "{\"Node\":\"n\",\"Service\":{\"Service\":\"s\",\"Port\":65536}}"},
        {STATE_REGISTER, "{\"Node\":\"n\",\"Service\":{\"Service\":\"s\",\"MusterExtra\":\"[\"}}"},
        {STATE_REGISTER, "{\"Node\":\"n\",\"Check\":{\"CheckID\":\"c\",\"Status\":\"fine\"}}"},
        {STATE_REGISTER, "{\"Node\":\"n\",\"Check\":{\"Status\":\"passing\"}}"},
        {STATE_KEY, "{\"Key\":\"\"}"},
        {STATE_KEY, "{\"Key\":\"k\",\"Session\":\"x\"}"},
        {STATE_SESSION, "{\"ID\":\"x\",\"Node\":\"n\"}"},
        {STATE_SESSION, "{\"ID\":\"7ad916a7-33bd-add9-ffe2-e58ea409b06b\",\"Node\":\"n\","
                        "\"TTL\":\"25h\"}"},
        {STATE_SESSION, "{\"ID\":\"7ad916a7-33bd-add9-ffe2-e58ea409b06b\",\"Node\":\"n\","
                        "\"NodeChecks\":[\"\"]}"},
        {STATE_COORDINATES, "[{\"Node\":\"n\"}]"},
        {STATE_COORDINATES, "[1,2,3,4,5,6,7,8,9]"},
        {STATE_QUERY, "{\"ID\":\"x\",\"Name\":\"q\",\"Service\":{\"Service\":\"w\"}}"},
        {STATE_ROLE, "{\"ID\":\"x\",\"Name\":\"r\"}"},
        {STATE_TOKEN, "{\"AccessorID\":\"x\",\"SecretID\":\"x\"}"},
    };
    struct fixture f = {0};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(given(&f, bad[i].type, bad[i].json), MU_E_BAD_REQUEST);
        assert_true(f.e.text[0] != '\0');
        done(&f);
        f.b = (struct buf){0};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registrations),
        cmocka_unit_test(too_long_for_the_store),
        cmocka_unit_test(checks_of_the_cluster),
        cmocka_unit_test(sessions_and_keys),
        cmocka_unit_test(documents),
        cmocka_unit_test(entries),
        cmocka_unit_test(access_control),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "tests/unit/tools/musterctl/fake_muster.h"

static const struct fake_answer answers[] = {
    {NULL, "GET", "/configs?limit=200", MUSTER_OK, NULL,
     "{\"configs\":[{\"group\":\"DEFAULT_GROUP\",\"key\":\"plain\"},{\"group\":\"app\",\"key\":\"db\"},"
     "{\"group\":\"DEFAULT_GROUP\",\"key\":\"with/slash\"},{\"group\":\"g/h\",\"key\":\"x\"}]}",
     0, NULL},
    {NULL, "GET", "/configs?group=app&prefix=d&limit=200", MUSTER_OK, NULL,
     "{\"configs\":[{\"group\":\"app\",\"key\":\"db\"}]}", 0, NULL},
    {NULL, "GET", "/cluster", MUSTER_OK, NULL,
     "{\"members\":[{\"name\":\"n1\"},{\"name\":\"n2\"}]}", 0, NULL},
    {NULL, "GET", "/services/web?group=DEFAULT_GROUP", MUSTER_OK, NULL,
     "{\"instances\":[{\"id\":\"10.0.0.1:80\"}]}", 0, NULL},
};

#define COMPLETES(want, ...)                                                  \
    do {                                                                      \
        char *out_;                                                           \
        fake_answers(answers, N_ELEMENTS(answers));                           \
        assert_int_equal(FAKE_RUN(&out_, "__complete", __VA_ARGS__), CTL_OK); \
        assert_string_equal(out_, want);                                      \
        mem_free(out_);                                                       \
    } while (0)

static void test_commands_and_options(void **state)
{
    (void)state;
    COMPLETES("status\tthe cluster's members and the health of each endpoint\n", "stat");
    COMPLETES("snapshot\tbackups of the store\n", "sn");
    COMPLETES("rollback\tpublish the content of an earlier revision anew\n", "config", "ro");
    COMPLETES("rollback\tpublish the content of an earlier revision anew\n", "-q", "-N", "config",
              "config", "ro");
    COMPLETES("--if-revision\tonly over this revision, else exit status 4\n", "config", "put", "k",
              "--if");
    COMPLETES("json\n", "status", "-o", "j");
    COMPLETES("json\n", "status", "-qo", "j");
    COMPLETES("stale\n", "status", "--consistency=s");
    COMPLETES(":files\n", "status", "--cacert", "");
    COMPLETES(":files\n", "status", "--cacert=/e");
    COMPLETES(":dirs\n", "config", "export", "");
    COMPLETES("zsh\n", "completion", "z");
    COMPLETES("transfer\thand leadership over\n", "help", "member", "tr");
    COMPLETES("", "__comp");
    COMPLETES("", "nonsense", "");
    COMPLETES("", "status", "");
    COMPLETES("", "status", "--quiet=");
    COMPLETES("", "config", "put", "--comment", "x");
}

static void test_names_of_the_cluster(void **state)
{
    (void)state;
    COMPLETES("plain\napp/db\nDEFAULT_GROUP/with/slash\n", "config", "get", "");
    COMPLETES("app/db\n", "config", "get", "app/d");
    COMPLETES("n1\nn2\n", "member", "remove", "n");
    COMPLETES("", "member", "remove", "n1", "n");
    COMPLETES("10.0.0.1:80\n", "service", "patch", "web", "1");
    /* Out of reach: nothing, and no error. */
    COMPLETES("", "lease", "get", "");
}

static void test_scripts(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < N_ELEMENTS(shells); i++) {
        char *out;
        assert_int_equal(FAKE_RUN(&out, "completion", shells[i]), CTL_OK);
        assert_non_null(strstr(out, "__complete"));
        assert_non_null(strstr(out, ":files"));
        mem_free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_and_options),
        cmocka_unit_test(test_names_of_the_cluster),
        cmocka_unit_test(test_scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

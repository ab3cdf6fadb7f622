/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/net_impl.h"

static char dir[] = "/tmp/muster-local-XXXXXX";
static char path[64], address[80];
static struct sockaddr_storage a;

static int set_up(void **state)
{
    struct err e = {0};
    (void)state;
    memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/s", dir);
    (void)snprintf(address, sizeof(address), "unix://%s", path);
    assert_int_equal(listen_resolve(address, &a, &e), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static int exists(void)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void an_address_there_and_back(void **state)
{
    char text[NET_ADDRESS_MAX], longest[200];
    struct sockaddr_storage out;
    struct err e = {0};
    (void)state;
    listen_format(&a, text);
    assert_string_equal(text, address);
    listen_peer(&a, text);
    assert_string_equal(text, "unix");
    (void)snprintf(longest, sizeof(longest), "unix:///%0106d", 7);
    assert_int_equal(listen_resolve(longest, &out, &e), 0);
    listen_format(&out, text);
    assert_string_equal(text, longest);
    (void)snprintf(longest, sizeof(longest), "unix:///%0107d", 7);
    assert_int_equal(listen_resolve(longest, &out, &e), MU_E_BAD_REQUEST);
    static const char *const bad[] = {"unix://", "unix://x", "unix:///", "unix:///x/"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(listen_resolve(bad[i], &out, &e), MU_E_BAD_REQUEST);
    }
}

static void the_file_has_the_mode_and_goes(void **state)
{
    struct local_file f = {0};
    struct stat st;
    struct err e = {0};
    int fd = -1;
    (void)state;
    assert_int_equal(local_bind(&a, 0620, &f, &fd, &e), 0);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0620);
    local_remove(&f);
    assert_false(exists());
    local_remove(&f); /* once */
    close(fd);
}

static void what_was_left_behind_is_replaced(void **state)
{
    struct local_file old = {0}, f = {0};
    struct err e = {0};
    int fd = -1, second = -1;
    (void)state;
    assert_int_equal(local_bind(&a, 0600, &old, &fd, &e), 0);
    assert_int_equal(local_bind(&a, 0600, &f, &second, &e), MU_E_IO); /* it listens */
    assert_non_null(strstr(e.text, "another process"));
    close(fd); /* as one that was killed */
    assert_true(exists());
    assert_int_equal(local_bind(&a, 0600, &f, &second, &e), 0);
    old.inode = f.inode + 1;
    local_remove(&old); /* another's by now: stays */
    assert_true(exists());
    local_remove(&f);
    close(second);
}

static void a_file_that_is_no_socket_stays(void **state)
{
    struct local_file f = {0};
    struct err e = {0};
    int fd = -1;
    (void)state;
    int other = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(other, "data", 4), 4);
    close(other);
    assert_int_equal(local_bind(&a, 0600, &f, &fd, &e), MU_E_IO);
    assert_non_null(strstr(e.text, "no socket"));
    local_remove(&f);
    assert_true(exists());
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nowhere/at/all", path), 0); /* nor is one followed */
    assert_int_equal(local_bind(&a, 0600, &f, &fd, &e), MU_E_IO);
    assert_true(exists());
}

static void loopback_and_sockets_are_one_source(void **state)
{
    struct sources s;
    struct sockaddr_storage tcp = {.ss_family = AF_INET};
    uint32_t one = 0, two = 1;
    (void)state;
    ((struct sockaddr_in *)(void *)&tcp)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sources_init(&s, 2, 1);
    assert_int_equal(sources_enter(&s, &a, &one), 0);
    assert_int_equal(sources_enter(&s, &tcp, &two), 0);
    assert_int_equal(one, two);
    assert_int_equal(sources_enter(&s, &a, &one), MU_E_TOO_MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_has_the_mode_and_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_left_behind_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_socket_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loopback_and_sockets_are_one_source, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

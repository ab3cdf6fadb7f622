/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files. The input is taken twice: as a file, and as the records of a file whose checksums
 * are right, so that what lies behind them is reached. Whatever passes the check loads or is
 * refused without a trace. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/wire.h"
#include "storage/files.h"
#include "storage/snapshot/format.h"
#include "storage/view.h"

enum { TABLES = 8 };

static struct store *store;
static char dir[64];

static void close_store(void)
{
    char path[96];
    store_close(store, 0);
    (void)snprintf(path, sizeof(path), "%s/store", dir);
    (void)files_remove_dir(path, NULL);
    (void)files_remove_dir(dir, NULL);
}

static void open_store(void)
{
    struct err e = {0};
    int was_reset;
    if (store != NULL) {
        return;
    }
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, sizeof(dir), "%s/muster-fuzz-XXXXXX", tmp != NULL ? tmp : "/tmp");
    MU_INVARIANT(mkdtemp(dir) != NULL);
    int rc = store_open(&(struct store_options){.dir = dir, .map_initial = 4 << 20}, &store,
                        &was_reset, &e);
    MU_INVARIANT(rc == 0);
    (void)atexit(close_store);
}

static void try_file(int fd)
{
    char path[64];
    struct snapshot_info info;
    struct err e = {0};
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int checked = snapshot_check(path, &info, &e);
    MU_INVARIANT(checked == 0 || e.text[0] != '\0');
    if (checked == 0) {
        open_store();
        int loaded = snapshot_load(store, path, &e);
        MU_INVARIANT(loaded == 0 || loaded == MU_E_CORRUPT || loaded == MU_E_FORMAT);
    }
}

static int memory_file(void)
{
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    MU_INVARIANT(fd >= 0);
    return fd;
}

/* table u8, key u8 length, value u16 length, again and again. */
static void put_records(struct snapshot_writer *w, struct slice s)
{
    struct wire_reader r;
    wire_read_init(&r, s);
    while (r.left != 0 && !r.failed) {
        unsigned table = wire_u8(&r) % TABLES;
        size_t key_len = wire_u8(&r);
        size_t value_len = wire_u16(&r);
        struct slice key = wire_raw(&r, key_len);
        struct slice value = wire_raw(&r, value_len);
        if (!r.failed) {
            snapshot_put_row(w, (enum db_table)table, key, value);
        }
    }
}

static void try_records(struct slice s)
{
    static struct snapshot_writer w; /* large */
    struct snapshot_info info = {.index = 0};
    struct err e = {0};
    int fd = memory_file();
    snapshot_put_header(&w, fd, "memory", &info, &e);
    put_records(&w, s);
    MU_INVARIANT(snapshot_put_end(&w) == 0);
    try_file(fd);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    int fd = memory_file();
    MU_INVARIANT(write(fd, data, len) == (ssize_t)len);
    try_file(fd);
    close(fd);
    try_records(slice_of(data, len));
    return 0;
}

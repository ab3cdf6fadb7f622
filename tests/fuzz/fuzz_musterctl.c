/* SPDX-License-Identifier: Apache-2.0 */
/* What musterctl reads. First byte: 0 a file's name of an export; 1 a row of an export's document;
 * 2 a name to be a file's name; else a snapshot file, taken as it is. */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "tools/musterctl/config.h"
#include "tools/musterctl/snapfile.h"

static void expect_same(struct slice a, struct slice b)
{
    MU_INVARIANT(slice_eq(a, b));
}

static void try_filename(const char *file)
{
    struct buf name, again;
    buf_init(&name);
    buf_init(&again);
    if (ctl_filename_decode(&name, file) == 0) {
        buf_append_byte(&name, 0);
        ctl_filename_encode(&again, (const char *)name.p);
        expect_same(buf_slice(&again), slice_str(file));
        MU_INVARIANT(strchr(file, '/') == NULL && file[0] != '.' && file[0] != '\0');
    }
    buf_fini(&name);
    buf_fini(&again);
}

static void try_name(const char *name)
{
    struct buf file, again;
    if (name[0] == '\0') {
        return; /* no name is empty */
    }
    buf_init(&file);
    buf_init(&again);
    ctl_filename_encode(&file, name);
    MU_INVARIANT(file.len <= CTL_FILENAME_MAX && memchr(file.p, '/', file.len) == NULL);
    buf_append_byte(&file, 0);
    MU_INVARIANT(file.p[0] != '.');
    if (strchr((const char *)file.p, '~') == NULL &&
        ctl_filename_decode(&again, (const char *)file.p) == 0) {
        expect_same(buf_slice(&again), slice_str(name));
    }
    buf_fini(&file);
    buf_fini(&again);
}

static void try_row(const char *text, size_t len)
{
    json_t *row = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    struct buf content, again;
    buf_init(&content);
    buf_init(&again);
    if (ctl_json_get_content(row, &content) == 0) {
        json_t *copy = json_object();
        ctl_json_set_content(copy, buf_slice(&content));
        MU_INVARIANT(ctl_json_get_content(copy, &again) == 0);
        expect_same(buf_slice(&content), buf_slice(&again));
        json_decref(copy);
    }
    buf_fini(&content);
    buf_fini(&again);
    json_decref(row);
}

static void try_snapshot(const uint8_t *data, size_t len)
{
    static struct ctl_snap snap; /* large */
    struct err e = {0};
    char path[40];
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    MU_INVARIANT(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = ctl_snap_check(path, &snap, &e);
    MU_INVARIANT(rc == 0 ? snap.size_bytes == len : e.text[0] != '\0');
    MU_INVARIANT(memchr(snap.members, 0, sizeof(snap.members)) != NULL);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    json_set_alloc_funcs(mem_alloc, mem_free); /* as main() does */
    char *text = mem_slice_str(slice_of(data + 1, len - 1));
    switch (data[0]) {
    case 0:
        try_filename(text);
        break;
    case 1:
        try_row(text, len - 1);
        break;
    case 2:
        try_name(text);
        break;
    default:
        try_snapshot(data, len);
        break;
    }
    mem_free(text);
    return 0;
}

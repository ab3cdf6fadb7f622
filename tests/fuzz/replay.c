/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of the folders given: the corpus as an ordinary test, without a
 * fuzzing engine. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    static uint8_t data[1 << 20];
    if (f == NULL) {
        return -1;
    }
    size_t n = fread(data, 1, sizeof(data), f);
    (void)fclose(f);
    uint8_t *exact = malloc(n + 1); /* so that a read behind the end is seen */
    if (exact == NULL) {
        return -1;
    }
    memcpy(exact, data, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned n = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
            char path[4096];
            (void)snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.' && replay_file(path) == 0) {
                n++;
            }
        }
        if (d != NULL) {
            (void)closedir(d);
        }
    }
    (void)printf("%u inputs\n", n);
    return n > 0 ? 0 : 1;
}

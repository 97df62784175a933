/* SPDX-License-Identifier: ISC */
#include "fuzz.h"

#include <string.h>

/*
 * Runs a target over files, in builds without a fuzzer: each in memory of just its size, so that a sanitizer sees what
 * reads beyond it.  Says which file is next: the last one that was named is the one that failed.
 */
int main(int argc, char **argv) {
        static uint8_t buf[1 << 16];

        for (int i = 1; i < argc; i++) {
                FILE *file = fopen(argv[i], "rb");
                uint8_t *data;
                size_t size;

                if (!file) {
                        perror(argv[i]);
                        return 1;
                }
                size = fread(buf, 1, sizeof(buf), file);
                fclose(file);
                data = malloc(size ? size : 1);
                FUZZ_CHECK(data);
                memcpy(data, buf, size);
                printf("%s\n", argv[i]);
                fflush(stdout);
                LLVMFuzzerTestOneInput(data, size);
                free(data);
        }
        return argc > 1 ? 0 : 1;
}

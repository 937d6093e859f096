/* Prints what a decoder of each model allocates, with noise fed to it. Linked with --wrap=malloc, calloc, realloc. */
#include "mixing.h"

#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
static size_t allocated;

void *__wrap_malloc(size_t size) { allocated += size; return __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { allocated += count * size; return __real_calloc(count, size); }
void *__wrap_realloc(void *memory, size_t size) { allocated += size; return __real_realloc(memory, size); }

int main(void) {
    for (int kind = MIXING_RESIDUAL; kind <= MIXING_BYTES; kind++) {
        static uint8_t noise[MIXING_FEED], out[1 << 16];
        for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)((i * 2654435761u) >> 13);
        allocated = 0;
        mixing *m = mixing_new(kind, MIXING_BITS_MOST, 1);
        const mixing_span span = {noise, sizeof noise, NULL, 0, 0};
        for (int n = 0; n < 4; n++) {
            if (kind == MIXING_RESIDUAL) mixing_begin(m, &span);
            mixing_decode(m, out, 0, sizeof out);
            mixing_feed(m, noise, sizeof noise, 0);
        }
        mixing_free(m);
        printf("%zu\n", allocated);
    }
    return 0;
}

/* libFuzzer: operands of any code at any address are sought within it; no more are found than there is room for.
 * The first bytes choose what is sought and where it is, the next how addresses moved, the rest is code. */
#include "operands.h"

#include <stdlib.h>
#include <string.h>

uint32_t coded_sum = 2166136261u;    /* Of all that was predicted: the same on every platform. */
enum { STRETCHES = 4, NUMBERS = 4 + 2 * STRETCHES, HEAD = 1 + 8 * NUMBERS };

static int by_number(const void *a, const void *b) {
    int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

static void try_numbers(const uint8_t *code, size_t size, uint8_t *out, const uint32_t *places, size_t count) {
    if (operands_add(out, code, code, code, size, places, count, 4, 1)) abort();
    uint32_t beyond = (uint32_t)size;
    if (!operands_add(out, code, code, code, size, &beyond, 1, 8, -1)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    int64_t numbers[NUMBERS];
    memcpy(numbers, data + 1, sizeof numbers);
    int64_t *starts = numbers + 4, *differences = numbers + 4 + STRETCHES;
    qsort(starts, STRETCHES, sizeof *starts, by_number);
    size_t length = size - HEAD;
    uint8_t *code = malloc(length ? length : 1), *out = malloc(length ? length : 1);
    uint32_t *places = malloc((length / 4 + 1) * sizeof *places);
    if (!code || !out || !places) abort();
    memcpy(code, data + HEAD, length);
    memcpy(out, code, length);
    const operands_site site = {numbers[0], numbers[1], numbers[2], numbers[3]};
    const operands_map map = {starts, differences, STRETCHES};
    int sought = data[0] % 7, is_x86 = sought < 3;
    size_t count = is_x86 ? operands_predict(code, length, out, sought, &site, &map, places)
                          : operands_predict_aarch64(code, length, out, (size_t)(sought - 3), &site, &map, places);
    if (count > length / 4) abort();
    for (size_t i = 0; i < count; i++)
        if (places[i] + 4 > length || (is_x86 && i && places[i] < places[i - 1] + 4)) abort();
    for (size_t i = 0; i < length; i++) coded_sum = (coded_sum ^ out[i]) * 16777619u;
    try_numbers(code, length, out, places, count);
    free(code);
    free(out);
    free(places);
    return 0;
}

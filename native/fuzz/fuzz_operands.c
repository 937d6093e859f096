/* libFuzzer: references in any code, data or table at any address are sought within it; no more are found than there is room
 * for. The first bytes choose what is sought and where it is, the next how addresses moved, the rest is code, data or a table. */
#include "operands.h"

#include <stdlib.h>
#include <string.h>

uint32_t coded_sum = 2166136261u;    /* Of all that was predicted: the same on every platform. */
enum { STRETCHES = 4, NUMBERS = 4 + 2 * STRETCHES, HEAD = 1 + 8 * NUMBERS, X86 = 3, CODE = 4, DATA = 7, ALL = 10, FRAME = 21 };

static int by_number(const void *a, const void *b) {
    int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

static void try_numbers(const uint8_t *code, size_t size, uint8_t *out, const uint32_t *places, size_t count) {
    if (operands_add(out, code, code, code, size, places, count, 4, 1)) abort();
    uint32_t beyond = (uint32_t)size;
    if (!operands_add(out, code, code, code, size, &beyond, 1, 8, -1)) abort();
}

/* Numbers of both widths that are addresses, and distances to code. */
static size_t try_data(int how, const uint8_t *data, size_t size, uint8_t *out, const operands_site *site,
                       const operands_map *map, uint32_t *places) {
    size_t skip = (size_t)(site->same & 7);
    const operands_numbers numbers = {how == CODE ? 4 : 8, site->low, site->high, site->base, site->same};
    if (how == DATA - 1) return operands_distances(data, size, out, skip, site, map, map, places);
    return operands_addresses(data, size, out, skip, &numbers, map, places);
}

static void check_places(const uint32_t *places, size_t count, size_t width, size_t length) {
    for (size_t i = 0; i < count; i++)
        if (places[i] + width > length) abort();
}

/* A table of which the part that is predicted lacks some bytes on either side. */
static void try_table(int how, const uint8_t *records, size_t size, uint8_t *out, const int64_t *numbers, const operands_map *map) {
    size_t before = (size_t)(numbers[0] & 31), after = (size_t)(numbers[1] & 31), most = 4 * (size / 5 + 1);
    if (size < before + after) return;
    uint32_t *words = malloc(most * sizeof *words), *longs = malloc(most * sizeof *longs);
    if (!words || !longs) abort();
    operands_records r = {records, size, out + before, size - before - after, before, words, 0, longs, 0};
    const operands_moves moves = {*map, *map, *map};
    operands_frames frames = {.place = numbers[0] >> 16, .left = (int64_t)size - FRAME, .ahead = numbers[2] >> 2,
                              .difference = numbers[3], .with_sizes = 1};
    switch (how) {
    case DATA: operands_symbols(&r, numbers[2] >> 2, &moves, 1); break;
    case DATA + 1: operands_relocations(&r, map); break;
    default:
        while (operands_predict_frames(&r, &frames, &moves)) frames.answer = frames.asked & 1;
    }
    if (r.words_count > most || r.longs_count > most) abort();
    check_places(words, r.words_count, 4, r.out_size);
    check_places(longs, r.longs_count, 8, r.out_size);
    free(words);
    free(longs);
}

/* Code in two stretches, and bytes that are none between them. */
static size_t try_code(int how, const uint8_t *code, size_t length, uint8_t *out, const int64_t *numbers,
                       const operands_map *map, uint32_t *places) {
    size_t first = (size_t)(numbers[0] & 63), between = (size_t)(numbers[1] & 7);
    if (length < first + between) return 0;
    const operands_site sites[] = {
        {0, (int64_t)first, numbers[0], numbers[1], numbers[2], numbers[3]},
        {(int64_t)(first + between), (int64_t)length, numbers[2], numbers[1], numbers[0], numbers[3] >> 3}};
    operands_part p = {code, length, out, places, 0};
    if (how < X86 ? operands_predict(&p, how, sites, 2, map) : operands_predict_aarch64(&p, sites, 2, map)) abort();
    const operands_site swapped[] = {sites[1], sites[0]}, beyond = {0, (int64_t)length + 1, 0, 0, 0, 0};
    if (first && !operands_predict(&p, 0, swapped, 2, map)) abort();
    if (!operands_predict_aarch64(&p, &beyond, 1, map)) abort();
    for (size_t i = 1; how < X86 && i < p.found; i++)
        if (places[i] < places[i - 1] + 4) abort();
    return p.found;
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
    const operands_site site = {0, 0, numbers[0], numbers[1], numbers[2], numbers[3]};
    const operands_map map = {starts, differences, STRETCHES};
    int how = data[0] % ALL;
    if (how >= DATA) {
        try_table(how, code, length, out, numbers, &map);
    } else {
        size_t count = how < CODE ? try_code(how, code, length, out, numbers, &map, places)
                                  : try_data(how, code, length, out, &site, &map, places);
        if (count > length / 4) abort();
        check_places(places, count, 4, length);
        try_numbers(code, length, out, places, count);
    }
    for (size_t i = 0; i < length; i++) coded_sum = (coded_sum ^ out[i]) * 16777619u;
    free(code);
    free(out);
    free(places);
    return 0;
}

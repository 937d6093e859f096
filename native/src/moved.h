/* By how much an address moved, and numbers as they are in a file. */
#ifndef IMAGEDELTA_MOVED_H
#define IMAGEDELTA_MOVED_H
#include "operands.h"

#define NOWHERE INT64_MIN

static inline int64_t difference_at(const operands_map *map, int64_t address) {
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (address < map->starts[middle]) high = middle;
        else low = middle + 1;
    }
    return map->differences[(low ? low : map->count) - 1];
}

/* Whether stretches rise, do not overlap, and are in so many bytes. */
static inline int are_apart(const operands_site *sites, size_t count, size_t size) {
    int64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        if (sites[i].start < before || sites[i].end < sites[i].start || (uint64_t)sites[i].end > size) return 0;
        before = sites[i].end;
    }
    return 1;
}

static inline uint64_t read_number(const uint8_t *at, int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static inline void write_number(uint8_t *at, uint64_t value, int width) {
    for (int i = 0; i < width; i++) at[i] = (uint8_t)(value >> (8 * i));
}
#endif

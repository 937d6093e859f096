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

static inline uint64_t read_number(const uint8_t *at, int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static inline void write_number(uint8_t *at, uint64_t value, int width) {
    for (int i = 0; i < width; i++) at[i] = (uint8_t)(value >> (8 * i));
}
#endif

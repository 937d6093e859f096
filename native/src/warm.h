/* Warm places: behind or at old bytes as they were where something changed. There a zero is not left to a run.
 *
 * What is learned within a span is used from the next on: an encoder must know which places are warm before it says how
 * many of the others are zero. */
#ifndef WARM_H
#define WARM_H
#include "span.h"

enum { WARM_BITS = 16, WARM_FROM = 64, WARMER = 64, COOLER_SHIFT = 4, WARM_WAITING = 4096 };

typedef struct {
    uint8_t warmth[2][1 << WARM_BITS];
    uint32_t waiting[WARM_WAITING], count;      /* What is learned behind this span: key, way << 30, changed << 31. */
} warm_model;

static inline uint32_t warm_key(const span *s, size_t at, int way) {
    if (at < 4 || at + 4 > s->size) return 0;
    const uint8_t *o = s->old + at;
    uint32_t three = way ? o[-1] | (uint32_t)o[2] << 8 | (uint32_t)o[3] << 16 : o[-3] | (uint32_t)o[-2] << 8 | (uint32_t)o[-1] << 16;
    return three * (way ? 0x85EBCA77u : 0x9E3779B1u) >> (32 - WARM_BITS);
}

static inline int is_warm(const warm_model *w, const span *s, size_t at) {
    return w->warmth[0][warm_key(s, at, 0)] >= WARM_FROM || w->warmth[1][warm_key(s, at, 1)] >= WARM_FROM;
}

static inline void warm_note(warm_model *w, const span *s, size_t at, int changed) {
    for (int way = 0; way < 2; way++) {
        uint32_t key = warm_key(s, at, way);
        if (w->count < WARM_WAITING && key && (changed || w->warmth[way][key]))
            w->waiting[w->count++] = key | (uint32_t)way << 30 | (uint32_t)changed << 31;
    }
}

static inline void warm_learn(warm_model *w) {
    for (uint32_t i = 0; i < w->count; i++) {
        uint8_t *warmth = &w->warmth[w->waiting[i] >> 30 & 1][w->waiting[i] & ((1 << WARM_BITS) - 1)];
        if (w->waiting[i] >> 31) *warmth = (uint8_t)(*warmth > 255 - WARMER ? 255 : *warmth + WARMER);
        else *warmth = (uint8_t)(*warmth - ((*warmth + (1 << COOLER_SHIFT) - 1) >> COOLER_SHIFT));
    }
    w->count = 0;
}
#endif

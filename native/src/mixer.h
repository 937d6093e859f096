/* One binary decision: predictions of all contexts, mixed by two sets of weights, refined, coded, learned. */
#ifndef MIXER_H
#define MIXER_H
#include "coder.h"

enum {
    CONTEXTS = 14,
    INPUTS = 32,                /* Two per context, two of matches, a constant, and a zero. */
    REFINED_BITS = 13,
    REFINED_STEPS = 33,
    WEIGHT_LIMIT = (1 << 20) - 1,
};

/* A slot: probability (16 bits), the last seven bits behind a leading one (8), how often it was seen (8).
 * A bucket holds the slots of half a byte; its first word tells which context it belongs to. */
typedef struct { uint32_t slot[16]; } bucket;

typedef struct {
    int16_t stretched[4096];
    uint16_t rate[256];
    bucket *buckets[CONTEXTS];
    uint16_t history[CONTEXTS][2][256];
    int32_t *weights[2];
    uint16_t *refined[2];
    bucket *now[CONTEXTS];
    int bits;                   /* A context has 2^bits buckets. */
    int limit;                  /* Of a slot's count. */
} mixer;

static inline int squash(int x) {
    static const int16_t curve[33] = {1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549,
        2994, 3348, 3607, 3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094};
    if (x > 2047) return 4095;
    if (x < -2047) return 0;
    int w = x & 127, i = (x >> 7) + 16;
    return (curve[i] * (128 - w) + curve[i + 1] * w + 64) >> 7;
}

static inline bucket *bucket_of(mixer *m, int context, uint32_t hash) {
    hash *= 0x9E3779B1u;
    hash ^= hash >> 15;
    hash *= 0x85EBCA77u;
    uint32_t place = hash >> (32 - m->bits), check = (hash & 0xffff) | 1;
    bucket *first = &m->buckets[context][place], *second = &m->buckets[context][place ^ 1];
    if (first->slot[0] == check) return first;
    if (second->slot[0] == check) return second;
    bucket *b = (second->slot[1] & 255) < (first->slot[1] & 255) ? second : first;
    b->slot[0] = check;
    for (int i = 1; i < 16; i++) b->slot[i] = 0x80000100u;
    return b;
}

static inline void slot_learn(const mixer *m, uint32_t *slot, int bit, uint16_t *history) {
    uint32_t count = *slot & 255, seen = *slot >> 8 & 255;
    int32_t p = (int32_t)(*slot >> 16), goal = bit * 65535;
    p += ((goal - p) * (m->rate[count] >> 2)) >> 14;
    p = p < 16 ? 16 : p > 65519 ? 65519 : p;
    *history = (uint16_t)(*history + ((goal - *history) >> 6));
    seen = seen < 128 ? seen * 2 + (uint32_t)bit : ((seen * 2 + (uint32_t)bit) & 127) | 128;
    *slot = (uint32_t)p << 16 | seen << 8 | (count < (uint32_t)m->limit ? count + 1 : count);
}

static inline int mixed(const int32_t *weights, const int32_t *inputs) {
    int32_t sum = 0;
    for (int i = 0; i < INPUTS; i++) sum += (inputs[i] * weights[i]) >> 8;
    sum >>= 8;
    return sum > 2047 ? 2047 : sum < -2047 ? -2047 : sum;
}

static inline void weights_learn(int32_t *weights, const int32_t *inputs, int error) {
    for (int i = 0; i < INPUTS; i++) {
        int32_t w = weights[i] + ((inputs[i] * error + 0x2000) >> 14);
        w = w > WEIGHT_LIMIT ? WEIGHT_LIMIT : w;
        weights[i] = w < -WEIGHT_LIMIT ? -WEIGHT_LIMIT : w;
    }
}

static inline int refined(const uint16_t *row, int x, int *near) {
    int scaled = (x + 2048) * 32, step = scaled >> 12, w = scaled & 4095;
    *near = step + (w >> 11);
    return (row[step] * (4096 - w) + row[step + 1] * w) >> 16;
}

static inline void refined_learn(uint16_t *p, int bit) {
    int goal = (bit << 16) + (bit << 7) - bit - bit;
    *p = (uint16_t)(*p + ((goal - *p) >> 7));
}

/* Code a bit. place: of the slot in each bucket. match: two inputs. sets: of weights. rows: of the refinement. */
static inline int mixer_bit(mixer *m, coder *c, int bit, int place, const int32_t match[2], const uint32_t sets[2],
                            const uint32_t rows[2]) {
    int32_t inputs[INPUTS] __attribute__((aligned(64)));
    uint16_t *histories[CONTEXTS];
    for (int i = 0; i < CONTEXTS; i++) {
        uint32_t slot = m->now[i]->slot[place], count = slot & 255;
        histories[i] = &m->history[i][count > 24][slot >> 8 & 255];
        inputs[2 * i] = count ? m->stretched[slot >> 20] : 0;
        inputs[2 * i + 1] = count ? m->stretched[*histories[i] >> 4] : 0;
    }
    inputs[2 * CONTEXTS] = match[0];
    inputs[2 * CONTEXTS + 1] = match[1];
    inputs[2 * CONTEXTS + 2] = 256;
    inputs[2 * CONTEXTS + 3] = 0;
    int32_t *w0 = m->weights[0] + (size_t)sets[0] * INPUTS, *w1 = m->weights[1] + (size_t)sets[1] * INPUTS;
    int x0 = mixed(w0, inputs), x1 = mixed(w1, inputs), x = (x0 + x1) >> 1;
    uint16_t *row0 = m->refined[0] + (size_t)rows[0] * REFINED_STEPS, *row1 = m->refined[1] + (size_t)rows[1] * REFINED_STEPS;
    int near0, near1, r0 = refined(row0, x, &near0), r1 = refined(row1, x, &near1);
    int p = (2 * squash(x) * 16 + (r0 + r1) * 16 + 32) >> 2;
    p = p < 24 ? 24 : p > 65536 - 24 ? 65536 - 24 : p;
    bit = coder_bit(c, bit, (uint32_t)p);
    weights_learn(w0, inputs, ((bit << 12) - squash(x0)) * 8);
    weights_learn(w1, inputs, ((bit << 12) - squash(x1)) * 8);
    for (int i = 0; i < CONTEXTS; i++) slot_learn(m, &m->now[i]->slot[place], bit, histories[i]);
    refined_learn(&row0[near0], bit);
    refined_learn(&row1[near1], bit);
    return bit;
}

static inline uint32_t hash2(uint32_t a, uint32_t b) {
    return (a + 0x1234567u) * 0x9E3779B1u ^ (b * 0x85EBCA77u + (b >> 13));
}

static inline uint32_t row_of(uint32_t context) { return context * 0x9E3779B1u >> (32 - REFINED_BITS); }

/* Slot of a bit in its bucket: `made` is the bits of the byte so far behind a leading one, `left` how many follow. */
static inline int place_of(uint32_t made, int left) {
    return (int)(left > 3 ? made : (1u << (3 - left)) | (made & ((1u << (3 - left)) - 1)));
}

static inline void mixer_free(mixer *m) {
    for (int i = 0; i < CONTEXTS; i++) free(m->buckets[i]);
    for (int i = 0; i < 2; i++) { free(m->weights[i]); free(m->refined[i]); }
}

/* -1 without memory; mixer_free is called all the same. */
static inline int mixer_start(mixer *m, const size_t sets[2], int bits, int limit) {
    int next = 0;
    for (int x = -2047; x <= 2047; x++)
        for (int p = squash(x); next <= p; next++) m->stretched[next] = (int16_t)x;
    while (next < 4096) m->stretched[next++] = 2047;
    for (int i = 0; i < 256; i++) { int r = 655360 / (10 * i + 13); m->rate[i] = (uint16_t)r; }
    m->bits = bits;
    m->limit = limit;
    for (int i = 0; i < CONTEXTS; i++) {
        if (!(m->buckets[i] = calloc((size_t)1 << bits, sizeof(bucket)))) return -1;
        for (int seen = 0; seen < 256; seen++) {
            int bits = 0, ones = 0;
            for (int s = seen; s > 1; s >>= 1) { bits++; ones += s & 1; }
            int p = 65535 * (ones * 2 + 1) / (bits * 2 + 2);
            m->history[i][0][seen] = m->history[i][1][seen] = (uint16_t)p;
        }
    }
    for (int k = 0; k < 2; k++) {
        size_t size = (size_t)REFINED_STEPS << REFINED_BITS;
        if (!(m->weights[k] = calloc(sets[k] * INPUTS, sizeof(int32_t)))) return -1;
        for (size_t i = 0; i < sets[k] * INPUTS; i++) m->weights[k][i] = i % INPUTS < 2 * CONTEXTS ? 6000 : 0;
        if (!(m->refined[k] = malloc(size * sizeof(uint16_t)))) return -1;
        for (size_t i = 0; i < size; i++) m->refined[k][i] = (uint16_t)(squash(((int)(i % REFINED_STEPS) - 16) * 128) * 16);
    }
    return 0;
}
#endif

/* One binary decision: predictions of all contexts, mixed by two or three sets of weights, refined, coded, learned. */
#ifndef MIXER_H
#define MIXER_H
#include "coder.h"
#include "mixing.h"

enum {
    CONTEXTS = 18,              /* At most. */
    INPUTS = 40,                /* Two per context, two of matches, a constant, and zeros. */
    SETS = 3,                   /* At most. */
    PURPOSES = 2,               /* Histories are kept apart for each. */
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
    uint16_t history[PURPOSES][CONTEXTS][2][256];
    int32_t *weights[SETS];
    uint16_t *refined[2];
    bucket *now[CONTEXTS];
    uint32_t size;              /* Buckets of a context. */
    int limit;                  /* Of a slot's count. */
} mixer;

/* What does not change from bit to bit of a model: known when it is compiled, so that loops are unrolled. */
typedef struct { int contexts, inputs, sets; } shape;

/* What a bit is predicted from, beside its contexts. */
typedef struct {
    int place;                  /* Of the slot in each bucket. */
    int purpose;
    int32_t match[2];           /* Inputs. */
    uint32_t sets[SETS], rows[2];
} situation;

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
    uint32_t place = (uint32_t)((uint64_t)hash * m->size >> 32), check = (hash & 0xffff) | 1;
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

static inline int mixed(const int32_t *weights, const int32_t *inputs, int count) {
    int32_t sum = 0;
    for (int i = 0; i < count; i++) sum += (inputs[i] * weights[i]) >> 8;
    sum >>= 8;
    return sum > 2047 ? 2047 : sum < -2047 ? -2047 : sum;
}

static inline void weights_learn(int32_t *weights, const int32_t *inputs, int count, int error) {
    for (int i = 0; i < count; i++) {
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

static inline void inputs_of(const mixer *m, shape of, const situation *at, int32_t *inputs) {
    for (int i = 0; i < of.contexts; i++) {
        uint32_t slot = m->now[i]->slot[at->place], count = slot & 255;
        uint16_t history = m->history[at->purpose][i][count > 24][slot >> 8 & 255];
        inputs[2 * i] = count ? m->stretched[slot >> 20] : 0;
        inputs[2 * i + 1] = count ? m->stretched[history >> 4] : 0;
    }
    inputs[2 * of.contexts] = at->match[0];
    inputs[2 * of.contexts + 1] = at->match[1];
    inputs[2 * of.contexts + 2] = 256;
    for (int i = 2 * of.contexts + 3; i < of.inputs; i++) inputs[i] = 0;
}

static inline void slots_learn(mixer *m, shape of, const situation *at, int bit) {
    for (int i = 0; i < of.contexts; i++) {
        uint32_t *slot = &m->now[i]->slot[at->place];
        slot_learn(m, slot, bit, &m->history[at->purpose][i][(*slot & 255) > 24][*slot >> 8 & 255]);
    }
}

static inline int mixer_bit(mixer *m, coder *c, shape of, const situation *at, int bit) {
    int32_t inputs[INPUTS] __attribute__((aligned(64)));
    inputs_of(m, of, at, inputs);
    int x[SETS], sum = 0;
    for (int k = 0; k < of.sets; k++) sum += x[k] = mixed(m->weights[k] + (size_t)at->sets[k] * (size_t)of.inputs, inputs, of.inputs);
    int mean = of.sets == 2 ? sum >> 1 : (sum * 21845) >> 16;
    uint16_t *rows[2];
    int near[2], better = 0;
    for (int k = 0; k < 2; k++) {
        rows[k] = m->refined[k] + (size_t)at->rows[k] * REFINED_STEPS;
        better += refined(rows[k], mean, &near[k]);
    }
    int p = (2 * squash(mean) * 16 + better * 16 + 32) >> 2;
    p = p < 24 ? 24 : p > 65536 - 24 ? 65536 - 24 : p;
    bit = coder_bit(c, bit, (uint32_t)p);
    for (int k = 0; k < of.sets; k++)
        weights_learn(m->weights[k] + (size_t)at->sets[k] * (size_t)of.inputs, inputs, of.inputs, ((bit << 12) - squash(x[k])) * 8);
    slots_learn(m, of, at, bit);
    for (int k = 0; k < 2; k++) refined_learn(&rows[k][near[k]], bit);
    return bit;
}

/* Look the buckets of all contexts up. */
static inline void mixer_look(mixer *m, shape of, const uint32_t *hash, uint32_t more) {
    for (int k = 0; k < of.contexts; k++) m->now[k] = bucket_of(m, k, hash[k] + more);
}

static inline uint32_t hash2(uint32_t a, uint32_t b) {
    return (a + 0x1234567u) * 0x9E3779B1u ^ (b * 0x85EBCA77u + (b >> 13));
}

static inline int32_t expectation(int known, int bit, int32_t strength) { return !known ? 0 : bit ? strength : -strength; }

static inline uint32_t row_of(uint32_t context) { return context * 0x9E3779B1u >> (32 - REFINED_BITS); }

/* Slot of a bit in its bucket: `made` is the bits of the byte so far behind a leading one, `left` how many follow. */
static inline int place_of(uint32_t made, int left) {
    return (int)(left > 3 ? made : (1u << (3 - left)) | (made & ((1u << (3 - left)) - 1)));
}

static inline void mixer_free(mixer *m) {
    for (int i = 0; i < CONTEXTS; i++) free(m->buckets[i]);
    for (int i = 0; i < SETS; i++) free(m->weights[i]);
    for (int i = 0; i < 2; i++) free(m->refined[i]);
}

static inline void tables_start(mixer *m) {
    int next = 0;
    for (int x = -2047; x <= 2047; x++)
        for (int p = squash(x); next <= p; next++) m->stretched[next] = (int16_t)x;
    while (next < 4096) m->stretched[next++] = 2047;
    for (int i = 0; i < 256; i++) { int r = 655360 / (10 * i + 13); m->rate[i] = (uint16_t)r; }
    for (int seen = 0; seen < 256; seen++) {
        int bits = 0, ones = 0;
        for (int s = seen; s > 1; s >>= 1) { bits++; ones += s & 1; }
        int p = 65535 * (ones * 2 + 1) / (bits * 2 + 2);
        for (int k = 0; k < PURPOSES * CONTEXTS * 2; k++) m->history[k / (2 * CONTEXTS)][k / 2 % CONTEXTS][k % 2][seen] = (uint16_t)p;
    }
}

/* -1 without memory; mixer_free is called all the same. sets: how many each mixes with. */
static inline int mixer_start(mixer *m, shape of, const size_t sets[SETS], uint32_t buckets, int limit) {
    tables_start(m);
    m->size = buckets;
    m->limit = limit;
    for (int i = 0; i < of.contexts; i++)
        if (!(m->buckets[i] = calloc(buckets, sizeof(bucket)))) return -1;
    for (int k = 0; k < of.sets; k++) {
        size_t inputs = (size_t)of.inputs, count = sets[k] * inputs;
        if (!(m->weights[k] = calloc(count, sizeof(int32_t)))) return -1;
        for (size_t i = 0; i < count; i++) m->weights[k][i] = i % inputs < 2 * (size_t)of.contexts ? 6000 : 0;
    }
    for (int k = 0; k < 2; k++) {
        size_t size = (size_t)REFINED_STEPS << REFINED_BITS;
        if (!(m->refined[k] = malloc(size * sizeof(uint16_t)))) return -1;
        for (size_t i = 0; i < size; i++) m->refined[k][i] = (uint16_t)(squash(((int)(i % REFINED_STEPS) - 16) * 128) * 16);
    }
    return 0;
}
#endif

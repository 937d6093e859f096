/* Residuals of numbers: whether each is 0, and its bytes. What another number for the same target left is likely again. */
#ifndef NUMBERS_H
#define NUMBERS_H
#include "mixer.h"
#include "span.h"

enum { NUMBER_BITS = 15, RESIDUAL_SETS0 = 256 * 10, RESIDUAL_SETS1 = 2048 };  /* Sets of weights of numbers follow those. */
enum { NUMBER_SETS0 = 64 + 4 * 256, NUMBER_SETS1 = 256 + 4 * 36 };
static const shape RESIDUAL_SHAPE = {14, 32, 2};

/* What was left of the last number of a target, the last of an old value, the last of a target near by. */
typedef struct {
    uint32_t by_target[1 << NUMBER_BITS], by_value[1 << NUMBER_BITS], near[1 << NUMBER_BITS];
    uint8_t target_trust[1 << NUMBER_BITS], value_trust[1 << NUMBER_BITS];
    uint32_t last, last_but_one;    /* That were not 0. */
    uint32_t quiet, changes;        /* Numbers since the last; which of the last eight were not 0. */
} number_model;

typedef struct {
    uint32_t target, value, kind, before, after, quiet, expected[2], trust[2], beside;
    uint32_t *places[3];
    uint8_t *trusts[2];
} number_context;

static inline uint32_t number_key(uint32_t v) { return v * 0x9E3779B1u >> (32 - NUMBER_BITS); }

static inline uint32_t steps(uint32_t n) {
    return n > 255 ? 14 : n > 63 ? 13 : n > 31 ? 12 : n > 15 ? 11 : n > 11 ? 9 : n > 7 ? 8 : n;
}

static inline void number_find(number_model *r, const span *s, size_t at, int wide, number_context *x) {
    x->value = old_at(s, at, 0);
    x->before = old_at(s, at, -4);
    x->after = old_at(s, at, wide ? 8 : 4) & 0xffff;
    x->target = wide ? x->value : x->value + s->place + (uint32_t)at + 4;
    x->kind = wide ? 256 : x->before >> 24;
    x->quiet = steps(r->quiet);
    uint32_t t = number_key(x->target), v = number_key(x->value ^ x->kind << 24);
    x->places[0] = &r->by_target[t];
    x->places[1] = &r->by_value[v];
    x->places[2] = &r->near[number_key((x->target >> 8) + 77777)];
    x->trusts[0] = &r->target_trust[t];
    x->trusts[1] = &r->value_trust[v];
    for (int k = 0; k < 2; k++) { x->expected[k] = *x->places[k]; x->trust[k] = *x->trusts[k]; }
    x->beside = *x->places[2];
}

static inline uint32_t at_most(uint32_t n, uint32_t most) { return n < most ? n : most; }

/* made: a hash of the bytes so far. */
static inline void number_hashes(const number_model *r, const number_context *x, uint32_t made, uint32_t *hash) {
    uint32_t t = x->target, v = x->value, kind = x->kind * 512;
    const uint32_t pairs[14][2] = {
        {t, made + 1}, {t >> 5, made + 2}, {t >> 9, made + 3}, {t >> 13, made + 4},
        {v, made + kind + 5}, {v >> 7, made + kind + 6}, {v >> 14, made + kind + 7},
        {r->last, made + kind + 8}, {r->last, made + r->last_but_one * 0x2F0B4C47u + x->quiet},
        {x->before >> 8, made + 10}, {x->quiet | x->kind << 8, made + 11}, {x->before, made + x->after * 1024 + 12},
        {r->changes, made + kind + 13}, {x->expected[0], made + x->beside * 0x2F0B4C47u + at_most(x->trust[0], 3)}};
    for (int k = 0; k < 14; k++) hash[k] = hash2(pairs[k][0], pairs[k][1]);
}

static inline int32_t trusted(uint32_t trust) { return 64 + 60 * (int32_t)at_most(trust, 12); }

static inline int number_is_zero(mixer *m, coder *c, const number_context *x, int zero) {
    uint32_t t = at_most(x->trust[0], 3) * 2 + (x->expected[0] != 0), v = at_most(x->trust[1], 3) * 2 + (x->expected[1] != 0);
    situation at = {1, 1, {0, 0}, {RESIDUAL_SETS0 + t + 8 * v, RESIDUAL_SETS1 + x->quiet + 16 * t},
                    {row_of(t | v << 4 | 1u << 22), row_of(x->kind | x->quiet << 9 | 1u << 23)}};
    for (int k = 0; k < 2; k++) at.match[k] = expectation(x->trust[k] > 0, !x->expected[k], trusted(x->trust[k]));
    return mixer_bit(m, c, RESIDUAL_SHAPE, &at, zero);
}

/* Byte `n` of a number; the bytes before it made `value`. */
static inline uint8_t number_byte(const number_model *r, mixer *m, coder *c, const number_context *x, const uint32_t *hash, uint32_t n,
                                  uint32_t value, uint8_t byte) {
    uint32_t expected[2], made = 1, place = at_most(n, 3);
    for (int k = 0; k < 2; k++) {
        uint32_t whole = x->expected[k], low = n < 4 ? (1u << 8 * n) - 1 : 0xffffffffu;
        int holds = x->trust[k] && (whole & low) == (value & low);
        expected[k] = !holds ? 512 : n < 4 ? whole >> 8 * n & 255 : whole >> 31 ? 255 : 0;
    }
    for (int left = 7; left >= 0; left--) {
        if (left == 7 || left == 3) mixer_look(m, RESIDUAL_SHAPE, hash, left == 7 ? 0x55555u : 0x77777u * made);
        situation at = {place_of(made, left), 1, {0, 0}, {0, 0}, {0, 0}};
        uint32_t near[2];
        for (int k = 0; k < 2; k++) {
            int known = expected[k] < 256 && (expected[k] | 256) >> (left + 1) == made, bit = (int)(expected[k] >> left & 1);
            near[k] = known ? 1 + (uint32_t)bit : 0;
            at.match[k] = expectation(known, bit, trusted(x->trust[k]));
        }
        at.sets[0] = RESIDUAL_SETS0 + 64 + made + place * 256;
        at.sets[1] = RESIDUAL_SETS1 + 256 + (place * 3 + near[0]) * 3 + near[1] + 36 * at_most(x->trust[0], 3);
        at.rows[0] = row_of(made | place << 8 | near[0] << 12 | 3u << 22);
        at.rows[1] = row_of(made | place << 8 | (r->last >> 8 * place & 255) << 12 | 5u << 22);
        made = made * 2 + (uint32_t)mixer_bit(m, c, RESIDUAL_SHAPE, &at, byte >> left & 1);
    }
    return (uint8_t)made;
}

static inline void number_learn(number_model *r, const number_context *x, uint32_t value) {
    for (int k = 0; k < 2; k++)
        *x->trusts[k] = (uint8_t)(x->expected[k] != value ? 1 : at_most(x->trust[k] + 1, 255));
    for (int k = 0; k < 3; k++) *x->places[k] = value;
    r->changes = (r->changes << 1 | (value != 0)) & 255;
    if (!value) { r->quiet++; return; }
    r->last_but_one = r->last;
    r->last = value;
    r->quiet = 0;
}

/* Code the number at `at`; data is not read when decoding. */
static inline void number_code(number_model *r, mixer *m, coder *c, uint8_t *data, const span *s, size_t at, size_t width) {
    static const uint8_t zeros[8];
    number_context x;
    uint32_t hash[CONTEXTS], made = 0x1000193u, value = 0;
    number_find(r, s, at, width == 8, &x);
    number_hashes(r, &x, 0, hash);
    mixer_look(m, RESIDUAL_SHAPE, hash, 0);
    int zero = number_is_zero(m, c, &x, c->decoding ? 0 : !memcmp(data + at, zeros, width));
    if (zero && c->decoding) memset(data + at, 0, width);
    for (uint32_t n = 0; n < width && !zero; n++) {
        number_hashes(r, &x, made, hash);
        uint8_t byte = number_byte(r, m, c, &x, hash, n, value, c->decoding ? 0 : data[at + n]);
        if (c->decoding) data[at + n] = byte;
        if (n < 4) value |= (uint32_t)byte << 8 * n;
        made = (made + byte + 1) * 0x2F0B4C47u;
    }
    number_learn(r, &x, value);
}
#endif

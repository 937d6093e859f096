/* Residual bytes beside old ones. Behind RUN zeros in a row it is coded how many more follow. */
#ifndef RESIDUAL_H
#define RESIDUAL_H
#include "mixer.h"

enum { RUN = 32, RESIDUAL_HISTORY = 1 << 20, RESIDUAL_HASH = 16 };

typedef struct {
    uint16_t lengths[2][2048], digits[65536];   /* Bits of the lengths of runs. */
    uint32_t last_bits, before_bits;            /* Digits of the last two. */
    uint32_t left;                              /* Zeros of the run that are still due. */
    uint32_t row, since, value, value_before;   /* Zeros in a row; since the last value; the last two values. */
    uint8_t past[RESIDUAL_HISTORY];             /* Coded residual bytes, without what runs left out. */
    uint32_t count;
    uint32_t by_residual[1 << RESIDUAL_HASH], by_old[1 << RESIDUAL_HASH];
    uint8_t trust[1 << RESIDUAL_HASH];
    uint32_t match, length;
} residual_model;

static inline uint32_t past_of(const residual_model *r, uint32_t back) {
    return r->past[(r->count - back) & (RESIDUAL_HISTORY - 1)];
}

static inline uint32_t old_at(const uint8_t *old, size_t size, size_t i, int from) {
    uint32_t four = 0;
    for (int k = 0; k < 4; k++) {
        size_t at = i + (size_t)(from + k);     /* wraps below 0, and is not below size then */
        if (at < size) four |= (uint32_t)old[at] << (8 * k);
    }
    return four;
}

static inline int run_bit(coder *c, int bit, uint16_t *a, uint16_t *b) {
    uint32_t p = ((uint32_t)*a + *b) >> 1;
    p = p < 64 ? 64 : p > 65472 ? 65472 : p;
    bit = coder_bit(c, bit, p);
    if (bit) { *a = (uint16_t)(*a + ((65535 - *a) >> 4)); *b = (uint16_t)(*b + ((65535 - *b) >> 5)); }
    else { *a = (uint16_t)(*a - (*a >> 4)); *b = (uint16_t)(*b - (*b >> 5)); }
    return bit;
}

/* A number below 2^31 - 1: the digits of itself plus one in unary, then those digits but the first. */
static inline uint32_t run_length(residual_model *r, coder *c, uint32_t zeros) {
    uint32_t n = zeros + 1, bits = 0, made = 1, i = 0;
    if (!c->decoding) while (n >> (bits + 1)) bits++;
    uint16_t *a = r->lengths[0] + r->last_bits * 32, *b = r->lengths[1] + ((r->last_bits * 8 + (r->before_bits >> 2)) & 63) * 32;
    while (i < 30 && run_bit(c, i < bits, a + i, b + i)) i++;
    bits = i;
    for (int k = (int)bits - 1; k >= 0; k--) {
        uint32_t at = ((bits * 32 + (uint32_t)k) * 64 + ((int)bits - k <= 6 ? made & 63 : 0)) & 65535;
        made = made * 2 + (uint32_t)run_bit(c, (int)(n >> k & 1), &r->digits[at], &r->digits[at]);
    }
    r->before_bits = r->last_bits;
    r->last_bits = bits;
    return made - 1;
}

typedef struct { uint32_t hash[CONTEXTS], expected[2], old, before, row, last, strength, key; } residual_context;

static inline void residual_find(residual_model *r, const uint8_t *old, size_t size, size_t i, residual_context *x) {
    uint32_t d1 = past_of(r, 1), four = d1 | past_of(r, 2) << 8 | past_of(r, 3) << 16 | past_of(r, 4) << 24;
    uint32_t far = past_of(r, 5) | past_of(r, 6) << 8 | past_of(r, 7) << 16 | past_of(r, 8) << 24;
    uint32_t next = old_at(old, size, i, 0), before = old_at(old, size, i, -4);
    uint32_t ob = next & 255, s = r->since;
    s = s > 4095 ? 19 : s > 255 ? 18 : s > 63 ? 17 : s > 31 ? 16 : s > 15 ? 15 : s;
    if (r->length && r->past[r->match & (RESIDUAL_HISTORY - 1)] == d1) { r->match++; if (r->length < 255) r->length++; }
    else r->length = 0;
    uint32_t key = (four * 0x9E3779B1u ^ far * 0x85EBCA77u ^ before * 0x2545F491u) >> (32 - RESIDUAL_HASH);
    if (!r->length) {
        uint32_t m = r->by_residual[key], n = 0;
        if (m && r->count - m < RESIDUAL_HISTORY - 64) {
            while (n < 32 && r->past[(m - 1 - n) & (RESIDUAL_HISTORY - 1)] == past_of(r, n + 1)) n++;
            r->match = m;
        }
        r->length = n;
    }
    r->by_residual[key] = r->count;
    x->key = (next * 0x9E3779B1u ^ before * 0x85EBCA77u) >> (32 - RESIDUAL_HASH);
    uint32_t m = r->by_old[x->key];
    x->expected[1] = m && r->count - m < RESIDUAL_HISTORY ? r->past[m & (RESIDUAL_HISTORY - 1)] : 256;
    r->by_old[x->key] = r->count;
    x->expected[0] = r->length ? r->past[r->match & (RESIDUAL_HISTORY - 1)] : 256;
    uint32_t e1 = x->expected[0], e2 = x->expected[1], trust = r->trust[x->key];
    x->strength = r->length > 15 ? 3 : r->length > 5 ? 2 : r->length ? 1 : 0;
    x->old = ob; x->before = before; x->row = s; x->last = d1;
    uint32_t eight = past_of(r, 8) | old_at(old, size, i, -8) << 24;
    const uint32_t pairs[CONTEXTS][2] = {
        {s, d1}, {d1 | past_of(r, 2) << 8, ob}, {four, 77}, {next, d1 | 1 << 9},
        {ob | before >> 24 << 8 | (next >> 8 & 255) << 16, d1 | 2 << 9},
        {r->value | r->value_before << 8, s | 3 << 9}, {before, ob | d1 << 8 | 4u << 17},
        {ob | (before >> 16) << 8, s | 6 << 9}, {(next & 0xffffff) | 7u << 24, before >> 24 | d1 << 8 | 6u << 17},
        {four ^ far * 7u, 9u << 17}, {e1 | x->strength << 9, s | d1 << 8 | 1u << 20},
        {e2 | (trust > 3 ? 3 : trust) << 9, s | 2u << 20 | d1 << 8}, {eight, ob | s << 8 | 3u << 20},
        {past_of(r, 24) | past_of(r, 23) << 8 | r->value << 16, s | 4u << 20}};
    for (int k = 0; k < CONTEXTS; k++) x->hash[k] = hash2(pairs[k][0], pairs[k][1]);
}

static inline int32_t expectation(int known, int bit, int32_t strength) { return !known ? 0 : bit ? strength : -strength; }

static inline uint8_t residual_byte(residual_model *r, mixer *m, coder *c, const residual_context *x, uint8_t byte) {
    uint32_t e1 = x->expected[0], e2 = x->expected[1], trust = r->trust[x->key];
    int32_t s1 = r->length > 31 ? 600 : (int32_t)r->length * 16 + 80, s2 = 80 + (int32_t)(trust > 7 ? 7 : trust) * 50;
    for (int k = 0; k < CONTEXTS; k++) m->now[k] = bucket_of(m, k, x->hash[k]);
    int32_t match[2] = {expectation(e1 < 256, e1 == 0, s1), expectation(e2 < 256, e2 == 0, s2)};
    uint32_t sets[2] = {x->row, x->old | x->strength << 8};
    uint32_t rows[2] = {row_of(x->row | (e2 == 0 ? 32u : e2 < 256 ? 64u : 0u) | x->strength << 7),
                        row_of(x->old | x->before >> 24 << 8 | 1u << 20)};
    if (mixer_bit(m, c, byte == 0, 1, match, sets, rows)) return 0;
    uint32_t made = 1;
    for (int left = 7; left >= 0; left--) {
        if (left == 7 || left == 3)
            for (int k = 0; k < CONTEXTS; k++)
                m->now[k] = bucket_of(m, k, x->hash[k] + (left == 7 ? 0x55555u : 0x77777u * made));
        int f1 = e1 < 256 && (e1 | 256) >> (left + 1) == made, f2 = e2 < 256 && (e2 | 256) >> (left + 1) == made;
        int b1 = (int)(e1 >> left & 1), b2 = (int)(e2 >> left & 1);
        match[0] = expectation(f1, b1, s1);
        match[1] = expectation(f2, b2, s2);
        sets[0] = made + 256 * (x->row < 16 ? x->row / 2 : 8) + 256;
        sets[1] = 1024 + (made | (f1 ? 256u : 0u) | (f2 ? 512u : 0u));
        rows[0] = row_of(256 + made + (f2 ? (b2 ? 256u : 512u) : 0u) + (f1 ? 1024u : 0u));
        rows[1] = row_of(made | x->old << 8 | 1u << 21);
        made = made * 2 + (uint32_t)mixer_bit(m, c, byte >> left & 1, place_of(made, left), match, sets, rows);
    }
    return (uint8_t)made;
}

/* Code data[at..size) beside old[0..size); return where it stopped. Encoder and decoder run the same steps. */
static inline size_t residual_span(residual_model *r, mixer *m, coder *c, uint8_t *data, const uint8_t *old, size_t at,
                                   size_t size, uint32_t (*zeros_from)(const void *, size_t), const void *all) {
    while (at < size) {
        if (r->left) {
            size_t zeros = r->left < size - at ? r->left : size - at;
            if (c->decoding) memset(data + at, 0, zeros);
            at += zeros;
            r->left -= (uint32_t)zeros;
            continue;
        }
        if (c->decoding && coder_is_low(c)) break;
        if (r->row == RUN) {
            r->left = run_length(r, c, c->decoding ? 0 : zeros_from(all, at));
            r->since = r->since > 4095 || r->left > 4095 ? 4096 : r->since + r->left;
            r->row = 0;
            r->length = 0;
            if (r->left) continue;
        }
        residual_context x;
        residual_find(r, old, size, at, &x);
        uint8_t byte = residual_byte(r, m, c, &x, c->decoding ? 0 : data[at]);
        if (c->decoding) data[at] = byte;
        at++;
        r->past[r->count & (RESIDUAL_HISTORY - 1)] = byte;
        r->count++;
        if (byte) { r->value_before = r->value; r->value = byte; r->since = r->row = 0; }
        else { r->since += r->since < 4096; r->row++; }
        uint8_t *trust = &r->trust[x.key];
        *trust = (uint8_t)(x.expected[1] == byte ? *trust + (*trust < 255) : 0);
    }
    return at;
}
#endif

/* Residual bytes beside old ones: block by block, numbers as such, and what is between them byte by byte.
 *
 * Behind RUN zeros in a row it is coded how many more follow, warm places not counted: a byte there is coded by itself. */
#ifndef RESIDUAL_H
#define RESIDUAL_H
#include "numbers.h"
#include "warm.h"
#include "zeros.h"

enum { RESIDUAL_HISTORY = 1 << 19, RESIDUAL_HASH = 16, AFTERMATH = 3 };

typedef struct {
    zeros_model zeros;
    warm_model warm;
    number_model numbers;
    span now;
    size_t number, block_end;                   /* In this span: the next number; where the block ends that is coded. */
    int running;                                /* A run goes on, also while it leaves a place to be coded by itself. */
    uint32_t left;                              /* Zeros of the run that are still due. */
    uint32_t after;                             /* Bytes that are warm because of the value before them. */
    uint32_t row, since, value, value_before;   /* Zeros in a row; since the last value; the last two values. */
    uint8_t past[RESIDUAL_HISTORY];             /* Coded residual bytes, without what was left out, or in numbers. */
    uint32_t count;
    uint32_t by_residual[1 << RESIDUAL_HASH], by_old[1 << RESIDUAL_HASH];
    uint8_t trust[1 << RESIDUAL_HASH];
    uint32_t match, length;
} residual_model;

static inline uint32_t past_of(const residual_model *r, uint32_t back) {
    return r->past[(r->count - back) & (RESIDUAL_HISTORY - 1)];
}

typedef struct { uint32_t hash[CONTEXTS], expected[2], old, before, row, last, strength, key; } residual_context;

static inline void residual_find(residual_model *r, size_t i, residual_context *x) {
    uint32_t d1 = past_of(r, 1), four = d1 | past_of(r, 2) << 8 | past_of(r, 3) << 16 | past_of(r, 4) << 24;
    uint32_t far = past_of(r, 5) | past_of(r, 6) << 8 | past_of(r, 7) << 16 | past_of(r, 8) << 24;
    uint32_t next = old_at(&r->now, i, 0), before = old_at(&r->now, i, -4);
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
    uint32_t eight = past_of(r, 8) | old_at(&r->now, i, -8) << 24;
    const uint32_t pairs[14][2] = {
        {s, d1}, {d1 | past_of(r, 2) << 8, ob}, {four, 77}, {next, d1 | 1 << 9},
        {ob | before >> 24 << 8 | (next >> 8 & 255) << 16, d1 | 2 << 9},
        {r->value | r->value_before << 8, s | 3 << 9}, {before, ob | d1 << 8 | 4u << 17},
        {ob | (before >> 16) << 8, s | 6 << 9}, {(next & 0xffffff) | 7u << 24, before >> 24 | d1 << 8 | 6u << 17},
        {four ^ far * 7u, 9u << 17}, {e1 | x->strength << 9, s | d1 << 8 | 1u << 20},
        {e2 | (trust > 3 ? 3 : trust) << 9, s | 2u << 20 | d1 << 8}, {eight, ob | s << 8 | 3u << 20},
        {past_of(r, 24) | past_of(r, 23) << 8 | r->value << 16, s | 4u << 20}};
    for (int k = 0; k < 14; k++) x->hash[k] = hash2(pairs[k][0], pairs[k][1]);
}

static inline uint8_t residual_byte(residual_model *r, mixer *m, coder *c, const residual_context *x, uint8_t byte) {
    uint32_t e1 = x->expected[0], e2 = x->expected[1], trust = r->trust[x->key], made = 1;
    int32_t s1 = r->length > 31 ? 600 : (int32_t)r->length * 16 + 80, s2 = 80 + (int32_t)(trust > 7 ? 7 : trust) * 50;
    mixer_look(m, RESIDUAL_SHAPE, x->hash, 0);
    situation flag = {1, 0, {expectation(e1 < 256, e1 == 0, s1), expectation(e2 < 256, e2 == 0, s2)},
                      {x->row, x->old | x->strength << 8},
                      {row_of(x->row | (e2 == 0 ? 32u : e2 < 256 ? 64u : 0u) | x->strength << 7),
                       row_of(x->old | x->before >> 24 << 8 | 1u << 20)}};
    if (mixer_bit(m, c, RESIDUAL_SHAPE, &flag, byte == 0)) return 0;
    for (int left = 7; left >= 0; left--) {
        if (left == 7 || left == 3) mixer_look(m, RESIDUAL_SHAPE, x->hash, left == 7 ? 0x55555u : 0x77777u * made);
        int f1 = e1 < 256 && (e1 | 256) >> (left + 1) == made, f2 = e2 < 256 && (e2 | 256) >> (left + 1) == made;
        int b1 = (int)(e1 >> left & 1), b2 = (int)(e2 >> left & 1);
        situation at = {place_of(made, left), 0, {expectation(f1, b1, s1), expectation(f2, b2, s2)},
                        {made + 256 * (x->row < 16 ? x->row / 2 : 8) + 256, 1024 + (made | (f1 ? 256u : 0u) | (f2 ? 512u : 0u))},
                        {row_of(256 + made + (f2 ? (b2 ? 256u : 512u) : 0u) + (f1 ? 1024u : 0u)),
                         row_of(made | x->old << 8 | 1u << 21)}};
        made = made * 2 + (uint32_t)mixer_bit(m, c, RESIDUAL_SHAPE, &at, byte >> left & 1);
    }
    return (uint8_t)made;
}

static inline void residual_learn(residual_model *r, const residual_context *x, size_t at, uint8_t byte) {
    warm_note(&r->warm, &r->now, at, byte != 0);
    r->after = byte ? AFTERMATH : r->after ? r->after - 1 : 0;
    r->past[r->count & (RESIDUAL_HISTORY - 1)] = byte;
    r->count++;
    if (byte) { r->value_before = r->value; r->value = byte; r->since = r->row = 0; }
    else { r->since += r->since < 4096; r->row++; }
    uint8_t *trust = &r->trust[x->key];
    *trust = (uint8_t)(x->expected[1] == byte ? *trust + (*trust < 255) : 0);
}

static inline int all_zero(const uint8_t *data, size_t size) {
    return !size || (!data[0] && !memcmp(data, data + 1, size - 1));
}

/* Encoding: how many places from `at` on are zero and not warm, before one that is neither, or the end of the span. */
static inline uint32_t zeros_from(const residual_model *r, const uint8_t *data, size_t at) {
    const span *s = &r->now;
    size_t block_end = r->block_end, number = r->number;
    uint32_t zeros = 0, after = r->after;
    while (at < s->size) {
        if (at == block_end) {
            block_end = s->size - at < BLOCK ? s->size : at + BLOCK;
            if (all_zero(data + at, block_end - at)) { at = block_end; continue; }
        }
        number = next_number(s, number, at, block_end);
        if (number_before(s, number, block_end) == at) { at += number_width(s, number); continue; }
        if (after || is_warm(&r->warm, s, at)) after = data[at] ? AFTERMATH : after ? after - 1 : 0;
        else if (data[at]) break;
        else zeros++;
        at++;
    }
    return zeros;
}

/* Whether a run makes the byte at `at`; otherwise it has to be coded by itself. */
static inline int run_takes(residual_model *r, coder *c, const uint8_t *data, size_t at) {
    if (r->after || is_warm(&r->warm, &r->now, at)) return 0;
    if (!r->running && r->row >= RUN) {
        r->left = run_length(&r->zeros, c, c->decoding ? 0 : zeros_from(r, data, at));
        r->running = 1;
        r->length = 0;
    }
    if (r->running && r->left) { r->left--; r->since += r->since < 4096; return 1; }
    if (r->running) r->running = 0, r->row = 0;
    return 0;
}

/* Code the bytes between numbers; return where it stopped. */
static inline size_t residual_bytes(residual_model *r, mixer *m, coder *c, uint8_t *data, size_t at, size_t end) {
    while (at < end && !(c->decoding && coder_is_low(c))) {
        uint8_t byte = 0;
        if (!run_takes(r, c, data, at)) {
            residual_context x;
            residual_find(r, at, &x);
            byte = residual_byte(r, m, c, &x, c->decoding ? 0 : data[at]);
            residual_learn(r, &x, at, byte);
        }
        if (c->decoding) data[at] = byte;
        at++;
    }
    return at;
}

static inline void residual_begin(residual_model *r, const span *s) {
    r->now = *s;
    r->number = r->block_end = 0;
    warm_learn(&r->warm);
}

/* Code data[at..); return where it stopped. Encoder and decoder run the same steps. */
static inline size_t residual_span(residual_model *r, mixer *m, coder *c, uint8_t *data, size_t at) {
    const span *s = &r->now;
    while (at < s->size && !(c->decoding && coder_is_low(c))) {
        if (at == r->block_end) {
            size_t size = s->size - at < BLOCK ? s->size - at : BLOCK;
            r->block_end = at + size;
            if (zero_block(&r->zeros, c, size, c->decoding ? 0 : all_zero(data + at, size))) {
                if (c->decoding) memset(data + at, 0, size);
                at += size;
                continue;
            }
        }
        r->number = next_number(s, r->number, at, r->block_end);
        size_t end = number_before(s, r->number, r->block_end);
        if (at < end) { at = residual_bytes(r, m, c, data, at, end); continue; }
        size_t width = number_width(s, r->number);
        number_code(&r->numbers, m, c, data, s, at, width);
        at += width;
    }
    return at;
}
#endif

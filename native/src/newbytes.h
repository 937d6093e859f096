/* New bytes: orders 0 to 6, words, sparse contexts, records, what the instruction so far is, and a long match. */
#ifndef NEWBYTES_H
#define NEWBYTES_H
#include "instruction.h"
#include "mixer.h"

enum { BYTES_HISTORY = 1 << 20, BYTES_HASH = 17 };
static const shape BYTES_SHAPE = {18, 40, 3};

typedef struct {
    uint8_t past[BYTES_HISTORY];
    uint32_t count, word;
    instruction code;
    uint32_t places[1 << BYTES_HASH];
    uint32_t match, length;
} bytes_model;

static inline uint32_t byte_back(const bytes_model *b, uint32_t back) {
    return b->past[(b->count - back) & (BYTES_HISTORY - 1)];
}

/* The contexts of the next byte; returns the byte that the match expects, 256 without one. */
static inline uint32_t bytes_find(bytes_model *b, uint32_t hash[CONTEXTS]) {
    uint32_t c1 = byte_back(b, 1), c2 = byte_back(b, 2), c4 = byte_back(b, 4);
    uint32_t four = c4 | byte_back(b, 3) << 8 | c2 << 16 | c1 << 24;
    uint32_t far = byte_back(b, 8) | byte_back(b, 7) << 8 | byte_back(b, 6) << 16 | byte_back(b, 5) << 24;
    uint32_t letter = c1 | 32;
    b->word = letter >= 'a' && letter <= 'z' ? (b->word + c1) * 0x2F0B4C47u : 0;
    if (b->length && b->past[b->match & (BYTES_HISTORY - 1)] == c1) { b->match++; if (b->length < 400) b->length++; }
    else b->length = 0;
    uint32_t key = four * 0x9E3779B1u >> (32 - BYTES_HASH);
    if (!b->length) {
        uint32_t m = b->places[key], n = 0;
        if (m && b->count - m < BYTES_HISTORY - 64) {
            while (n < 60 && b->past[(m - 1 - n) & (BYTES_HISTORY - 1)] == byte_back(b, n + 1)) n++;
            b->match = m;
        }
        b->length = n;
    }
    b->places[key] = b->count;
    instruction_next(&b->code, (uint8_t)c1);
    const instruction *x = &b->code;
    uint32_t state = instruction_state(x);
    uint32_t expected = b->length ? b->past[b->match & (BYTES_HISTORY - 1)] : 256;
    uint32_t strength = b->length > 31 ? 3 : b->length > 15 ? 2 : b->length ? 1 : 0, i = b->count;
    const uint32_t pairs[CONTEXTS][2] = {
        {c1, 0}, {four >> 16, 1 << 9}, {four >> 8, 2 << 9}, {four, 3 << 9}, {byte_back(b, 6) | c1 << 8 | byte_back(b, 12) << 16, 4u << 17},
        {four, far >> 16 | 5u << 17}, {b->word, c1 | 7u << 17}, {four & 0xff00ff00u, 8u << 17},
        {four & 0x00ffff00u, 9u << 17}, {(i & 3) | c1 << 8 | c4 << 16, 11u << 17},
        {byte_back(b, 8) | c4 << 8 | (i & 7) << 16, 12u << 17}, {expected | strength << 9, c1 | 14u << 17},
        {x->so_far, 15u << 17}, {x->so_far, x->before * 9 + 16}, {x->so_far, x->before ^ x->older * 0x2F0B4C47u},
        {x->opcode | (uint32_t)x->map << 8 | (uint32_t)x->modrm << 16 | 11u << 24, state | (state > 4 ? 0 : x->before << 8)},
        {state | c1 << 8 | 15u << 17, x->opcode | (uint32_t)x->map << 8}, {x->before, state | x->older << 8}};
    for (int k = 0; k < CONTEXTS; k++) hash[k] = hash2(pairs[k][0], pairs[k][1]);
    return expected;
}

static inline uint8_t bytes_byte(bytes_model *b, mixer *m, coder *c, uint8_t byte) {
    uint32_t hash[CONTEXTS], expected = bytes_find(b, hash), made = 1;
    uint32_t c1 = byte_back(b, 1), c2 = byte_back(b, 2);
    for (int left = 7; left >= 0; left--) {
        if (left == 7 || left == 3) mixer_look(m, BYTES_SHAPE, hash, left == 7 ? 0 : 0x77777u * made);
        int known = expected < 256 && (expected | 256) >> (left + 1) == made, e = (int)(expected >> left & 1);
        uint32_t strength = !known ? 0 : b->length > 31 ? 3 : b->length > 15 ? 2 : 1;
        int32_t s = b->length > 31 ? 512 + (int32_t)b->length : (int32_t)b->length * 20;
        situation at = {place_of(made, left), 0, {expectation(known, e, s), expectation(known, e, 256)},
                        {made | strength << 8, c1, instruction_state(&b->code) | (uint32_t)b->code.opcode << 4},
                        {row_of(made | c1 << 8), row_of(made | (c1 << 8 | c2) << 8 | 1u << 25)}};
        int bit = mixer_bit(m, c, BYTES_SHAPE, &at, byte >> left & 1);
        if (known && bit != e) { expected = 256; b->length = 0; }
        made = made * 2 + (uint32_t)bit;
    }
    b->past[b->count & (BYTES_HISTORY - 1)] = (uint8_t)made;
    b->count++;
    return (uint8_t)made;
}
#endif

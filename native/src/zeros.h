/* Zeros that are left out: whole blocks, and runs of those that were not to be expected to be anything else. */
#ifndef ZEROS_H
#define ZEROS_H
#include "coder.h"

enum { RUN = 32, BLOCK = 4096 };

typedef struct {
    uint16_t lengths[2][2048], digits[65536];   /* Bits of the lengths of runs. */
    uint32_t last_bits, before_bits;            /* Digits of the last two. */
    uint16_t blocks[32];                        /* Bits of whether blocks are all zero. */
    uint32_t zero_blocks;                       /* The last three. */
} zeros_model;

static inline int run_bit(coder *c, int bit, uint16_t *a, uint16_t *b) {
    uint32_t p = ((uint32_t)*a + *b) >> 1;
    p = p < 64 ? 64 : p > 65472 ? 65472 : p;
    bit = coder_bit(c, bit, p);
    if (bit) { *a = (uint16_t)(*a + ((65535 - *a) >> 4)); *b = (uint16_t)(*b + ((65535 - *b) >> 5)); }
    else { *a = (uint16_t)(*a - (*a >> 4)); *b = (uint16_t)(*b - (*b >> 5)); }
    return bit;
}

/* A number below 2^31 - 1: the digits of itself plus one in unary, then those digits but the first. */
static inline uint32_t run_length(zeros_model *z, coder *c, uint32_t zeros) {
    uint32_t n = zeros + 1, bits = 0, made = 1, i = 0;
    if (!c->decoding) while (n >> (bits + 1)) bits++;
    uint16_t *a = z->lengths[0] + z->last_bits * 32, *b = z->lengths[1] + ((z->last_bits * 8 + (z->before_bits >> 2)) & 63) * 32;
    while (i < 30 && run_bit(c, i < bits, a + i, b + i)) i++;
    bits = i;
    for (int k = (int)bits - 1; k >= 0; k--) {
        uint32_t at = ((bits * 32 + (uint32_t)k) * 64 + ((int)bits - k <= 6 ? made & 63 : 0)) & 65535;
        made = made * 2 + (uint32_t)run_bit(c, (int)(n >> k & 1), &z->digits[at], &z->digits[at]);
    }
    z->before_bits = z->last_bits;
    z->last_bits = bits;
    return made - 1;
}

/* Whether a block of so many bytes is all zero. */
static inline int zero_block(zeros_model *z, coder *c, size_t size, int zero) {
    uint32_t class = size < 32 ? 0 : size < 256 ? 1 : size < BLOCK ? 2 : 3;
    uint16_t *counter = &z->blocks[class * 8 + z->zero_blocks];
    zero = run_bit(c, zero, counter, counter);
    z->zero_blocks = (z->zero_blocks * 2 + (uint32_t)zero) & 7;
    return zero;
}

static inline void zeros_start(zeros_model *z) {
    for (int i = 0; i < 2048; i++) z->lengths[0][i] = z->lengths[1][i] = 32768;
    for (int i = 0; i < 65536; i++) z->digits[i] = 32768;
    for (int i = 0; i < 32; i++) z->blocks[i] = 32768;
}
#endif

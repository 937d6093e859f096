/* Binary arithmetic coder, carryless, of 32 bits; probabilities have 16. */
#ifndef CODER_H
#define CODER_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FEED_BYTES = 1 << 16, RESERVE = 1 << 10 };  /* One byte of data takes fewer coded bytes than RESERVE. */

typedef struct {
    uint32_t low, high, value;
    int decoding, last, started, failed;
    size_t beyond;              /* Bytes read behind the end. */
    uint8_t *bytes;             /* Coded bytes: those to be taken, or those that were fed. */
    size_t at, size, room;
} coder;

static inline void coder_put(coder *c, uint8_t byte) {
    if (c->size == c->room) {
        size_t room = c->room * 2 + 4096;
        uint8_t *bytes = realloc(c->bytes, room);
        if (!bytes) { c->failed = 1; return; }
        c->bytes = bytes;
        c->room = room;
    }
    c->bytes[c->size++] = byte;
}

static inline uint8_t coder_get(coder *c) {
    if (c->at < c->size) return c->bytes[c->at++];
    c->beyond++;
    return 0;
}

/* Code `bit` (ignored when decoding) whose probability of being 1 is p / 65536, 0 < p < 65536. */
static inline int coder_bit(coder *c, int bit, uint32_t p) {
    uint32_t middle = c->low + (uint32_t)(((uint64_t)(c->high - c->low) * p) >> 16);
    if (c->decoding) bit = c->value <= middle;
    if (bit) c->high = middle; else c->low = middle + 1;
    while (((c->low ^ c->high) & 0xff000000u) == 0) {
        if (c->decoding) c->value = c->value << 8 | coder_get(c);
        else coder_put(c, (uint8_t)(c->high >> 24));
        c->low <<= 8;
        c->high = c->high << 8 | 255;
    }
    return bit;
}

static inline void coder_end(coder *c) {
    for (int shift = 24; shift >= 0; shift -= 8) coder_put(c, (uint8_t)(c->low >> shift));
}

static inline void coder_start(coder *c) {
    for (int i = 0; i < 4 && !c->started; i++) c->value = c->value << 8 | coder_get(c);
    c->started = 1;
}

static inline int coder_is_low(const coder *c) { return !c->last && c->size - c->at < RESERVE; }
#endif

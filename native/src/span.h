/* A span: old bytes, and where in them are numbers that were predicted. */
#ifndef SPAN_H
#define SPAN_H
#include "mixing.h"

typedef mixing_span span;

static inline uint32_t old_at(const span *s, size_t i, int from) {
    uint32_t four = 0;
    for (int k = 0; k < 4; k++) {
        size_t at = i + (size_t)(from + k);     /* wraps below 0, and is not below size then */
        if (at < s->size) four |= (uint32_t)s->old[at] << (8 * k);
    }
    return four;
}

static inline size_t number_place(const span *s, size_t n) { return s->numbers[n] >> 1; }
static inline size_t number_width(const span *s, size_t n) { return s->numbers[n] & 1 ? 8 : 4; }

/* Pass by the numbers from `n` on that are not wholly in [at, end). */
static inline size_t next_number(const span *s, size_t n, size_t at, size_t end) {
    while (n < s->count && number_place(s, n) < end && (number_place(s, n) < at || number_place(s, n) + number_width(s, n) > end)) n++;
    return n;
}

/* Where the number begins that is next before `end`; `end` without one. */
static inline size_t number_before(const span *s, size_t n, size_t end) {
    return n < s->count && number_place(s, n) < end ? number_place(s, n) : end;
}
#endif

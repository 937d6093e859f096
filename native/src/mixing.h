/* Context mixing of imagedelta's streams: integers only, the same bytes on every platform.
 *
 * Two models. RESIDUAL codes what is left of differences beside the old bytes that they belong to; it works span by
 * span (a span is a stretch of old bytes and as many residual bytes), and both sides must cut spans alike.
 * BYTES codes new bytes; there each call continues the stream.
 *
 * Source: docs/formats/context-mixing.md. */
#ifndef IMAGEDELTA_MIXING_H
#define IMAGEDELTA_MIXING_H
#include <stddef.h>
#include <stdint.h>

enum { MIXING_RESIDUAL = 0, MIXING_BYTES = 1 };
enum { MIXING_BITS_LEAST = 8, MIXING_BITS_MOST = 15 };
enum { MIXING_FIXED = 4 << 20, MIXING_BUCKETS = 14 * 64 };  /* A decoder takes FIXED + (BUCKETS << bits) bytes at most. */
enum { MIXING_FEED = 1 << 16 };         /* Bytes of a coded stream that are fed at once, at most. */

typedef struct mixing mixing;

/* Old bytes, and the numbers in them whose residuals are coded as such: twice the place of each, in ascending order,
 * and 1 more for one of eight bytes instead of four; others are passed by. All is read until the span is finished. */
typedef struct {
    const uint8_t *old;
    size_t size;
    const uint32_t *numbers;
    size_t count;
    uint32_t place;                     /* Of the span in the new file. */
} mixing_span;

/* A model whose contexts have about 2^bits buckets each; both sides must say the same. NULL without memory, for another
 * kind, or for bits beyond the limits. */
mixing *mixing_new(int kind, int bits, int decoding);
void mixing_free(mixing *m);

void mixing_begin(mixing *m, const mixing_span *s);     /* Residual: before the bytes of each span. */

/* Encoding: 0, or -1 without memory. */
int mixing_encode(mixing *m, const uint8_t *data, size_t size);
int mixing_end(mixing *m);              /* After the last byte. */
const uint8_t *mixing_coded(const mixing *m, size_t *size);
void mixing_drop(mixing *m);            /* Forget the coded bytes that were taken. */

/* Decoding: give coded bytes, `last` with the last of them; 0, or -1 for too many at once. */
int mixing_feed(mixing *m, const uint8_t *coded, size_t size, int last);
/* Make out[at..size); return where it stopped: before `size` when it wants to be fed. */
size_t mixing_decode(mixing *m, uint8_t *out, size_t at, size_t size);
/* Whether the coded stream was damaged so far; at its end: whether exactly all of it was used. */
int mixing_is_damaged(const mixing *m);
int mixing_is_used_up(const mixing *m);
#endif

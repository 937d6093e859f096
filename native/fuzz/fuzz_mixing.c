/* libFuzzer: any coded bytes are decoded within their stated size, and what is encoded comes out again.
 * The first byte chooses the model and how it is cut, the next the size of what is made. */
#include "mixing.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 6000, BITS = 10 };     /* Few buckets, so that they are fought for. */
uint32_t coded_sum = 2166136261u;    /* Of all coded bytes: the same on every platform. */

/* Old bytes, and places of numbers: in ascending order when encoding, else any. */
typedef struct { uint8_t old[MOST]; uint32_t numbers[MOST]; size_t count; } beside;

static void begin(mixing *m, const beside *b, size_t at, size_t size) {
    const mixing_span span = {b->old + at, size, b->numbers, b->count, (uint32_t)at * 77};
    mixing_begin(m, &span);
}

static size_t decode_all(mixing *m, const uint8_t *coded, size_t size, size_t step, uint8_t *out, const beside *b,
                         size_t length, size_t span) {
    size_t fed = 0, done = 0;
    while (done < length) {
        size_t end = done + span < length ? done + span : length, at = 0;
        if (b) begin(m, b, done, end - done);
        while ((at = mixing_decode(m, out + done, at, end - done)) < end - done) {
            if (mixing_is_damaged(m)) return done;
            size_t now = step < size - fed ? step : size - fed;
            if (mixing_feed(m, coded + fed, now, !now)) abort();
            fed += now;
        }
        done = end;
    }
    mixing_feed(m, coded + fed, size - fed, 1);
    return done;
}

static void try_any(int kind, const uint8_t *data, size_t size, size_t step, size_t span) {
    static uint8_t out[MOST];
    static beside b;
    for (size_t i = 0; i < MOST; i++) b.old[i] = size ? data[i % size] : 0;
    b.count = size / 4;
    memcpy(b.numbers, data, b.count * 4);
    mixing *m = mixing_new(kind, BITS, 1);
    if (!m) abort();
    decode_all(m, data, size, step, out, kind == MIXING_RESIDUAL ? &b : NULL, MOST, span);
    mixing_free(m);
}

static void try_round(int kind, const uint8_t *data, size_t size, size_t step, size_t span) {
    if (size > MOST) size = MOST;
    if (!size) return;
    static uint8_t out[MOST];
    static beside b;
    b.count = 0;
    for (size_t i = 0; i < size; i++) {
        b.old[i] = data[(i * 7 + 3) % size];
        if (data[i] % 5 == 1) b.numbers[b.count++] = (uint32_t)(2 * i + (data[i] >> 7));
    }
    int is_beside = kind == MIXING_RESIDUAL;
    mixing *e = mixing_new(kind, BITS, 0), *d = mixing_new(kind, BITS, 1);
    if (!e || !d) abort();
    for (size_t at = 0; at < size; at += span) {
        size_t length = span < size - at ? span : size - at;
        if (is_beside) begin(e, &b, at, length);
        if (mixing_encode(e, data + at, length)) abort();
    }
    if (mixing_end(e)) abort();
    size_t coded;
    const uint8_t *bytes = mixing_coded(e, &coded);
    for (size_t i = 0; i < coded; i++) coded_sum = (coded_sum ^ bytes[i]) * 16777619u;
    if (decode_all(d, bytes, coded, step, out, is_beside ? &b : NULL, size, span) != size) abort();
    if (memcmp(out, data, size) || mixing_is_damaged(d) || !mixing_is_used_up(d)) abort();
    mixing_free(e);
    mixing_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    int kind = data[0] & 1;
    size_t step = 1 + (data[0] >> 2) * 17u, span = 1 + data[1] * 24u;
    if (data[0] & 2) try_any(kind, data + 2, size - 2, step, span);
    else try_round(kind, data + 2, size - 2, step, span);
    return 0;
}

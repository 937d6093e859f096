#include "mixing.h"

#include "newbytes.h"
#include "residual.h"

/* The same machine code serves every x86-64; that for newer ones is chosen when it is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(MIXING_PLAIN)
#define FAST __attribute__((target_clones("default", "avx2")))
#else
#define FAST
#endif

struct mixing {
    coder coder;
    mixer mixer;
    residual_model *residual;
    bytes_model *bytes;
};

static const size_t OF_RESIDUAL[SETS] = {RESIDUAL_SETS0 + NUMBER_SETS0, RESIDUAL_SETS1 + NUMBER_SETS1, 0};
static const size_t OF_BYTES[SETS] = {1024, 256, INSTRUCTION_STATES * 256};

mixing *mixing_new(int kind, int bits, int decoding) {
    if (kind != MIXING_RESIDUAL && kind != MIXING_BYTES) return NULL;
    if (bits < MIXING_BITS_LEAST || bits > MIXING_BITS_MOST) return NULL;
    mixing *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->coder.high = 0xffffffffu;
    m->coder.decoding = decoding;
    if (decoding) { m->coder.room = FEED_BYTES + RESERVE; m->coder.bytes = malloc(m->coder.room); }
    int failed = decoding && !m->coder.bytes;
    uint32_t buckets = 1u << bits;
    if (kind == MIXING_RESIDUAL) {
        failed |= mixer_start(&m->mixer, RESIDUAL_SHAPE, OF_RESIDUAL, buckets, 250) || !(m->residual = calloc(1, sizeof *m->residual));
        if (!failed) zeros_start(&m->residual->zeros);
    } else {
        failed |= mixer_start(&m->mixer, BYTES_SHAPE, OF_BYTES, buckets / 4 * 3, 127) || !(m->bytes = calloc(1, sizeof *m->bytes));
    }
    if (failed) { mixing_free(m); return NULL; }
    return m;
}

void mixing_free(mixing *m) {
    if (!m) return;
    mixer_free(&m->mixer);
    free(m->coder.bytes);
    free(m->residual);
    free(m->bytes);
    free(m);
}

FAST static size_t work(mixing *m, uint8_t *data, size_t at, size_t size) {
    if (m->residual) return residual_span(m->residual, &m->mixer, &m->coder, data, at);
    for (; at < size && !(m->coder.decoding && coder_is_low(&m->coder)); at++) {
        uint8_t byte = bytes_byte(m->bytes, &m->mixer, &m->coder, m->coder.decoding ? 0 : data[at]);
        if (m->coder.decoding) data[at] = byte;
    }
    return at;
}

void mixing_begin(mixing *m, const mixing_span *s) { residual_begin(m->residual, s); }

int mixing_encode(mixing *m, const uint8_t *data, size_t size) {
    work(m, (uint8_t *)(uintptr_t)data, 0, size);   /* an encoder does not write there */
    return m->coder.failed ? -1 : 0;
}

int mixing_end(mixing *m) {
    coder_end(&m->coder);
    return m->coder.failed ? -1 : 0;
}

const uint8_t *mixing_coded(const mixing *m, size_t *size) {
    *size = m->coder.size;
    return m->coder.bytes;
}

void mixing_drop(mixing *m) { m->coder.size = 0; }

int mixing_feed(mixing *m, const uint8_t *coded, size_t size, int last) {
    coder *c = &m->coder;
    if (size > FEED_BYTES || c->size - c->at + size > c->room) return -1;
    memmove(c->bytes, c->bytes + c->at, c->size - c->at);
    c->size -= c->at;
    c->at = 0;
    if (size) memcpy(c->bytes + c->size, coded, size);
    c->size += size;
    c->last = last;
    return 0;
}

size_t mixing_decode(mixing *m, uint8_t *out, size_t at, size_t size) {
    if (at < size && !m->coder.started) {
        if (coder_is_low(&m->coder)) return at;
        coder_start(&m->coder);
    }
    return m->coder.beyond ? at : work(m, out, at, size);
}

int mixing_is_damaged(const mixing *m) { return m->coder.beyond > 0; }

int mixing_is_used_up(const mixing *m) {
    return m->coder.last && !m->coder.beyond && m->coder.at == m->coder.size && !(m->residual && m->residual->left);
}

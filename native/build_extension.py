"""How cffi builds the extension: API mode, limited API, so that one wheel serves every Python from 3.11 on.

Where it cannot be built, the package is installed without it, and cannot be imported: nobody needs it.
"""

from pathlib import Path

from cffi import FFI

ffi = FFI()
ffi.cdef("""
typedef struct mixing mixing;
enum { MIXING_RESIDUAL, MIXING_BYTES, ... };
enum { MIXING_BITS_LEAST = ..., MIXING_BITS_MOST = ... };
enum { MIXING_FIXED = ..., MIXING_BUCKETS = ... };
enum { MIXING_FEED = ... };
mixing *mixing_new(int kind, int bits, int decoding);
void mixing_free(mixing *m);
typedef struct {
    const uint8_t *old;
    size_t size;
    const uint32_t *numbers;
    size_t count;
    uint32_t place;
} mixing_span;
void mixing_begin(mixing *m, const mixing_span *s);
int mixing_encode(mixing *m, const uint8_t *data, size_t size);
int mixing_end(mixing *m);
const uint8_t *mixing_coded(const mixing *m, size_t *size);
void mixing_drop(mixing *m);
int mixing_feed(mixing *m, const uint8_t *coded, size_t size, int last);
size_t mixing_decode(mixing *m, uint8_t *out, size_t at, size_t size);
int mixing_is_damaged(const mixing *m);
int mixing_is_used_up(const mixing *m);
typedef struct {
    const int64_t *starts;
    const int64_t *differences;
    size_t count;
} operands_map;
typedef struct {
    int64_t base;
    int64_t low;
    int64_t high;
    int64_t same;
} operands_site;
size_t operands_predict(const uint8_t *code, size_t size, uint8_t *out, int sought, const operands_site *site,
                        const operands_map *map, uint32_t *places);
size_t operands_predict_aarch64(const uint8_t *code, size_t size, uint8_t *out, size_t skip, const operands_site *site,
                                const operands_map *map, uint32_t *places);
int operands_add(uint8_t *out, const uint8_t *numbers, const uint8_t *more, const uint8_t *changed, size_t size,
                 const uint32_t *places, size_t count, int width, int sign);
typedef struct {
    int width;
    int64_t low;
    int64_t high;
    int64_t base;
    int64_t new_base;
} operands_numbers;
typedef struct {
    const uint8_t *records;
    size_t size;
    uint8_t *out;
    size_t out_size;
    size_t before;
    uint32_t *words;
    size_t words_count;
    uint32_t *longs;
    size_t longs_count;
} operands_records;
typedef struct {
    operands_map shifts;
    operands_map offsets;
    operands_map addresses;
} operands_moves;
typedef struct {
    int64_t place;
    int64_t left;
    int64_t ahead;
    int64_t difference;
    int with_sizes;
    size_t at;
    int asks;
    int64_t asked;
    int answer;
    int64_t places[64];
    uint8_t answers[64];
} operands_frames;
size_t operands_addresses(const uint8_t *data, size_t size, uint8_t *out, size_t skip, const operands_numbers *form,
                          const operands_map *map, uint32_t *places);
size_t operands_distances(const uint8_t *data, size_t size, uint8_t *out, size_t skip, const operands_site *site,
                          const operands_map *code, const operands_map *map, uint32_t *places);
void operands_symbols(operands_records *r, int64_t names_at, const operands_moves *moves, int with_sizes);
void operands_relocations(operands_records *r, const operands_map *addresses);
int operands_predict_frames(operands_records *r, operands_frames *f, const operands_moves *moves);
""")
ffi.set_source(
    "imagedelta_native._native",
    '#include "mixing.h"\n#include "operands.h"',
    sources=["src/mixing.c", "src/operands.c", "src/operands_aarch64.c", "src/operands_data.c"],
    include_dirs=["src"],
    depends=[str(path) for path in sorted(Path("src").glob("*.h"))],
    extra_compile_args=["-std=c11", "-O3"],
    py_limited_api=True,
    optional=True,
)

/* References in code, data and tables, sought and predicted as x86_operands.py, aarch64.py, data_numbers.py and elf_records.py of
 * imagedelta/delta/predict do, which say what is right.
 *
 * Source: docs/formats/patch.md, section 7a. */
#ifndef IMAGEDELTA_OPERANDS_H
#define IMAGEDELTA_OPERANDS_H
#include <stddef.h>
#include <stdint.h>

enum { OPERANDS_RELATIVE, OPERANDS_NUMBERS, OPERANDS_ADDRESSES };   /* What is sought; each has those before it. */

/* By how much addresses moved: `differences[i]` from `starts[i]` on; INT64_MIN where they went nowhere. The last holds for
 * what is before the first, too; at least one. */
typedef struct {
    const int64_t *starts;
    const int64_t *differences;
    size_t count;
} operands_map;

/* A stretch of code: where in the bytes that are predicted, the address of its first, and the addresses from `low` up to `high` that
 * moved by `same`. */
typedef struct {
    int64_t start;
    int64_t end;
    int64_t base;
    int64_t low;
    int64_t high;
    int64_t same;
} operands_site;

/* Old bytes, a copy of them in which references are overwritten, and where these are: room for size / 4, and how many there are. */
typedef struct {
    const uint8_t *old;
    size_t size;
    uint8_t *out;
    uint32_t *places;
    size_t found;
} operands_part;

/* Predict the operands of x86-64 code in stretches that rise and do not overlap. Returns 0, or -1 for one that does, or is beyond
 * the bytes. */
int operands_predict(operands_part *p, int sought, const operands_site *sites, size_t count, const operands_map *map);

/* The same of aarch64 code; places are those of instructions, in any order. */
int operands_predict_aarch64(operands_part *p, const operands_site *sites, size_t count, const operands_map *map);

/* Add (or with a sign of -1 subtract) as whole numbers of 4 or 8 bytes what is at `places` in `more` to what is there in
 * `numbers`, where `changed` is not 0; into `out`. All four have `size` bytes. Returns 0, or -1 for a place beyond them. */
int operands_add(uint8_t *out, const uint8_t *numbers, const uint8_t *more, const uint8_t *changed, size_t size,
                 const uint32_t *places, size_t count, int width, int sign);

/* Numbers of 4 or 8 bytes that follow each other: those from `low` up to `high` are addresses, counted from `base`, and from
 * `new_base` in the new file. With a `low` below 0 they are signed. */
typedef struct {
    int width;
    int64_t low;
    int64_t high;
    int64_t base;
    int64_t new_base;
} operands_numbers;

/* Records of a table, and the part of them that is predicted: all but the first `before` bytes, and some at the end. Words and
 * longs take the places of numbers of 4 and 8 bytes in `out`: one and two for 24 bytes, of frames four words for 5 bytes. */
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

/* By how much places moved (none is before the first start); from addresses to places; by how much addresses moved. */
typedef struct {
    operands_map shifts;
    operands_map offsets;
    operands_map addresses;
} operands_moves;

enum { OPERANDS_ANSWERS = 64 };

/* Where frames are: the place of the first, how many bytes of the table are left from there on, how far addresses are ahead of
 * places, and by how much addresses moved. All below are 0 at first. */
typedef struct {
    int64_t place;
    int64_t left;
    int64_t ahead;
    int64_t difference;
    int with_sizes;
    size_t at;                  /* How far it is predicted. */
    int asks;
    int64_t asked;
    int answer;
    int64_t places[OPERANDS_ANSWERS];       /* Of what was answered. */
    uint8_t answers[OPERANDS_ANSWERS];
} operands_frames;

/* Overwrite the addresses in `out`, a copy of `data` whose first number is behind `skip` bytes. Returns how many, as above. */
size_t operands_addresses(const uint8_t *data, size_t size, uint8_t *out, size_t skip, const operands_numbers *form,
                          const operands_map *map, uint32_t *places);

/* The same of distances to code, all of which lies from site->low up to site->high, in words of data at site->base that moved by
 * site->same. */
size_t operands_distances(const uint8_t *data, size_t size, uint8_t *out, size_t skip, const operands_site *site,
                          const operands_map *code, const operands_map *map, uint32_t *places);

/* Predict symbols, whose names are at a place of the old file. */
void operands_symbols(operands_records *r, int64_t names_at, const operands_moves *moves, int with_sizes);

void operands_relocations(operands_records *r, const operands_map *addresses);

/* Predict frames, behind which are 21 bytes more. Returns 1 to ask whether the common entry at `asked` says that functions have
 * handlers: it goes on when called again with the answer. */
int operands_predict_frames(operands_records *r, operands_frames *f, const operands_moves *moves);
#endif

/* Operands of code, sought and predicted as x86_operands.py and aarch64.py of imagedelta/delta/predict do, which say what is
 * right.
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

/* Where the code is: the address of its first byte, and the addresses from `low` up to `high` that moved by `same`. */
typedef struct {
    int64_t base;
    int64_t low;
    int64_t high;
    int64_t same;
} operands_site;

/* Overwrite the operands of x86-64 code in `out`, a copy of `code`; write where they are to `places`, which has room for size / 4.
 * Returns how many there are. */
size_t operands_predict(const uint8_t *code, size_t size, uint8_t *out, int sought, const operands_site *site,
                        const operands_map *map, uint32_t *places);

/* The same of aarch64 code, whose first instruction begins behind `skip` bytes; places are those of instructions, in any order. */
size_t operands_predict_aarch64(const uint8_t *code, size_t size, uint8_t *out, size_t skip, const operands_site *site,
                                const operands_map *map, uint32_t *places);

/* Add (or with a sign of -1 subtract) as whole numbers of 4 or 8 bytes what is at `places` in `more` to what is there in
 * `numbers`, where `changed` is not 0; into `out`. All four have `size` bytes. Returns 0, or -1 for a place beyond them. */
int operands_add(uint8_t *out, const uint8_t *numbers, const uint8_t *more, const uint8_t *changed, size_t size,
                 const uint32_t *places, size_t count, int width, int sign);
#endif

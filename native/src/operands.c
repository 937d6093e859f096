#include "operands.h"
#include "moved.h"

#include <string.h>

enum operand { WITHOUT_MORE, AND_BYTE, AND_NUMBER, NUMBER, BITS, ADDRESS };
static const int BEHIND[] = {4, 5, 8};      /* How far behind the start of a relative operand its instruction ends. */
enum { LEAST_IMMEDIATE = 0x10000 };

/* What an opcode begins with. */
enum first { NONE, CALL, TWO_BYTES, BARE, WITH_BYTE, WITH_NUMBER, STORE, LOAD_OR_BARE, LOAD, PREFIX_48, AND_EAX, NO_BASE, PREFIX };
static const uint8_t FIRST[256] = {
    [0xe8] = CALL, [0xe9] = CALL, [0x0f] = TWO_BYTES,
    [0x01] = BARE, [0x03] = BARE, [0x0b] = BARE, [0x10] = BARE, [0x11] = BARE, [0x12] = BARE, [0x13] = BARE,
    [0x16] = BARE, [0x17] = BARE, [0x23] = BARE, [0x28] = BARE, [0x29] = BARE, [0x2b] = BARE, [0x2e] = BARE,
    [0x2f] = BARE, [0x33] = BARE, [0x38] = BARE, [0x39] = BARE, [0x3a] = BARE, [0x3b] = BARE, [0x51] = BARE,
    [0x54] = BARE, [0x57] = BARE, [0x58] = BARE, [0x59] = BARE, [0x5c] = BARE, [0x5e] = BARE, [0x63] = BARE,
    [0x6e] = BARE, [0x6f] = BARE, [0x7e] = BARE, [0x7f] = BARE, [0x84] = BARE, [0x85] = BARE, [0x87] = BARE,
    [0x88] = BARE, [0x89] = BARE, [0x8a] = BARE, [0x8b] = BARE, [0x8d] = BARE, [0xb1] = BARE, [0xb6] = BARE,
    [0xb7] = BARE, [0xd4] = BARE, [0xd6] = BARE, [0xef] = BARE, [0xf6] = BARE, [0xf7] = BARE, [0xfe] = BARE,
    [0xff] = BARE, [0xbe] = LOAD_OR_BARE, [0xbf] = LOAD_OR_BARE,
    [0x6b] = WITH_BYTE, [0x80] = WITH_BYTE, [0x83] = WITH_BYTE, [0xc1] = WITH_BYTE, [0xc6] = WITH_BYTE,
    [0x69] = WITH_NUMBER, [0x81] = WITH_NUMBER, [0xc7] = STORE,
    [0xb8] = LOAD, [0xb9] = LOAD, [0xba] = LOAD, [0xbb] = LOAD, [0xbc] = LOAD, [0xbd] = LOAD, [0x68] = LOAD, [0x3d] = LOAD,
    [0x25] = AND_EAX,
    [0x04] = NO_BASE, [0x0c] = NO_BASE, [0x14] = NO_BASE, [0x1c] = NO_BASE, [0x24] = NO_BASE, [0x2c] = NO_BASE,
    [0x34] = NO_BASE, [0x3c] = NO_BASE,
    [0x40] = PREFIX, [0x41] = PREFIX, [0x42] = PREFIX, [0x43] = PREFIX, [0x44] = PREFIX, [0x45] = PREFIX, [0x46] = PREFIX,
    [0x47] = PREFIX, [0x48] = PREFIX_48, [0x49] = PREFIX, [0x4a] = PREFIX, [0x4b] = PREFIX, [0x4c] = PREFIX, [0x4d] = PREFIX,
    [0x4e] = PREFIX, [0x4f] = PREFIX,
};

typedef struct { size_t length; enum operand operand; } opcode;     /* No length: there is none. */

static int is_relative(uint8_t modrm) { return (modrm & 0xc7) == 0x05; }

/* How many bytes of an opcode whose ModRM byte is at[0] are before a long distance from a register. */
static size_t before_long_distance(const uint8_t *at, size_t left) {
    if (!left || at[0] >> 6 != 2) return 0;
    return (at[0] & 7) != 4 ? 1 : left >= 2 ? 2 : 0;
}

/* Whether a distance is one that is passed over: it has the same two bytes, 0 or 0xff, at its end. */
static int is_small(const uint8_t *distance) { return distance[2] == distance[3] && (distance[3] == 0 || distance[3] == 0xff); }

/* The length of a store, from its opcode up to the number that it stores. */
static size_t before_stored(const uint8_t *at, size_t left) {
    if (left < 2) return 0;
    uint8_t modrm = at[1];
    if (modrm & 0x38) return 0;
    switch (modrm >> 6) {
    case 0: return modrm == 4 ? (left >= 3 ? 3 : 0) : modrm == 5 ? 0 : 2;
    case 1: return modrm == 0x44 ? (left >= 4 ? 4 : 0) : left >= 3 ? 3 : 0;
    case 2: {
        size_t length = modrm == 0x84 ? 7 : 6;
        return left >= length && is_small(at + length - 4) ? length : 0;
    }
    default: return 2;
    }
}

static opcode found(size_t length, enum operand operand) { return (opcode){length, operand}; }

static opcode of_two_bytes(const uint8_t *at, size_t left, int sought) {
    if (left < 2) return found(0, NUMBER);
    if (at[1] >> 4 == 8) return found(2, WITHOUT_MORE);
    if (sought < OPERANDS_ADDRESSES) return found(0, NUMBER);
    switch (at[1]) {
    case 0x10: case 0x11: case 0x28: case 0x29: case 0xb6: case 0xb7: case 0xbe: case 0xbf: break;
    default: return found(0, NUMBER);
    }
    size_t more = before_long_distance(at + 2, left - 2);
    return found(more ? 2 + more : 0, ADDRESS);
}

static opcode of_prefix(const uint8_t *at, size_t left, int sought) {
    if (sought < OPERANDS_ADDRESSES || left < 2) return found(0, NUMBER);
    if (at[1] != 0x03 && at[1] != 0x3b && at[1] >> 2 != 0x88 >> 2 && at[1] != 0x8d) return found(0, NUMBER);
    size_t more = before_long_distance(at + 2, left - 2);
    return found(more ? 2 + more : 0, ADDRESS);
}

static opcode of_number(const uint8_t *at, size_t left, int sought) {
    if (left < 2) return found(0, NUMBER);
    if (is_relative(at[1])) return found(2, AND_NUMBER);
    if (sought < OPERANDS_NUMBERS || at[0] != 0x81 || at[1] < 0xc0) return found(0, NUMBER);
    return found(2, at[1] >> 3 == 0xe0 >> 3 ? BITS : NUMBER);
}

/* The opcode at `at`, of which `left` bytes are left. */
static opcode opcode_at(const uint8_t *at, size_t left, int sought) {
    int relative = left >= 2 && is_relative(at[1]);
    size_t has_numbers = sought >= OPERANDS_NUMBERS;
    switch (FIRST[at[0]]) {
    case CALL: return found(1, WITHOUT_MORE);
    case TWO_BYTES: return of_two_bytes(at, left, sought);
    case BARE: return found(relative ? 2 : 0, WITHOUT_MORE);
    case LOAD_OR_BARE: return relative ? found(2, WITHOUT_MORE) : found(has_numbers, NUMBER);
    case WITH_BYTE: return found(relative ? 2 : 0, AND_BYTE);
    case WITH_NUMBER: return of_number(at, left, sought);
    case STORE: return relative ? found(2, AND_NUMBER) : found(has_numbers ? before_stored(at, left) : 0, NUMBER);
    case LOAD: return found(has_numbers, NUMBER);
    case PREFIX_48:
        if (has_numbers && left >= 2 && (at[1] == 0x05 || at[1] == 0x2d)) return found(2, NUMBER);
        return of_prefix(at, left, sought);
    case PREFIX: return of_prefix(at, left, sought);
    case AND_EAX: return found(has_numbers, BITS);
    case NO_BASE: return found(sought >= OPERANDS_ADDRESSES && left >= 2 && (at[1] & 7) == 5 ? 2 : 0, ADDRESS);
    default: return found(0, NUMBER);
    }
}

/* Predict an operand that is not relative; whether it counts as one. */
static int predict_number(const uint8_t *code, uint8_t *out, size_t at, enum operand operand, int sought, const operands_map *map) {
    int32_t value = (int32_t)read_number(code + at, 4);
    if (sought >= OPERANDS_ADDRESSES && operand != BITS && value >= LEAST_IMMEDIATE) {
        int64_t difference = difference_at(map, value);
        if (difference != NOWHERE) {
            write_number(out + at, (uint64_t)(int64_t)value + (uint64_t)difference, 4);
            return 1;
        }
    }
    return operand != ADDRESS && (code[at + 3] == 0 || code[at + 3] == 0xff);
}

/* Predict a relative operand; whether it counts as one. */
static int predict_relative(const uint8_t *code, uint8_t *out, size_t at, enum operand operand, const operands_site *site,
                            const operands_map *map) {
    int32_t value = (int32_t)read_number(code + at, 4);
    int64_t target = (int64_t)((uint64_t)site->base - (uint64_t)site->start + at + (uint64_t)(BEHIND[operand] + (int64_t)value));
    if (target >= site->low && target < site->high) return 1;
    int64_t difference = difference_at(map, target);
    if (difference == NOWHERE) return 0;
    if (difference != site->same)
        write_number(out + at, (uint64_t)(int64_t)value + (uint64_t)difference - (uint64_t)site->same, 4);
    return 1;
}

static void found_at(operands_part *p, size_t at) { p->places[p->found++] = (uint32_t)at; }

static void predict_site(operands_part *p, int sought, const operands_site *site, const operands_map *map) {
    size_t end = (size_t)site->end, free = (size_t)site->start;
    for (size_t at = free, start = free; start < end; start = at) {
        opcode one = opcode_at(p->old + start, end - start, sought);
        at = start + (one.length ? one.length : 1);
        if (!one.length || start < free || at + 4 > end) continue;
        if (one.operand >= NUMBER) {
            if (!predict_number(p->old, p->out, at, one.operand, sought, map)) continue;
        } else if (!predict_relative(p->old, p->out, at, one.operand, site, map)) {
            continue;
        }
        free = at + 4;
        found_at(p, at);
        int stores = one.operand == AND_NUMBER && sought >= OPERANDS_NUMBERS && free + 4 <= end;
        if (stores && predict_number(p->old, p->out, free, NUMBER, sought, map)) {
            found_at(p, free);
            free += 4;
        }
    }
}

int operands_predict(operands_part *p, int sought, const operands_site *sites, size_t count, const operands_map *map) {
    if (!are_apart(sites, count, p->size)) return -1;
    for (size_t i = 0; i < count; i++) predict_site(p, sought, sites + i, map);
    return 0;
}

int operands_add(uint8_t *out, const uint8_t *numbers, const uint8_t *more, const uint8_t *changed, size_t size,
                 const uint32_t *places, size_t count, int width, int sign) {
    static const uint8_t zeros[8];
    for (size_t i = 0; i < count; i++) {
        size_t at = places[i];
        if (at > size || size - at < (size_t)width) return -1;
        if (!memcmp(changed + at, zeros, (size_t)width)) continue;
        uint64_t number = read_number(numbers + at, width), by = read_number(more + at, width);
        write_number(out + at, sign < 0 ? number - by : number + by, width);
    }
    return 0;
}

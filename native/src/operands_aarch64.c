#include "moved.h"

enum { WORD = 4, PAGE_BITS = 12, PAGE = (1 << PAGE_BITS) - 1, REGISTER = 31, USERS_WITHIN = 32 };
#define SPLIT 0x60ffffe0u      /* The operand of ADR and ADRP: its two lowest bits are apart from the others. */
#define ADDED 0x003ffc00u      /* The operand of what adds to a page. */

/* Where in an instruction a distance is, which counts instructions. */
typedef struct { int shift, bits; } distance;

/* What an instruction refers to, by its highest byte. */
enum top { NONE, FAR_BRANCH, NEAR, SHORT_BRANCH, SPLIT_IN_TWO };
static const distance DISTANCES[] = {[FAR_BRANCH] = {0, 26}, [NEAR] = {5, 19}, [SHORT_BRANCH] = {5, 14}};
static const uint8_t TOPS[256] = {
    [0x14] = FAR_BRANCH, [0x15] = FAR_BRANCH, [0x16] = FAR_BRANCH, [0x17] = FAR_BRANCH, [0x94] = FAR_BRANCH,
    [0x95] = FAR_BRANCH, [0x96] = FAR_BRANCH, [0x97] = FAR_BRANCH, [0x54] = NEAR, [0x34] = NEAR, [0x35] = NEAR,
    [0xb4] = NEAR, [0xb5] = NEAR, [0x18] = NEAR, [0x1c] = NEAR, [0x58] = NEAR, [0x5c] = NEAR, [0x98] = NEAR, [0x9c] = NEAR,
    [0xd8] = NEAR, [0xdc] = NEAR, [0x36] = SHORT_BRANCH, [0x37] = SHORT_BRANCH, [0xb6] = SHORT_BRANCH,
    [0xb7] = SHORT_BRANCH, [0x10] = SPLIT_IN_TWO, [0x30] = SPLIT_IN_TWO, [0x50] = SPLIT_IN_TWO, [0x70] = SPLIT_IN_TWO,
    [0x90] = SPLIT_IN_TWO, [0xb0] = SPLIT_IN_TWO, [0xd0] = SPLIT_IN_TWO, [0xf0] = SPLIT_IN_TWO,
};

/* Instructions of a stretch. */
typedef struct {
    operands_part *all;
    const operands_site *site;
    size_t count;
    const operands_map *map;
} part;

static size_t place_of(const part *p, size_t at) { return (size_t)p->site->start + WORD * at; }

static uint32_t word_at(const part *p, size_t at) { return (uint32_t)read_number(p->all->old + place_of(p, at), WORD); }

static void put(part *p, size_t at, uint32_t word) {
    write_number(p->all->out + place_of(p, at), word, WORD);
    p->all->places[p->all->found++] = (uint32_t)place_of(p, at);
}

static int64_t sign_extended(uint32_t value, int bits) {
    int64_t low = value & ((1u << bits) - 1);
    return low - (low >> (bits - 1) << bits);
}

static int64_t split(uint32_t word) { return sign_extended((word >> 3 & 0x1ffffc) | (word >> 29 & 3), 21); }

static uint32_t with_split(uint32_t word, uint64_t value) {
    return (word & ~SPLIT) | (uint32_t)(value & 3) << 29 | (uint32_t)(value >> 2 & 0x7ffff) << 5;
}

static uint32_t with_distance(uint32_t word, distance form, uint64_t value) {
    uint32_t mask = (1u << form.bits) - 1;
    return (word & ~(mask << form.shift)) | ((uint32_t)(value >> 2) & mask) << form.shift;
}

/* Whether it is ADD with a number that is not shifted, or loads or stores at a distance from a register. */
static int adds(uint32_t word) { return (word & 0xffc00000) == 0x91000000 || (word & 0x3b000000) == 0x39000000; }

/* By how many bits what an instruction adds is shifted. */
static int scale_of(uint32_t word) {
    if ((word & 0x3b000000) != 0x39000000) return 0;
    return (word & 0x04800000) == 0x04800000 ? 4 : (int)(word >> 30);
}

/* Predict what puts a page into a register, and what adds to it. */
static void predict_page(part *p, size_t at, uint32_t word, int64_t address) {
    uint64_t page = (uint64_t)(address >> PAGE_BITS) + (uint64_t)split(word);
    uint64_t new_page = (uint64_t)((int64_t)((uint64_t)address + (uint64_t)p->site->same) >> PAGE_BITS);
    uint32_t held = word & REGISTER;
    int is_put = 0;
    for (size_t user = at + 1; user < p->count && user <= at + USERS_WITHIN; user++) {
        uint32_t other = word_at(p, user);
        if ((other >> 5 & REGISTER) == held && adds(other)) {
            int scale = scale_of(other);
            uint64_t target = (page << PAGE_BITS) + ((uint64_t)(other >> 10 & PAGE) << scale);
            int64_t difference = difference_at(p->map, (int64_t)target);
            if (difference != NOWHERE) {
                uint64_t moved = target + (uint64_t)difference;
                if (!is_put) put(p, at, with_split(word, (uint64_t)((int64_t)moved >> PAGE_BITS) - new_page));
                is_put = 1;
                put(p, user, (other & ~ADDED) | (uint32_t)((moved & PAGE) >> scale) << 10);
            }
        }
        if ((other & REGISTER) == held) break;
    }
}

static void predict_near(part *p, size_t at, uint32_t word, int64_t address, enum top top) {
    int64_t value = top == SPLIT_IN_TWO ? split(word)
                                        : sign_extended(word >> DISTANCES[top].shift, DISTANCES[top].bits) * WORD;
    int64_t target = (int64_t)((uint64_t)address + (uint64_t)value);
    uint64_t becomes = (uint64_t)value;
    if (target < p->site->low || target >= p->site->high) {
        int64_t difference = difference_at(p->map, target);
        if (difference == NOWHERE) return;
        becomes += (uint64_t)difference - (uint64_t)p->site->same;
    }
    put(p, at, top == SPLIT_IN_TWO ? with_split(word, becomes) : with_distance(word, DISTANCES[top], becomes));
}

static void predict_site(part *p) {
    for (size_t at = 0; at < p->count; at++) {
        uint32_t word = word_at(p, at);
        enum top top = TOPS[word >> 24];
        if (top == NONE) continue;
        int64_t address = (int64_t)((uint64_t)p->site->base + WORD * at);
        if (top == SPLIT_IN_TWO && word >> 31) predict_page(p, at, word, address);
        else predict_near(p, at, word, address, top);
    }
}

int operands_predict_aarch64(operands_part *all, const operands_site *sites, size_t count, const operands_map *map) {
    if (!are_apart(sites, count, all->size)) return -1;
    for (size_t i = 0; i < count; i++) {
        part p = {all, sites + i, (size_t)(sites[i].end - sites[i].start) / WORD, map};
        predict_site(&p);
    }
    return 0;
}

#include "operands.h"
#include "moved.h"

enum { WORD = 4, LONG = 8 };
enum { SYMBOL = 24, RELOCATION = 24, FRAME = 21, LEAST_FRAME = 20, WITH_HANDLERS = 17, HANDLER_BYTES = 4 };
enum { LONG_SYMBOL = 1 << 24 };

static uint32_t word_at(const uint8_t *at) { return (uint32_t)read_number(at, WORD); }
static int64_t sum(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static int64_t less(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }

/* By how much a place moved. */
static int64_t shift_at(const operands_map *shifts, int64_t place) { return difference_at(shifts, place < 0 ? 0 : place); }

size_t operands_addresses(const uint8_t *data, size_t size, uint8_t *out, size_t skip, const operands_numbers *form,
                          const operands_map *map, uint32_t *places) {
    size_t count = 0, width = (size_t)form->width;
    for (size_t at = skip; at <= size && size - at >= width; at += width) {
        uint64_t number = read_number(data + at, form->width);
        int64_t value = form->low < 0 && width == WORD ? (int32_t)(uint32_t)number : (int64_t)number;
        if (value < form->low || value >= form->high) continue;
        int64_t address = sum(form->base, value), difference = difference_at(map, address);
        if (difference == NOWHERE) continue;
        write_number(out + at, (uint64_t)sum(address, difference) - (uint64_t)form->new_base, form->width);
        places[count++] = (uint32_t)at;
    }
    return count;
}

size_t operands_distances(const uint8_t *data, size_t size, uint8_t *out, size_t skip, const operands_site *site,
                          const operands_map *code, const operands_map *map, uint32_t *places) {
    size_t count = 0;
    for (size_t at = skip; at <= size && size - at >= WORD; at += WORD) {
        int32_t value = (int32_t)word_at(data + at);
        int64_t target = sum(site->base, (int64_t)at + value);
        if (!value || target < site->low || target >= site->high || difference_at(code, target) == NOWHERE) continue;
        int64_t difference = difference_at(map, target);
        if (difference == NOWHERE) continue;
        write_number(out + at, (uint64_t)value + (uint64_t)difference - (uint64_t)site->same, WORD);
        places[count++] = (uint32_t)at;
    }
    return count;
}

/* Write a number that is `at` in the records, if it lies wholly in `out`. */
static void put(operands_records *r, size_t at, int64_t value, int width) {
    if (at < r->before || at - r->before > r->out_size || r->out_size - (at - r->before) < (size_t)width) return;
    at -= r->before;
    write_number(r->out + at, (uint64_t)value, width);
    if (width == WORD) r->words[r->words_count++] = (uint32_t)at;
    else r->longs[r->longs_count++] = (uint32_t)at;
}

/* How long in the new file is what begins at an address; whether that is known. */
static int size_becomes(const operands_moves *moves, int64_t address, int64_t size, int64_t *becomes) {
    int64_t offset = difference_at(&moves->offsets, address);
    if (offset == NOWHERE) return 0;
    int64_t first = sum(address, offset), shift = shift_at(&moves->shifts, first);
    *becomes = less(sum(size, shift_at(&moves->shifts, sum(first, size - 1))), shift);
    return 1;
}

void operands_symbols(operands_records *r, int64_t names_at, const operands_moves *moves, int with_sizes) {
    int64_t names = shift_at(&moves->shifts, names_at), becomes;
    for (size_t at = 0; r->size - at >= SYMBOL; at += SYMBOL) {
        int64_t name = word_at(r->records + at), address = (int64_t)read_number(r->records + at + 8, LONG);
        uint64_t size = read_number(r->records + at + 16, LONG);
        if (name) put(r, at, less(sum(name, shift_at(&moves->shifts, sum(names_at, name))), names), WORD);
        int64_t moved = difference_at(&moves->addresses, address);
        if (!address || moved == NOWHERE) continue;
        put(r, at + 8, sum(address, moved), LONG);
        if (with_sizes && size && size < LONG_SYMBOL && size_becomes(moves, address, (int64_t)size, &becomes))
            put(r, at + 16, becomes, LONG);
    }
}

void operands_relocations(operands_records *r, const operands_map *addresses) {
    for (size_t at = 0; r->size - at >= RELOCATION; at += RELOCATION) {
        int64_t place = (int64_t)read_number(r->records + at, LONG), added = (int64_t)read_number(r->records + at + 16, LONG);
        int64_t moved = difference_at(addresses, place);
        if (moved != NOWHERE) put(r, at, sum(place, moved), LONG);
        switch (word_at(r->records + at + 8)) {
        case 8: case 37: case 1027: case 1032:      /* Its last number is an address. */
            moved = difference_at(addresses, added);
            if (moved != NOWHERE) put(r, at + 16, sum(added, moved), LONG);
        }
    }
}

enum { NO = 1, YES = 2 };

/* Note what was answered. */
static void hear(operands_frames *f) {
    if (!f->asks) return;
    size_t slot = (uint64_t)f->asked >> 2 & (OPERANDS_ANSWERS - 1);
    f->places[slot] = f->asked;
    f->answers[slot] = f->answer ? YES : NO;
    f->asks = 0;
}

/* Whether functions that name the common entry at a place have handlers, if that was asked lately; else ask. */
static int has_handlers(operands_frames *f, int64_t place) {
    size_t slot = (uint64_t)place >> 2 & (OPERANDS_ANSWERS - 1);
    if (f->answers[slot] && f->places[slot] == place) return f->answers[slot] == YES;
    f->asked = place;
    f->asks = 1;
    return 0;
}

static void function(operands_records *r, const operands_frames *f, const operands_moves *moves, int64_t back, int has) {
    const uint8_t *frame = r->records + f->at;
    int64_t named = f->place + (int64_t)f->at + 4, site = sum(named, f->ahead), becomes;
    int32_t begins = (int32_t)word_at(frame + 8), handlers = (int32_t)word_at(frame + 17);
    uint32_t size = word_at(frame + 12);
    int64_t shift = shift_at(&moves->shifts, named);
    put(r, f->at + 4, less(sum(back, shift), shift_at(&moves->shifts, named - back)), WORD);
    int64_t address = sum(site, 4 + (int64_t)begins), moved = difference_at(&moves->addresses, address);
    if (moved != NOWHERE) put(r, f->at + 8, less(sum(begins, moved), f->difference), WORD);
    if (f->with_sizes && size && size_becomes(moves, address, size, &becomes)) put(r, f->at + 12, becomes, WORD);
    if (!has) return;
    moved = difference_at(&moves->addresses, sum(site, 13 + (int64_t)handlers));
    if (moved != NOWHERE) put(r, f->at + 17, less(sum(handlers, moved), f->difference), WORD);
}

int operands_predict_frames(operands_records *r, operands_frames *f, const operands_moves *moves) {
    hear(f);
    while (r->size >= FRAME && f->at < r->size - FRAME && (int64_t)f->at + LEAST_FRAME <= f->left) {
        const uint8_t *frame = r->records + f->at;
        int64_t length = word_at(frame), back = word_at(frame + 4);
        if (!length || length > f->left - (int64_t)f->at - 4) return 0;
        if (back) {
            int names_them = word_at(frame + 17) && length >= WITH_HANDLERS && frame[16] == HANDLER_BYTES;
            int has = names_them && has_handlers(f, f->place + (int64_t)f->at + 4 - back);
            if (f->asks) return 1;
            function(r, f, moves, back, has);
        }
        if ((uint64_t)length + 4 > r->size - f->at) return 0;
        f->at += (size_t)length + 4;
    }
    return 0;
}

/* Where in an instruction for x86-64 the next byte is, as far as a few rules tell; of other bytes it tells nothing. */
#ifndef INSTRUCTION_H
#define INSTRUCTION_H
#include <stdint.h>

enum { AT_START, AT_SECOND, AT_THIRD, AT_MODRM, AT_SIB, AT_REST };
enum { INSTRUCTION_STATES = 16 };

typedef struct {
    uint8_t phase, left, wide, narrow, map, opcode, modrm;
    uint8_t displacement, immediate;    /* Bytes that follow ModRM. */
    char form;
    uint32_t so_far;                    /* A hash of the bytes of this instruction. */
    uint32_t before, older;             /* Opcode and ModRM of the last two. */
} instruction;

/* What follows an opcode: n nothing, b 1 byte, 2 two, 3 three, w 4 (2 behind 66), q 4, o 8, a w or 8; m ModRM, M with
 * 1 byte more, W with w; g, h ModRM, and if that tests, b or w. Or: p prefix, x REX, e another table. */
static const char FORMS[257] =
    "mmmmbwnnmmmmbwne" "mmmmbwnnmmmmbwnn" "mmmmbwpnmmmmbwpn" "mmmmbwpnmmmmbwpn"
    "xxxxxxxxxxxxxxxx" "nnnnnnnnnnnnnnnn" "nnpmppppwWbMnnnn" "bbbbbbbbbbbbbbbb"
    "MWMMmmmmmmmmmmmm" "nnnnnnnnnnnnnnnn" "oooonnnnbwnnnnnn" "bbbbbbbbaaaaaaaa"
    "MM2nmmMW3n2nnbnn" "mmmmnnnnmmmmmmmm" "bbbbbbbbqqbbnnnn" "pnppnnghnnnnnnmm";
static const char FORMS_0F[257] =
    "mmmmmnmmmmmnmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mnmmmmmmmmmmmmmm"
    "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "MMMMmmmnmmmmmmmm"
    "qqqqqqqqqqqqqqqq" "mmmmmmmmmmmmmmmm" "nnnmMmmmnnmmMmmm" "mmmmmmmmmmMmmmmm"
    "mmMmMMMmnnnnnnnn" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm";

static inline void instruction_rest(instruction *x, uint32_t bytes) {
    x->left = (uint8_t)bytes;
    x->phase = AT_REST;
    if (bytes) return;
    x->older = x->before;
    x->before = x->opcode | (uint32_t)x->map << 8 | (uint32_t)x->modrm << 16;
    x->phase = AT_START;
    x->so_far = x->wide = x->narrow = x->map = x->modrm = x->opcode = 0;
}

static inline void instruction_form(instruction *x, char form) {
    uint32_t word = x->narrow ? 2 : 4;
    x->form = form;
    x->immediate = form == 'M' || form == 'g' ? 1 : form == 'W' || form == 'h' ? (uint8_t)word : 0;
    switch (form) {
    case 'n': instruction_rest(x, 0); break;
    case 'b': instruction_rest(x, 1); break;
    case '2': instruction_rest(x, 2); break;
    case '3': instruction_rest(x, 3); break;
    case 'w': instruction_rest(x, word); break;
    case 'q': instruction_rest(x, 4); break;
    case 'o': instruction_rest(x, 8); break;
    case 'a': instruction_rest(x, x->wide ? 8 : word); break;
    default: x->phase = AT_MODRM;
    }
}

static inline void instruction_start(instruction *x, uint8_t byte) {
    char form = FORMS[byte];
    x->opcode = byte;
    if (form == 'p') x->narrow |= byte == 0x66;
    else if (form == 'x') x->wide = byte >> 3 & 1;
    else if (form == 'e') x->phase = AT_SECOND;
    else instruction_form(x, form);
}

static inline void instruction_second(instruction *x, uint8_t byte) {
    x->opcode = byte;
    x->map = byte == 0x38 ? 2 : byte == 0x3A ? 3 : 1;
    if (x->map > 1) x->phase = AT_THIRD;
    else instruction_form(x, FORMS_0F[byte]);
}

static inline void instruction_modrm(instruction *x, uint8_t byte) {
    uint32_t mode = byte >> 6, base = byte & 7;
    x->modrm = byte;
    if ((x->form == 'g' || x->form == 'h') && (byte >> 3 & 7) > 1) x->immediate = 0;
    x->displacement = mode == 1 ? 1 : mode == 2 || (mode == 0 && base == 5) ? 4 : 0;
    if (mode != 3 && base == 4) x->phase = AT_SIB;
    else instruction_rest(x, x->displacement + x->immediate);
}

static inline void instruction_next(instruction *x, uint8_t byte) {
    x->so_far = (x->so_far + byte + 1) * 0x2F0B4C47u;
    switch (x->phase) {
    case AT_START: instruction_start(x, byte); break;
    case AT_SECOND: instruction_second(x, byte); break;
    case AT_THIRD: x->opcode = byte; instruction_form(x, x->map == 2 ? 'm' : 'M'); break;
    case AT_MODRM: instruction_modrm(x, byte); break;
    case AT_SIB:
        if ((byte & 7) == 5 && x->modrm < 64) x->displacement = 4;
        instruction_rest(x, x->displacement + x->immediate);
        break;
    default:
        if (--x->left == 0) instruction_rest(x, 0);
    }
}

static inline uint32_t instruction_state(const instruction *x) {
    return x->phase < AT_REST ? x->phase : 4u + (x->left < 11 ? x->left : 11u);
}
#endif

"""A slow decoder of context mixing in plain Python: docs/formats/context-mixing.md as a program."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

M32 = 0xFFFFFFFF
REFINED_BITS = 13
CURVE = [1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047]
CURVE += [2549, 2994, 3348, 3607, 3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094]


def squash(x: int) -> int:
    if not -2047 <= x <= 2047:
        return 4095 if x > 0 else 0
    w, i = x & 127, (x >> 7) + 16
    return (CURVE[i] * (128 - w) + CURVE[i + 1] * w + 64) >> 7


def _stretches() -> list[int]:
    table: list[int] = []
    for x in range(-2047, 2048):
        table += [x] * (squash(x) + 1 - len(table))
    return table + [2047] * (4096 - len(table))


STRETCH = _stretches()
RATE = [655360 // (10 * count + 13) for count in range(256)]
ROW = [squash((step - 16) * 128) * 16 for step in range(33)]


def _first_history(seen: int) -> int:
    bits = f"{seen:b}"[1:] if seen else ""
    return 65535 * (2 * bits.count("1") + 1) // (2 * len(bits) + 2)


FIRST_HISTORY = [_first_history(seen) for seen in range(256)]


def hash2(a: int, b: int) -> int:
    return ((a + 0x1234567) * 0x9E3779B1 ^ (b * 0x85EBCA77 + (b >> 13))) & M32


def row_of(context: int) -> int:
    return (context * 0x9E3779B1 & M32) >> (32 - REFINED_BITS)


def place_of(made: int, left: int) -> int:
    return made if left > 3 else 1 << (3 - left) | made & (1 << (3 - left)) - 1


def expectation(known: bool, bit: int, strength: int) -> int:
    return 0 if not known else strength if bit else -strength


class Coder:
    def __init__(self, coded: bytes) -> None:
        self.coded = coded
        self.at, self.low, self.high = 4, 0, M32
        self.value = int.from_bytes(coded[:4], "big")

    def bit(self, p: int) -> int:
        middle = self.low + ((self.high - self.low) * p >> 16)
        bit = int(self.value <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) >> 24 == 0:
            self.value = (self.value << 8 & M32) | self.coded[self.at]
            self.at += 1
            self.low = self.low << 8 & M32
            self.high = self.high << 8 & M32 | 255
        return bit


class Slot:
    def __init__(self) -> None:
        self.p, self.seen, self.count = 0x8000, 1, 0


class Mixer:
    def __init__(self, coder: Coder, contexts: int, buckets: int, limit: int, sets: int) -> None:
        self.coder, self.size, self.limit = coder, buckets, limit
        self.buckets: list[dict[int, tuple[int, list[Slot]]]] = [{} for _ in range(contexts)]
        self.history = [[[list(FIRST_HISTORY) for _ in (0, 1)] for _ in range(contexts)] for _ in (0, 1)]
        self.weights: list[dict[int, list[int]]] = [
            defaultdict(lambda: [6000] * 2 * contexts + [0] * 3) for _ in range(sets)
        ]
        self.refined: list[dict[int, list[int]]] = [defaultdict(lambda: list(ROW)), defaultdict(lambda: list(ROW))]
        self.now: list[list[Slot]] = []

    def look(self, hashes: list[int]) -> None:
        self.now = [self._bucket(context, value & M32) for context, value in enumerate(hashes)]

    def _bucket(self, context: int, value: int) -> list[Slot]:
        value = value * 0x9E3779B1 & M32
        value ^= value >> 15
        value = value * 0x85EBCA77 & M32
        place, check = value * self.size >> 32, value & 0xFFFF | 1
        buckets = self.buckets[context]
        for at in (place, place ^ 1):
            if at in buckets and buckets[at][0] == check:
                return buckets[at][1]
        first, second = (buckets[at][1][1].count if at in buckets else 0 for at in (place, place ^ 1))
        slots = [Slot() for _ in range(16)]
        buckets[place ^ 1 if second < first else place] = check, slots
        return slots

    def bit(self, place: int, match: list[int], sets: list[int], rows: list[int], purpose: int = 0) -> int:
        slots = [bucket[place] for bucket in self.now]
        histories = [self.history[purpose][i][slot.count > 24] for i, slot in enumerate(slots)]
        inputs: list[int] = []
        for slot, history in zip(slots, histories, strict=True):
            if slot.count:
                inputs += [STRETCH[slot.p >> 4], STRETCH[history[slot.seen] >> 4]]
            else:
                inputs += [0, 0]
        inputs += [*match, 256]
        weights = [table[number] for table, number in zip(self.weights, sets, strict=True)]
        mixed = [
            max(-2047, min(2047, sum(x * w >> 8 for x, w in zip(inputs, each, strict=True)) >> 8)) for each in weights
        ]
        x = sum(mixed) >> 1 if len(mixed) == 2 else sum(mixed) * 21845 >> 16
        scaled = (x + 2048) * 32
        step, w = scaled >> 12, scaled & 4095
        tables = [self.refined[k][rows[k]] for k in (0, 1)]
        better = [(row[step] * (4096 - w) + row[step + 1] * w) >> 16 for row in tables]
        p = max(24, min(65536 - 24, (2 * squash(x) * 16 + sum(better) * 16 + 32) >> 2))
        bit = self.coder.bit(p)
        for each, was in zip(weights, mixed, strict=True):
            error = ((bit << 12) - squash(was)) * 8
            each[:] = [
                max(-(1 << 20) + 1, min((1 << 20) - 1, w + ((x * error + 0x2000) >> 14)))
                for w, x in zip(each, inputs, strict=True)
            ]
        for slot, history in zip(slots, histories, strict=True):
            self._learn(slot, bit, history)
        near = step + (w >> 11)
        for row in tables:
            row[near] += ((bit << 16) + (bit << 7) - 2 * bit - row[near]) >> 7
        return bit

    def _learn(self, slot: Slot, bit: int, history: list[int]) -> None:
        goal = bit * 65535
        p = slot.p + ((goal - slot.p) * (RATE[slot.count] >> 2) >> 14)
        slot.p = max(16, min(65519, p))
        history[slot.seen] += (goal - history[slot.seen]) >> 6
        seen = slot.seen * 2 + bit
        slot.seen = seen if slot.seen < 128 else seen & 127 | 128
        slot.count += slot.count < self.limit


class Match:
    """A place before that looked like this one, and how long both have been alike."""

    def __init__(self, past: bytearray, bits: int, longest: int, search: int) -> None:
        self.past, self.bits, self.longest, self.search = past, bits, longest, search
        self.places: dict[int, int] = {}
        self.at, self.length = 0, 0

    def move(self, value: int) -> int:
        past, key = self.past, (value & M32) >> (32 - self.bits)
        if self.length and past[self.at] == past[-1]:
            self.at += 1
            self.length = min(self.longest, self.length + 1)
        else:
            self.length = 0
        if not self.length and (found := self.places.get(key, 0)):
            self.at = found
            while self.length < self.search and _back(past[:found], self.length + 1) == _back(past, self.length + 1):
                self.length += 1
        self.places[key] = len(past)
        return past[self.at] if self.length else 256


def _back(past: bytes, distance: int) -> int:
    return past[-distance] if 0 < distance <= len(past) else 0


def _four(past: bytes, first: int) -> int:
    return int.from_bytes(bytes(_back(past, first + 3 - k) for k in range(4)), "little")


class Zeros:
    """What is left out: lengths of runs, and blocks."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.last_bits = self.before_bits = self.zero_blocks = 0
        self.lengths: list[dict[int, int]] = [defaultdict(lambda: 32768), defaultdict(lambda: 32768)]
        self.digits: dict[int, int] = defaultdict(lambda: 32768)
        self.blocks: dict[int, int] = defaultdict(lambda: 32768)

    def run(self) -> int:
        a = self.last_bits * 32
        b = (self.last_bits * 8 + (self.before_bits >> 2) & 63) * 32
        bits = 0
        while bits < 30 and self._bit([(self.lengths[0], a + bits), (self.lengths[1], b + bits)]):
            bits += 1
        made = 1
        for k in range(bits - 1, -1, -1):
            at = ((bits * 32 + k) * 64 + (made & 63 if bits - k <= 6 else 0)) & 65535
            made = made * 2 + self._bit([(self.digits, at), (self.digits, at)])
        self.before_bits, self.last_bits = self.last_bits, bits
        return made - 1

    def block(self, size: int) -> int:
        kind = 0 if size < 32 else 1 if size < 256 else 2 if size < BLOCK else 3
        zero = self._bit([(self.blocks, kind * 8 + self.zero_blocks)] * 2)
        self.zero_blocks = self.zero_blocks * 2 + zero & 7
        return zero

    def _bit(self, two: list[tuple[dict[int, int], int]]) -> int:
        p = max(64, min(65472, sum(table[at] for table, at in two) >> 1))
        bit = self.coder.bit(p)
        for (table, at), rate in zip(two, (4, 5), strict=True):
            table[at] += (65535 - table[at]) >> rate if bit else -(table[at] >> rate)
        return bit


class Warm:
    """Places behind or at old bytes as they were where something changed."""

    def __init__(self) -> None:
        self.warmth: list[dict[int, int]] = [defaultdict(int), defaultdict(int)]
        self.waiting: list[tuple[int, int, bool]] = []

    def keys(self, old: bytes, at: int) -> tuple[int, int]:
        if at < 4 or at + 4 > len(old):
            return 0, 0
        behind = old[at - 3] | old[at - 2] << 8 | old[at - 1] << 16
        around = old[at - 1] | old[at + 2] << 8 | old[at + 3] << 16
        return (behind * 0x9E3779B1 & M32) >> 16, (around * 0x85EBCA77 & M32) >> 16

    def is_warm(self, old: bytes, at: int) -> bool:
        return any(self.warmth[way][key] >= 64 for way, key in enumerate(self.keys(old, at)))

    def note(self, old: bytes, at: int, changed: bool) -> None:
        for way, key in enumerate(self.keys(old, at)):
            if len(self.waiting) < 4096 and key and (changed or self.warmth[way][key]):
                self.waiting.append((way, key, changed))

    def learn(self) -> None:
        for way, key, changed in self.waiting:
            was = self.warmth[way][key]
            self.warmth[way][key] = min(255, was + 64) if changed else was - ((was + 15) >> 4)
        self.waiting = []


BLOCK = 4096
SETS = 256 * 10, 2048


def steps(n: int) -> int:
    for least, step in ((256, 14), (64, 13), (32, 12), (16, 11), (12, 9), (8, 8)):
        if n >= least:
            return step
    return n


class Numbers:
    """The residuals of numbers."""

    def __init__(self, mixer: Mixer) -> None:
        self.mixer = mixer
        self.tables: list[dict[int, int]] = [defaultdict(int) for _ in range(3)]
        self.trusts: list[dict[int, int]] = [defaultdict(int), defaultdict(int)]
        self.last = self.last_but_one = self.quiet = self.changes = 0

    def code(self, old: bytes, at: int, width: int, place: int) -> bytes:
        wide = width == 8
        self.value, self.before = old_four(old, at), old_four(old, at - 4)
        self.after = old_four(old, at + width) & 0xFFFF
        self.target = self.value if wide else self.value + place + at + 4 & M32
        self.kind, self.now_quiet = 256 if wide else self.before >> 24, steps(self.quiet)
        near = (self.target >> 8) + 77777
        keys = [number_key(self.target), number_key(self.value ^ self.kind << 24 & M32), number_key(near)]
        self.expected = [table[key] for table, key in zip(self.tables, keys, strict=True)]
        self.trust = [trust[key] for trust, key in zip(self.trusts, keys, strict=False)]
        self.mixer.look(self._hashes(0))
        made = bytes(width) if self._is_zero() else self._bytes(width)
        value = int.from_bytes(made[:4], "little")
        for table, key in zip(self.tables, keys, strict=True):
            table[key] = value
        for k in (0, 1):
            self.trusts[k][keys[k]] = min(255, self.trust[k] + 1) if self.expected[k] == value else 1
        self._learn(value)
        return made

    def _learn(self, value: int) -> None:
        self.changes = (self.changes << 1 | (value != 0)) & 255
        if value:
            self.last_but_one, self.last, self.quiet = self.last, value, 0
        else:
            self.quiet += 1

    def _hashes(self, made: int) -> list[int]:
        t, v, kind = self.target, self.value, self.kind * 512
        pairs = [
            (t, made + 1),
            (t >> 5, made + 2),
            (t >> 9, made + 3),
            (t >> 13, made + 4),
            (v, made + kind + 5),
            (v >> 7, made + kind + 6),
            (v >> 14, made + kind + 7),
            (self.last, made + kind + 8),
            (self.last, made + self.last_but_one * 0x2F0B4C47 + self.now_quiet),
            (self.before >> 8, made + 10),
            (self.now_quiet | self.kind << 8, made + 11),
            (self.before, made + self.after * 1024 + 12),
            (self.changes, made + kind + 13),
            (self.expected[0], made + self.expected[2] * 0x2F0B4C47 + min(self.trust[0], 3)),
        ]
        return [hash2(a, b & M32) for a, b in pairs]

    def _is_zero(self) -> int:
        t, v = (min(self.trust[k], 3) * 2 + (self.expected[k] != 0) for k in (0, 1))
        match = [expectation(self.trust[k] > 0, not self.expected[k], trusted(self.trust[k])) for k in (0, 1)]
        sets = [SETS[0] + t + 8 * v, SETS[1] + self.now_quiet + 16 * t]
        rows = [row_of(t | v << 4 | 1 << 22), row_of(self.kind | self.now_quiet << 9 | 1 << 23)]
        return self.mixer.bit(1, match, sets, rows, 1)

    def _bytes(self, width: int) -> bytes:
        out, made = bytearray(), 0x1000193
        for n in range(width):
            out.append(self._byte(self._hashes(made), n, out))
            made = (made + out[-1] + 1) * 0x2F0B4C47 & M32
        return bytes(out)

    def _byte(self, hashes: list[int], n: int, before: bytes) -> int:
        place, made = min(n, 3), 1
        expected = []
        for k in (0, 1):
            whole = self.expected[k].to_bytes(4, "little") + (b"\xff" if self.expected[k] >> 31 else b"\0") * 4
            holds = self.trust[k] and whole[: min(n, 4)] == before[:4]
            expected.append(whole[n] if holds else 512)
        for left in range(7, -1, -1):
            if left in (7, 3):
                self.mixer.look([value + (0x55555 if left == 7 else 0x77777 * made) for value in hashes])
            known = [e < 256 and (e | 256) >> left + 1 == made for e in expected]
            bits = [e >> left & 1 for e in expected]
            near = [1 + bit if holds else 0 for bit, holds in zip(bits, known, strict=True)]
            match = [expectation(known[k], bits[k], trusted(self.trust[k])) for k in (0, 1)]
            second = SETS[1] + 256 + (place * 3 + near[0]) * 3 + near[1] + 36 * min(self.trust[0], 3)
            sets = [SETS[0] + 64 + made + place * 256, second]
            row = made | place << 8 | (self.last >> 8 * place & 255) << 12 | 5 << 22
            rows = [row_of(made | place << 8 | near[0] << 12 | 3 << 22), row_of(row)]
            made = made * 2 + self.mixer.bit(place_of(made, left), match, sets, rows, 1)
        return made & 255


def number_key(value: int) -> int:
    return (value * 0x9E3779B1 & M32) >> 17


def trusted(trust: int) -> int:
    return 64 + 60 * min(trust, 12)


def old_four(old: bytes, first: int) -> int:
    return sum(old[at] << 8 * k for k in range(4) if 0 <= (at := first + k) < len(old))


class Residual:
    """The residual model; as long as less than 2^19 bytes were coded, so that nothing was forgotten."""

    def __init__(self, coded: bytes, bits: int = 15) -> None:
        self.coder = Coder(coded)
        self.mixer = Mixer(self.coder, 14, 1 << bits, 250, 2)
        self.zeros, self.warm, self.numbers = Zeros(self.coder), Warm(), Numbers(self.mixer)
        self.past = bytearray()
        self.match = Match(self.past, 16, 255, 32)
        self.by_old: dict[int, int] = {}
        self.trust: dict[int, int] = defaultdict(int)
        self.row = self.since = self.left = self.after = self.value = self.value_before = 0
        self.running = False

    def span(self, old: bytes, numbers: Sequence[int] = (), place: int = 0) -> bytes:
        self.warm.learn()
        widths = {number >> 1: 8 if number & 1 else 4 for number in reversed(numbers)}
        out = bytearray()
        while len(out) < len(old):
            end = min(len(old), len(out) + BLOCK)
            if self.zeros.block(end - len(out)):
                out += bytes(end - len(out))
            while len(out) < end:
                width = widths.get(len(out), 0)
                if width and len(out) + width <= end:
                    out += self.numbers.code(old, len(out), width, place)
                else:
                    out.append(0 if self._run_takes(old, len(out)) else self._byte(old, len(out)))
        return bytes(out)

    def _run_takes(self, old: bytes, at: int) -> bool:
        if self.after or self.warm.is_warm(old, at):
            return False
        if not self.running and self.row >= 32:
            self.left, self.running, self.match.length = self.zeros.run(), True, 0
        if self.running and self.left:
            self.left -= 1
            self.since = min(4096, self.since + 1)
            return True
        if self.running:
            self.running, self.row = False, 0
        return False

    def _byte(self, old: bytes, i: int) -> int:
        past, s = self.past, self.since
        s = 19 if s > 4095 else 18 if s > 255 else 17 if s > 63 else 16 if s > 31 else min(s, 15)
        d = [_back(past, k) for k in range(9)]
        d1, four, far = d[1], int.from_bytes(bytes(d[1:5]), "little"), int.from_bytes(bytes(d[5:9]), "little")
        following, before = old_four(old, i), old_four(old, i - 4)
        ob = following & 255
        e1 = self.match.move(four * 0x9E3779B1 & M32 ^ far * 0x85EBCA77 & M32 ^ before * 0x2545F491 & M32)
        key = (following * 0x9E3779B1 & M32 ^ before * 0x85EBCA77 & M32) >> 16
        found = self.by_old.get(key, 0)
        e2 = past[found] if found else 256
        self.by_old[key] = len(past)
        n, trust = self.match.length, self.trust[key]
        strength = 3 if n > 15 else 2 if n > 5 else 1 if n else 0
        pairs = [
            (s, d1),
            (d1 | d[2] << 8, ob),
            (four, 77),
            (following, d1 | 1 << 9),
            (ob | before >> 24 << 8 | (following >> 8 & 255) << 16, d1 | 2 << 9),
            (self.value | self.value_before << 8, s | 3 << 9),
            (before, ob | d1 << 8 | 4 << 17),
            (ob | before >> 16 << 8, s | 6 << 9),
            (following & 0xFFFFFF | 7 << 24, before >> 24 | d1 << 8 | 6 << 17),
            (four ^ far * 7 & M32, 9 << 17),
            (e1 | strength << 9, s | d1 << 8 | 1 << 20),
            (e2 | min(trust, 3) << 9, s | 2 << 20 | d1 << 8),
            (d[8] | old_four(old, i - 8) << 24 & M32, ob | s << 8 | 3 << 20),
            (_back(past, 24) | _back(past, 23) << 8 | self.value << 16, s | 4 << 20),
        ]
        byte = self._decide([hash2(*pair) for pair in pairs], e1, e2, trust, s, ob, before, strength)
        past.append(byte)
        self.warm.note(old, i, byte != 0)
        self.after = 3 if byte else max(0, self.after - 1)
        if byte:
            self.value_before, self.value, self.since, self.row = self.value, byte, 0, 0
        else:
            self.since = min(4096, self.since + 1)
            self.row += 1
        self.trust[key] = min(255, trust + 1) if e2 == byte else 0
        return byte

    def _decide(
        self, hashes: list[int], e1: int, e2: int, trust: int, s: int, ob: int, before: int, strength: int
    ) -> int:
        mixer, n = self.mixer, self.match.length
        s1, s2 = 600 if n > 31 else n * 16 + 80, 80 + min(trust, 7) * 50
        mixer.look(hashes)
        match = [expectation(e1 < 256, e1 == 0, s1), expectation(e2 < 256, e2 == 0, s2)]
        seen = 32 if e2 == 0 else 64 if e2 < 256 else 0
        rows = [row_of(s | seen | strength << 7), row_of(ob | before >> 24 << 8 | 1 << 20)]
        if mixer.bit(1, match, [s, ob | strength << 8], rows):
            return 0
        made = 1
        for left in range(7, -1, -1):
            if left in (7, 3):
                mixer.look([value + (0x55555 if left == 7 else 0x77777 * made) for value in hashes])
            f1 = e1 < 256 and (e1 | 256) >> left + 1 == made
            f2 = e2 < 256 and (e2 | 256) >> left + 1 == made
            b1, b2 = e1 >> left & 1, e2 >> left & 1
            sets = [made + 256 * (s // 2 if s < 16 else 8) + 256, 1024 + (made | f1 << 8 | f2 << 9)]
            near = (256 if b2 else 512) if f2 else 0
            rows = [row_of(256 + made + near + (1024 if f1 else 0)), row_of(made | ob << 8 | 1 << 21)]
            match = [expectation(f1, b1, s1), expectation(f2, b2, s2)]
            made = made * 2 + mixer.bit(place_of(made, left), match, sets, rows)
        return made & 255


FORMS = [
    "mmmmbwnnmmmmbwne" "mmmmbwnnmmmmbwnn" "mmmmbwpnmmmmbwpn" "mmmmbwpnmmmmbwpn"
    "xxxxxxxxxxxxxxxx" "nnnnnnnnnnnnnnnn" "nnpmppppwWbMnnnn" "bbbbbbbbbbbbbbbb"
    "MWMMmmmmmmmmmmmm" "nnnnnnnnnnnnnnnn" "oooonnnnbwnnnnnn" "bbbbbbbbaaaaaaaa"
    "MM2nmmMW3n2nnbnn" "mmmmnnnnmmmmmmmm" "bbbbbbbbqqbbnnnn" "pnppnnghnnnnnnmm",
    "mmmmmnmmmmmnmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mnmmmmmmmmmmmmmm"
    "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "MMMMmmmnmmmmmmmm"
    "qqqqqqqqqqqqqqqq" "mmmmmmmmmmmmmmmm" "nnnnMmmmnnmmMmmm" "mmmmmmmmmmMmmmmm"
    "mmMmMMMmnnnnnnnn" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm",
    "m" * 256,
    "M" * 256,
]  # fmt: skip
AT_START, AT_SECOND, AT_THIRD, AT_MODRM, AT_SIB, AT_REST = range(6)


class Instruction:
    """Where in an instruction the next byte is."""

    def __init__(self) -> None:
        self.before = self.older = self.left = 0
        self._start()

    def _start(self) -> None:
        self.phase = AT_START
        self.so_far = self.wide = self.narrow = self.map = self.modrm = self.opcode = 0

    @property
    def state(self) -> int:
        return self.phase if self.phase < AT_REST else 4 + min(self.left, 11)

    def next(self, byte: int) -> None:
        self.so_far = (self.so_far + byte + 1) * 0x2F0B4C47 & M32
        if self.phase < AT_MODRM:
            self._opcode(byte)
        elif self.phase == AT_MODRM:
            self.modrm, mode, base = byte, byte >> 6, byte & 7
            if self.form in "gh" and (byte >> 3 & 7) > 1:
                self.immediate = 0
            self.displacement = 1 if mode == 1 else 4 if mode == 2 or (mode == 0 and base == 5) else 0
            if mode != 3 and base == 4:
                self.phase = AT_SIB
            else:
                self._rest(self.displacement + self.immediate)
        elif self.phase == AT_SIB:
            if byte & 7 == 5 and self.modrm < 64:
                self.displacement = 4
            self._rest(self.displacement + self.immediate)
        else:
            self._rest(self.left - 1)

    def _opcode(self, byte: int) -> None:
        self.opcode = byte
        if self.phase == AT_SECOND:
            self.map = {0x38: 2, 0x3A: 3}.get(byte, 1)
        if self.phase == AT_SECOND and self.map > 1:
            self.phase = AT_THIRD
            return
        form = FORMS[self.map][byte]
        if form == "p":
            self.narrow |= byte == 0x66
        elif form == "x":
            self.wide = byte >> 3 & 1
        elif form == "e":
            self.phase = AT_SECOND
        else:
            self._form(form)

    def _form(self, form: str) -> None:
        word = 2 if self.narrow else 4
        self.form, self.immediate = form, {"M": 1, "g": 1, "W": word, "h": word}.get(form, 0)
        rest = {"n": 0, "b": 1, "2": 2, "3": 3, "w": word, "q": 4, "o": 8, "a": 8 if self.wide else word}
        if form in rest:
            self._rest(rest[form])
        else:
            self.phase = AT_MODRM

    def _rest(self, size: int) -> None:
        self.left, self.phase = size, AT_REST
        if not size:
            self.older, self.before = self.before, self.opcode | self.map << 8 | self.modrm << 16
            self._start()


class NewBytes:
    """The model of new bytes; as long as less than 2^20 bytes were coded."""

    def __init__(self, coded: bytes, bits: int = 15) -> None:
        self.mixer = Mixer(Coder(coded), 18, (1 << bits) // 4 * 3, 127, 3)
        self.past = bytearray()
        self.match = Match(self.past, 17, 400, 60)
        self.word, self.code = 0, Instruction()

    def make(self, size: int) -> bytes:
        return bytes(self._byte() for _ in range(size))

    def _byte(self) -> int:
        past = self.past
        b = [_back(past, k) for k in range(13)]
        c1, c2, _, c4 = b[1:5]
        four, far = _four(past, 1), _four(past, 5)
        self.word = (self.word + c1) * 0x2F0B4C47 & M32 if chr(c1 | 32) in "abcdefghijklmnopqrstuvwxyz" else 0
        expected = self.match.move(four * 0x9E3779B1)
        x = self.code
        x.next(c1)
        n, i = self.match.length, len(past)
        strength = 3 if n > 31 else 2 if n > 15 else 1 if n else 0
        pairs = [
            (c1, 0),
            (four >> 16, 1 << 9),
            (four >> 8, 2 << 9),
            (four, 3 << 9),
            (b[6] | c1 << 8 | b[12] << 16, 4 << 17),
            (four, far >> 16 | 5 << 17),
            (self.word, c1 | 7 << 17),
            (four & 0xFF00FF00, 8 << 17),
            (four & 0x00FFFF00, 9 << 17),
            (i & 3 | c1 << 8 | c4 << 16, 11 << 17),
            (b[8] | c4 << 8 | (i & 7) << 16, 12 << 17),
            (expected | strength << 9, c1 | 14 << 17),
            (x.so_far, 15 << 17),
            (x.so_far, x.before * 9 + 16),
            (x.so_far, x.before ^ x.older * 0x2F0B4C47 & M32),
            (x.opcode | x.map << 8 | x.modrm << 16 | 11 << 24, x.state | (0 if x.state > 4 else x.before << 8)),
            (x.state | c1 << 8 | 15 << 17, x.opcode | x.map << 8),
            (x.before, x.state | x.older << 8),
        ]
        made = self._decide([hash2(*pair) for pair in pairs], expected, c1, c2)
        past.append(made & 255)
        return made & 255

    def _decide(self, hashes: list[int], expected: int, c1: int, c2: int) -> int:
        made = 1
        for left in range(7, -1, -1):
            if left in (7, 3):
                self.mixer.look([value + (0 if left == 7 else 0x77777 * made) for value in hashes])
            known, e, n = (
                expected < 256 and (expected | 256) >> left + 1 == made,
                expected >> left & 1,
                self.match.length,
            )
            strength = (3 if n > 31 else 2 if n > 15 else 1) if known else 0
            match = [expectation(known, e, 512 + n if n > 31 else n * 20), expectation(known, e, 256)]
            rows = [row_of(made | c1 << 8), row_of(made | (c1 << 8 | c2) << 8 | 1 << 25)]
            bit = self.mixer.bit(
                place_of(made, left), match, [made | strength << 8, c1, self.code.state | self.code.opcode << 4], rows
            )
            if known and bit != e:
                expected, self.match.length = 256, 0
            made = made * 2 + bit
        return made

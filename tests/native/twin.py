"""A slow decoder of context mixing in plain Python: docs/formats/context-mixing.md as a program."""

from __future__ import annotations

from collections import defaultdict

M32 = 0xFFFFFFFF
CONTEXTS, INPUTS, REFINED_BITS = 14, 32, 13
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
    def __init__(self, coder: Coder, bits: int, limit: int) -> None:
        self.coder, self.bits, self.limit = coder, bits, limit
        self.buckets: list[dict[int, tuple[int, list[Slot]]]] = [{} for _ in range(CONTEXTS)]
        self.history = [[list(FIRST_HISTORY), list(FIRST_HISTORY)] for _ in range(CONTEXTS)]
        self.weights: list[dict[int, list[int]]] = [
            defaultdict(lambda: [6000] * 2 * CONTEXTS + [0] * 4),
            defaultdict(lambda: [6000] * 2 * CONTEXTS + [0] * 4),
        ]
        self.refined: list[dict[int, list[int]]] = [defaultdict(lambda: list(ROW)), defaultdict(lambda: list(ROW))]
        self.now: list[list[Slot]] = []

    def look(self, hashes: list[int]) -> None:
        self.now = [self._bucket(context, value & M32) for context, value in enumerate(hashes)]

    def _bucket(self, context: int, value: int) -> list[Slot]:
        value = value * 0x9E3779B1 & M32
        value ^= value >> 15
        value = value * 0x85EBCA77 & M32
        place, check = value >> (32 - self.bits), value & 0xFFFF | 1
        buckets = self.buckets[context]
        for at in (place, place ^ 1):
            if at in buckets and buckets[at][0] == check:
                return buckets[at][1]
        first, second = (buckets[at][1][1].count if at in buckets else 0 for at in (place, place ^ 1))
        slots = [Slot() for _ in range(16)]
        buckets[place ^ 1 if second < first else place] = check, slots
        return slots

    def bit(self, place: int, match: list[int], sets: list[int], rows: list[int]) -> int:
        slots = [bucket[place] for bucket in self.now]
        histories = [self.history[i][slot.count > 24] for i, slot in enumerate(slots)]
        inputs: list[int] = []
        for slot, history in zip(slots, histories, strict=True):
            if slot.count:
                inputs += [STRETCH[slot.p >> 4], STRETCH[history[slot.seen] >> 4]]
            else:
                inputs += [0, 0]
        inputs += [*match, 256, 0]
        weights = [self.weights[k][sets[k]] for k in (0, 1)]
        mixed = [
            max(-2047, min(2047, sum(x * w >> 8 for x, w in zip(inputs, each, strict=True)) >> 8)) for each in weights
        ]
        x = (mixed[0] + mixed[1]) >> 1
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


class Residual:
    """The residual model; as long as less than 2^20 bytes were coded, so that nothing was forgotten."""

    def __init__(self, coded: bytes, bits: int = 15) -> None:
        self.coder = Coder(coded)
        self.mixer = Mixer(self.coder, bits, 250)
        self.past = bytearray()
        self.match = Match(self.past, 16, 255, 32)
        self.by_old: dict[int, int] = {}
        self.trust: dict[int, int] = defaultdict(int)
        self.row = self.since = self.left = self.value = self.value_before = self.last_bits = self.before_bits = 0
        self.lengths: list[dict[int, int]] = [defaultdict(lambda: 32768), defaultdict(lambda: 32768)]
        self.digits: dict[int, int] = defaultdict(lambda: 32768)

    def span(self, old: bytes) -> bytes:
        out = bytearray()
        while len(out) < len(old):
            if self.left:
                zeros = min(self.left, len(old) - len(out))
                out += bytes(zeros)
                self.left -= zeros
            elif self.row == 32:
                self.left = self._run()
                self.since = 4096 if max(self.since, self.left) > 4095 else self.since + self.left
                self.row = self.match.length = 0
                if not self.left:
                    out.append(self._byte(old, len(out)))
            else:
                out.append(self._byte(old, len(out)))
        return bytes(out)

    def _run(self) -> int:
        a = self.last_bits * 32
        b = (self.last_bits * 8 + (self.before_bits >> 2) & 63) * 32
        bits = 0
        while bits < 30 and self._run_bit([(self.lengths[0], a + bits), (self.lengths[1], b + bits)]):
            bits += 1
        made = 1
        for k in range(bits - 1, -1, -1):
            at = ((bits * 32 + k) * 64 + (made & 63 if bits - k <= 6 else 0)) & 65535
            made = made * 2 + self._run_bit([(self.digits, at), (self.digits, at)])
        self.before_bits, self.last_bits = self.last_bits, bits
        return made - 1

    def _run_bit(self, two: list[tuple[dict[int, int], int]]) -> int:
        p = max(64, min(65472, sum(table[at] for table, at in two) >> 1))
        bit = self.coder.bit(p)
        for (table, at), rate in zip(two, (4, 5), strict=True):
            table[at] += (65535 - table[at]) >> rate if bit else -(table[at] >> rate)
        return bit

    def _byte(self, old: bytes, i: int) -> int:
        def old_at(first: int) -> int:
            return sum(old[at] << 8 * k for k in range(4) if 0 <= (at := i + first + k) < len(old))

        past, s = self.past, self.since
        s = 19 if s > 4095 else 18 if s > 255 else 17 if s > 63 else 16 if s > 31 else min(s, 15)
        d = [_back(past, k) for k in range(9)]
        d1, four, far = d[1], int.from_bytes(bytes(d[1:5]), "little"), int.from_bytes(bytes(d[5:9]), "little")
        following, before = old_at(0), old_at(-4)
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
            (d[8] | old_at(-8) << 24 & M32, ob | s << 8 | 3 << 20),
            (_back(past, 24) | _back(past, 23) << 8 | self.value << 16, s | 4 << 20),
        ]
        byte = self._decide([hash2(*pair) for pair in pairs], e1, e2, trust, s, ob, before, strength)
        past.append(byte)
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


class NewBytes:
    """The model of new bytes; as long as less than 2^20 bytes were coded."""

    def __init__(self, coded: bytes, bits: int = 15) -> None:
        self.mixer = Mixer(Coder(coded), bits, 127)
        self.past = bytearray()
        self.match = Match(self.past, 17, 400, 60)
        self.word = self.operand = 0

    def make(self, size: int) -> bytes:
        return bytes(self._byte() for _ in range(size))

    def _byte(self) -> int:
        past = self.past
        b = [_back(past, k) for k in range(13)]
        c1, c2, c3, c4 = b[1:5]
        four, far = _four(past, 1), _four(past, 5)
        self.word = (self.word + c1) * 0x2F0B4C47 & M32 if chr(c1 | 32) in "abcdefghijklmnopqrstuvwxyz" else 0
        expected = self.match.move(four * 0x9E3779B1)
        if c1 in (0xE8, 0xE9) or (c2 == 0x0F and c1 & 0xF0 == 0x80) or c1 & 0xC7 == 5:
            self.operand = 5
        else:
            self.operand = max(0, self.operand - 1)
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
            (c3 | c2 << 8 | self.operand << 16, 10 << 17),
            (i & 3 | c1 << 8 | c4 << 16, 11 << 17),
            (b[8] | c4 << 8 | (i & 7) << 16, 12 << 17),
            (0, 13 << 17),
            (expected | strength << 9, c1 | 14 << 17),
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
            bit = self.mixer.bit(place_of(made, left), match, [made | strength << 8, c2], rows)
            if known and bit != e:
                expected, self.match.length = 256, 0
            made = made * 2 + bit
        return made

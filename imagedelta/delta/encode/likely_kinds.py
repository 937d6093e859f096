"""The kinds of references that are worth predicting in a file, by what it is: the most that its bounds allow."""

from __future__ import annotations

from imagedelta.delta.content import Extent
from imagedelta.delta.encode.versions import Versions
from imagedelta.delta.predict.bounds import Bounds
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.prediction import START_BYTES

_ELF_X86_64, _ELF_AARCH64 = 62, 183
_PE_BYTECODE = 0x14C
_PE_AARCH64 = tuple(0xAA64 ^ system for system in (0, 0x7B79, 0x4644, 0xADC4, 0x1993))
"""What .NET calls a machine has the system (Windows, Linux, macOS, FreeBSD, NetBSD) in it."""
_FIXED_ADDRESS = 2
_ELF = Kind.ADDRESSES | Kind.TABLES | Kind.JUMPS | Kind.NUMBERS
_PE = Kind.JUMPS | Kind.NUMBERS


def may_have_kinds(start: bytes) -> bool:
    """Return whether a file begins as those do that have kinds: ELF, PE, metadata of .NET."""
    return start.startswith((b"\x7fELF", b"MZ", b"BSJB"))


def kinds_of_program(old: Extent, new: Extent, bounds: Bounds) -> Kind:
    """Return the kinds of an ELF program; none for other files, or where the old one is much larger."""
    starts = [file.read_at(0, min(START_BYTES, file.size)) for file in (old, new)]
    found = _elf_kinds(starts[1]) if all(map(read_elf, starts)) else Kind.NONE
    return _within(bounds, found, old.size, new.size)


def kinds_of_file(both: Versions, bounds: Bounds) -> Kind:
    """Return the kinds of a program or a .NET file; none for other files, or where the old one is much larger."""
    return _within(bounds, _kinds(both), len(both.old), len(both.new))


def _within(bounds: Bounds, found: Kind, old_size: int, new_size: int) -> Kind:
    """Return the kinds that are within bounds; without tables where only these are too large."""
    tried = (found, found & ~Kind.TABLES)
    return next((kinds for kinds in tried if bounds.allow(kinds, new_size, old_size)), Kind.NONE)


def _kinds(both: Versions) -> Kind:
    old, new = both.old, both.new
    if read_elf(old[:START_BYTES]) and read_elf(new[:START_BYTES]):
        return _elf_kinds(new)
    found = Kind.CLR if both.old_clr and both.new_clr else Kind.NONE
    if read_pe(old[:START_BYTES]) and read_pe(new[:START_BYTES]) and (code := _pe_code(new)):
        found |= code | _PE
    return found


def _elf_kinds(new: bytes) -> Kind:
    machine = int.from_bytes(new[18:20], "little")
    if machine == _ELF_AARCH64:
        return _ELF | Kind.AARCH64
    if machine == _ELF_X86_64:
        return _ELF | Kind.CODE | (Kind.IMMEDIATES if new[16] == _FIXED_ADDRESS else Kind.NONE)
    return Kind.NONE


def _pe_code(data: bytes) -> Kind:
    """Return the kind of the machine code in a PE file; none where there is only bytecode."""
    header = int.from_bytes(data[60:64], "little")
    machine = int.from_bytes(data[header + 4 : header + 6], "little")
    if machine == _PE_BYTECODE:
        return Kind.NONE
    return Kind.AARCH64 if machine in _PE_AARCH64 else Kind.CODE

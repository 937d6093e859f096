"""A target layer as items: headers out of the index's structure, data out of the plan and its pieces.

Whatever does not look like a tar is carried as it is, so every layer comes out byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from imagedelta.delta.content import LayerContent
from imagedelta.delta.encode.beside import KeptDifferences
from imagedelta.delta.encode.old_text import OldTextStream
from imagedelta.delta.encode.pieces import Piece, PieceReader
from imagedelta.delta.encode.plan import Choice, FilePlan, LayerPlan, PatchPlan
from imagedelta.delta.encode.spools import SegmentWriter
from imagedelta.delta.format.items import STREAM_OF, Header, Item, ItemWriter, Way
from imagedelta.delta.format.listed import Marked
from imagedelta.delta.format.references import References
from imagedelta.delta.format.roles import Role
from imagedelta.delta.format.tar_walk import BLOCK, HeaderBlock, ReadsAt, data_size, walk_headers
from imagedelta.limits import KIB, MIB

_LONG_ODD = 64 * KIB
"""A longer run outside files is no tar structure any more: it goes with the literals, whose coder fits it."""
_ODD_PIECE = MIB
_EXTENSIONS = b"xgLK"
_TYPE = 156


class LayerItems:
    """Writes the items of the rebuilt layers, one layer after the other."""

    def __init__(
        self,
        plan: PatchPlan,
        pieces: PieceReader,
        streams: SegmentWriter,
        old_text: OldTextStream,
        differences: KeptDifferences | None,
    ) -> None:
        """Args:
        pieces: Of all files whose data must be read, in the order of the plan.
        streams: Take the streams, but for text behind its old text, which ``old_text`` takes.
        differences: Takes differences with their old bytes, where the profile mixes them.
        """
        self._differences = differences
        self._plan = plan
        self._pieces = pieces
        self._raw = streams
        self._old_text = old_text
        self._source_headers = [layer.headers for layer in plan.source_layers]
        self._references = References(self._source_headers.__getitem__, plan.member_counts)
        self._writer = ItemWriter(streams, self._references)
        self._kept: dict[tuple[bytes, int], int] = {}
        self._kept_bytes = 0
        self._largest_base = 0

    @property
    def scratch_bytes(self) -> int:
        """What the device keeps on the way, and its largest unfolded base."""
        return self._kept_bytes + self._largest_base

    def write(self, plan: LayerPlan) -> None:
        """Append all items of a layer."""
        position = 0
        files = [file for file in plan.files if file.choice]
        done = 0
        for member in _members(plan):
            if done < len(files) and files[done] is not member.file and files[done].entry.offset < member.end:
                break  # the walk takes a file's data for something else
            position = self._member(plan.layer, member, position)
            done += member.file is not None and member.file.choice is not None
        for file in files[done:]:
            self._odd(plan.layer, position, file.entry.offset)
            self._data(file, None)
            position = file.entry.offset + file.entry.size
        self._end(plan.layer, position)

    def _member(self, layer: LayerContent, member: _Member, position: int) -> int:
        """Write one member with its extension headers; return where it ends."""
        count = len(member.extensions)
        base = self._plan.number(member.file.reference) if member.file and member.file.reference else None
        for place, block in enumerate(member.extensions):
            self._padding(layer, position, block.offset)
            data = layer.headers.read_at(block.offset, BLOCK)
            self._extension(layer, block, Header(data, self._extension_reference(data, base, count - place)))
            position = block.data_offset + block.size
        if member.block is None:
            return position
        self._padding(layer, position, member.block.offset)
        header: Header | None = Header(layer.headers.read_at(member.block.offset, BLOCK), base)
        if member.block.data_offset > member.block.offset + BLOCK:
            self._writer.write(Item(Way.NONE), header)
            self._odd(layer, member.block.offset + BLOCK, member.block.data_offset)
            header = None
        if member.file and member.file.choice:
            self._data(member.file, header)
        elif header:
            self._extension(layer, member.block, header)
        else:
            self._odd(layer, member.block.data_offset, member.end)
        return member.end

    def _extension_reference(self, header: bytes, base: int | None, distance: int) -> int | None:
        """Return the extension header as far before the reference as ``header`` is before its own member."""
        if base is None or base < distance:
            return None
        other = self._references.member(base - distance)
        return base - distance if other.header[_TYPE] == header[_TYPE] else None

    def _extension(self, layer: LayerContent, block: HeaderBlock, header: Header) -> None:
        """Write a header and data that is no file's."""
        if data_size(header.block) == block.size and self._is_data_of(header.reference, layer, block):
            self._writer.write(Item(Way.SAME, block.size), header)
        elif not block.size:
            self._writer.write(Item(Way.NONE), header)
        else:
            way = Way.LITERAL if block.size > _LONG_ODD else Way.TEXT
            self._writer.write(Item(way, block.size), header)
            for data in _pieces(layer.headers, block.data_offset, block.size):
                self._raw.write(STREAM_OF[way], data)

    def _is_data_of(self, reference: int | None, layer: LayerContent, block: HeaderBlock) -> bool:
        """Whether a member has the data of a header of the target; no data is the data of any."""
        if reference is None or not block.size:
            return not block.size
        member = self._references.member(reference)
        old = _pieces(self._source_headers[member.layer], member.offset, member.size)
        return member.size == block.size and all(
            one == other for one, other in zip(old, _pieces(layer.headers, block.data_offset, block.size), strict=True)
        )

    def _data(self, file: FilePlan, header: Header | None) -> None:
        """Write the data of a file, behind its header if there is one."""
        marked = Marked(file.marks, file.entry.size) if file.marks else None
        item = self._copied(file, header)
        if item:
            self._writer.write(item, header, marked)
            return
        content = (file.entry.digest, file.entry.size)
        if file.keep:
            self._kept[content] = self._kept_bytes
            self._kept_bytes += file.entry.size
        inner = 0
        for piece in self._pieces.next_file():
            folded = inner > 0
            item = replace(piece.item, keep=file.keep and not folded)
            self._writer.write(item, header, marked)
            if marked and file.fills:
                self._raw.write(Role.DIGESTS, file.fills)
            header = marked = None
            inner += item.inner_length - (item.length if folded else 0)
            self._streams(piece, file)
            self._largest_base = max(self._largest_base, piece.scratch_bytes)

    def _copied(self, file: FilePlan, header: Header | None) -> Item | None:
        size = file.entry.size
        if file.choice is Choice.KEPT:
            return Item(Way.KEPT, size, offset=self._kept[file.entry.digest, size])
        if file.is_diffed or file.base is None:
            return None
        base = self._plan.number(file.base)
        if file.choice is Choice.STAMPED:
            return Item(Way.STAMPED, size, base, stamp=file.entry.stamp)
        if header and header.reference == base and data_size(header.block) == size:
            return Item(Way.SAME, size)
        return Item(Way.COPY, size, base)

    def _streams(self, piece: Piece, file: FilePlan) -> None:
        if self._differences:
            self._differences.add(piece.beside)
        for role, data in piece.streams.items():
            if role is Role.OLD_TEXT and file.base:
                self._old_text.add(file.entry.path, self._plan.number(file.base), file.base.data, data)
            else:
                self._raw.write(role, data)

    def _padding(self, layer: LayerContent, position: int, offset: int) -> None:
        """Account for the bytes up to a header: zeros up to the next block come by themselves."""
        if offset - position != -position % BLOCK or any(layer.headers.read_at(position, offset - position)):
            self._odd(layer, position, offset)

    def _odd(self, layer: LayerContent, position: int, end: int) -> None:
        """Carry bytes as they are; a long run goes with the literals, whose coder fits it."""
        way = Way.LITERAL if end - position > _LONG_ODD else Way.ODD
        for data in _pieces(layer.headers, position, end - position):
            self._writer.write(Item(way, len(data)))
            self._raw.write(STREAM_OF[way], data)

    def _end(self, layer: LayerContent, position: int) -> None:
        size = layer.index.size
        if any(map(any, _pieces(layer.headers, position, size - position))):
            self._odd(layer, position, size)
            position = size
        self._writer.write(Item(Way.END, size - position))


@dataclass(frozen=True, slots=True)
class _Member:
    """A header of a target layer, with the extension headers before it."""

    extensions: list[HeaderBlock]
    block: HeaderBlock | None
    """``None`` for extension headers that nothing follows."""
    file: FilePlan | None

    @property
    def end(self) -> int:
        """Where its data ends."""
        last = self.block or self.extensions[-1]
        return last.data_offset + last.size


def _pieces(headers: ReadsAt, offset: int, length: int) -> Iterator[bytes]:
    for at in range(offset, offset + length, _ODD_PIECE):
        yield headers.read_at(at, min(_ODD_PIECE, offset + length - at))


def _members(plan: LayerPlan) -> Iterator[_Member]:
    files = {file.entry.offset: file for file in plan.files}
    headers = plan.layer.headers
    extensions: list[HeaderBlock] = []
    for block in walk_headers(headers, plan.layer.index.size):
        file = files.get(block.data_offset)
        if file and file.entry.size == block.size:
            yield _Member(extensions, block, file)
            extensions = []
        elif headers.read_at(block.offset, BLOCK)[_TYPE] in _EXTENSIONS:
            extensions.append(block)
        elif block.size > _LONG_ODD:
            break
        else:
            yield _Member(extensions, block, None)
            extensions = []
    if extensions:
        yield _Member(extensions, None, None)

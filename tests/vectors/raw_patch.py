"""A patch with its streams laid open, so that one of them can be changed and everything around it still holds."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace

from imagedelta.delta import read_patch_header
from imagedelta.delta.format.coders import MIXED_DIFFERENCES, RAW, Params
from imagedelta.delta.format.header import PatchHeader, PatchStream, header_to_bytes
from imagedelta.delta.format.roles import Role
from tests.vectors.reader import Patch


@dataclass(frozen=True, slots=True)
class RawPatch:
    """The head of a patch and the raw bytes of its streams."""

    header: PatchHeader
    """Its stream table is not looked at."""
    streams: Mapping[Role, bytes]
    coded: Mapping[Role, tuple[PatchStream, bytes]]
    """Streams that stay as they are: text coded against old text, without which its dictionaries have no use, and
    differences mixed beside old bytes, which have no raw form."""

    def with_streams(self, **changed: bytes) -> RawPatch:
        """Return a patch with other bytes in the streams of these names (``items``, ``diff_lengths`` …)."""
        return replace(self, streams={**self.streams, **{Role[name.upper()]: data for name, data in changed.items()}})

    def with_head(self, **fields: object) -> RawPatch:
        """Return a patch with other fields of its head."""
        return replace(self, header=replace(self.header, **fields))  # type: ignore[arg-type]

    def to_bytes(self) -> bytes:
        """Return the patch, every stream uncoded but those that stay."""
        raw = {role: (PatchStream(role, RAW, Params(), len(data), len(data)), data) for role, data in self._used()}
        streams = [stream for _, stream in sorted({**raw, **self.coded}.items())]
        return header_to_bytes(replace(self.header, streams=tuple(row for row, _ in streams))) + b"".join(
            data for _, data in streams
        )

    def _used(self) -> list[tuple[Role, bytes]]:
        return [(role, data) for role, data in self.streams.items() if data]


def laid_open(patch: bytes, sources: Mapping[str, bytes], configs: Mapping[str, bytes]) -> RawPatch:
    """Decode the streams of a good patch.

    Args:
        sources: Source layers by diff_id.
        configs: Configs of source images by image ID.
    """
    header = read_patch_header(io.BytesIO(patch))
    decoded = Patch(patch, dict(sources), dict(configs)).streams
    coded: dict[Role, tuple[PatchStream, bytes]] = {}
    end = len(patch)
    for row in reversed(header.streams):
        if row.role is Role.OLD_TEXT or row.coder == MIXED_DIFFERENCES:
            coded[row.role] = (row, patch[end - row.coded_bytes : end])
        end -= row.coded_bytes
    streams = {Role(role): stream.data for role, stream in decoded.items() if role not in coded}
    return RawPatch(header, streams, coded)

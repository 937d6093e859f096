"""The keys that seal bundles, by their ids. Those in a vault are asked for theirs when somebody seals: an app without
its vault answers, plans and reports; only what would be published waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imagedelta.bundles.seal import Sealer


class Sealers(Mapping[str, Sealer]):
    """Reading it raises DependencyError while a vault does not tell a key's public half."""

    def __init__(self, sealers: Sequence[Sealer]) -> None:
        """Args:
        sealers: Preferred first.
        """
        self._sealers = sealers

    def __getitem__(self, key_id: str) -> Sealer:
        return self._by_id[key_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def _by_id(self) -> dict[str, Sealer]:
        return {sealer.key_id: sealer for sealer in self._sealers}

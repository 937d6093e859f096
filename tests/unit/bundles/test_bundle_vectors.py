import io
import json

import pytest

from imagedelta.bundles import check_chunk_list, parse_head, read_bundle, read_shared, read_trusted_keys
from imagedelta.errors import ImageDeltaError
from tests.unit.bundles.bundles import PATCH
from tests.vectors.make import FOLDER

TRUSTED = read_trusted_keys(FOLDER / "bundle" / "trusted.pub")
VECTORS = json.loads((FOLDER / "bundle" / "vectors.json").read_bytes())


def outcome(name: str) -> str:
    try:
        whole = FOLDER / "bundle" / f"{name}.imgbundle"
        data = whole.read_bytes() if whole.exists() else joined((FOLDER / "bundle" / f"{name}.shared").read_bytes())
        read_bundle(io.BytesIO(data), TRUSTED).verify_patch_digest()
    except ImageDeltaError as refusal:
        return refusal.code
    return ""


def joined(shared: bytes) -> bytes:
    """The bundle that a device makes of the file of a shared bundle and the patch."""
    parts = read_shared(shared)
    head, _ = parse_head(parts.before, TRUSTED)
    check_chunk_list(head, parts.chunks)
    return parts.before + PATCH + parts.after


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_has_the_outcome_it_is_named_for(name):
    assert outcome(name) == VECTORS[name]["code"]

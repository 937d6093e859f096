import io
import json

import pytest

from imagedelta.bundles import read_bundle, read_trusted_keys
from imagedelta.errors import ImageDeltaError
from tests.vectors.make import FOLDER

VECTORS = json.loads((FOLDER / "bundle" / "vectors.json").read_bytes())


def outcome(name: str) -> str:
    data = (FOLDER / "bundle" / f"{name}.imgbundle").read_bytes()
    try:
        read_bundle(io.BytesIO(data), read_trusted_keys(FOLDER / "bundle" / "trusted.pub")).verify_patch_digest()
    except ImageDeltaError as refusal:
        return refusal.code
    return ""


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_has_the_outcome_it_is_named_for(name):
    assert outcome(name) == VECTORS[name]["code"]

"""What a device's twin says of the patches that its shared bundles refer to: where they lie, and a grant for each.

A SAS names one blob, so a device reads its own patches and no others. Most of each SAS is the same for all of them,
and every byte of a twin crosses the link: that part is written once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from contracts.messages import PatchAccess, PatchGrant
from services.deps import Deps
from services.ports import Blobs

log = logging.getLogger(__name__)


def patch_access(
    blobs: Blobs, patches: Sequence[str], lifetime: timedelta
) -> tuple[PatchAccess, datetime] | tuple[None, None]:
    """Access to these patches, by sha256, and when the first grant of it ends; nothing for none."""
    if not patches:
        return None, None
    grants = [blobs.blob_grant("patches", patch, lifetime) for patch in patches]
    common, own = _factored([grant.query for grant in grants])
    access = PatchAccess(
        url=blobs.container_url("patches"),
        query=common,
        grants=[PatchGrant(patch=patch, query=query) for patch, query in zip(patches, own, strict=True)],
    )
    return access, min(grant.expires_at for grant in grants)


def lose_patch(deps: Deps, sha256: str) -> None:
    """Have a patch built anew that is not in the storage as it was: a rule of its lifecycle, or a person, took it.

    What is left of it goes first: a build keeps what is there already.
    """
    log.warning("patch %s is gone from the storage: it is built anew", sha256)
    for name in (sha256, f"{sha256}.chunks"):
        deps.blobs.delete("patches", name)
    deps.store.patches.lost(sha256, deps.now())


def _factored(queries: Sequence[str]) -> tuple[str, list[str]]:
    """The parameters that all queries share, and the others of each."""
    each = [query.split("&") for query in queries]
    common = [part for part in each[0] if all(part in others for others in each)]
    return "&".join(common), ["&".join(part for part in parts if part not in common) for parts in each]

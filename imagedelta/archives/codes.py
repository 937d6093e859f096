"""Codes of archives, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "content.blob_missing": "The archive is incomplete: save the image again, with all its layers.",
    "content.duplicate_member": "The archive holds one name twice, so readers could disagree: save it again.",
    "content.not_an_image": "Give a docker save tar, an OCI archive or an OCI layout folder.",
    "request.no_image": "Correct the name: a docker-save tar, OCI archive or layout folder (PATH#NAME chooses one of "
    "several), docker://NAME or registry://HOST/REPOSITORY:TAG.",
    "content.packed": "Unpack it, or pack it with gzip or zstd: this packing is not read here.",
    "content.encrypted": "Decrypt the image first, e.g. with `skopeo copy --decryption-key`.",
    "request.scratch_full": "Free room there, or name another folder with --scratch. In the cloud send the archive as "
    "a plain tar: only one that is packed as a whole is unpacked to disk.",
}
explain(REMEDIES)

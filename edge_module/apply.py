"""One verified bundle becomes one image.

Order of durable steps, so that power loss between any two leaves old images usable, the new one complete or
absent, and one result: layers, config and manifest; the index (image and name at once); the journal; the
report in the outbox. Removing the bundle comes last and is the inbox's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import count

from contracts.messages import DesiredProperties
from edge_module.engines import Engine
from edge_module.files import Files
from edge_module.intake import Intake
from edge_module.journal import Job
from edge_module.reporting import Reporter
from edge_module.scratch_file import SCRATCH, open_scratch
from imagedelta.bundles import BundleHead, OpenedBundle
from imagedelta.delta.decode.apply import apply_patch
from imagedelta.delta.format.header import PatchHeader, read_patch_header
from imagedelta.delta.format.source_images import name_layers
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, SourceMissing

_SCRATCH_FILE = f"{SCRATCH}/apply-"
log = logging.getLogger("imagedelta.apply")


class Applier:
    def __init__(
        self,
        files: Files,
        engine: Engine,
        reporter: Reporter,
        intake: Intake,
        memory_bytes: int,
        reserve_bytes: int,
    ) -> None:
        self._files = files
        self._engine = engine
        self._reporter = reporter
        self._intake = intake
        self._memory_bytes = memory_bytes
        self._reserve_bytes = reserve_bytes

    def apply(self, job: Job, bundle: OpenedBundle, desired: DesiredProperties, *, verify: bool) -> bool:
        """Rebuild, name and report; returns whether the bundle is dealt with (False: blocked, try later).

        Args:
            verify: The patch's sealed digest has not been held against its bytes in this run yet.
        """
        try:
            self._rebuild(job, bundle, min(self._memory_bytes, desired.memory_bytes), verify)
        except SourceMissing as error:
            self._lose_source(self._now(job), bundle.head, error)
        except DependencyError as error:
            self._reporter.fail(self._now(job), error, "blocked")
            log.warning("%s waits: %s", job.key, error)
            return False
        except ContentError as error:
            self._reporter.fail(self._now(job), error)
        except OSError as error:
            blocked = DependencyError(f"reading failed: {error}", code="disk.failing")
            self._reporter.fail(self._now(job), blocked, "blocked")
            return False
        except Exception as error:
            log.exception("%s: applying failed in a way nobody foresaw", job.key)
            self._reporter.fail(self._now(job), ImageDeltaError(f"{type(error).__name__}: {error}"))
        return True

    def _rebuild(self, job: Job, bundle: OpenedBundle, memory_bytes: int, verify: bool) -> None:
        if verify:
            bundle.verify_patch_digest()
        header = _read_header(bundle)
        with self._engine.open_sources() as sources:
            diff_ids = name_layers(header, sources.config).target
        self._check_disk(header, diff_ids)
        if job.state != "applying":
            self._reporter.move(job, "applying")
        # A layer that is here is not made again, so its bytes are checked instead.
        self._engine.drop_damaged(set(diff_ids))
        bundle.patch.seek(0)
        scratch_files = count()
        with self._engine.open_sources() as sources:
            image = apply_patch(
                bundle.patch,
                sources.find,
                sources.config,
                self._engine,
                memory_limit=memory_bytes,
                scratch=lambda: open_scratch(self._files, f"{_SCRATCH_FILE}{next(scratch_files)}"),
            )
        reference = self._intake.reference_for(bundle.head)
        present = self._engine.add_image(image.config, image.diff_ids, reference)
        self._intake.finish(self._now(job), present)

    def _now(self, job: Job) -> Job:
        return self._reporter.latest(job)

    def _check_disk(self, header: PatchHeader, diff_ids: Sequence[str]) -> None:
        """Raises: DependencyError ``disk.full`` before anything is written."""
        sizes = {diff_id: layer.size for diff_id, layer in zip(diff_ids, header.layers, strict=True)}
        needed = (
            sum(size for diff_id, size in sizes.items() if not self._engine.has_layer(diff_id))
            + header.config_bytes
            + header.scratch_bytes
            + self._reserve_bytes
        )
        needed += self._engine.extra_bytes(header.source_image_ids)
        free = self._engine.free_bytes()
        if free < needed:
            raise DependencyError(f"{needed} bytes of disk needed, {free} are free", code="disk.full")

    def _lose_source(self, job: Job, head: BundleHead, error: SourceMissing) -> None:
        """Find out which source image it is; damaged layers are forgotten, so the inventory tells the truth."""
        layers = {image.image_id: image.diff_ids for image in self._engine.images()}
        for source in head.source_image_ids:
            self._engine.drop_damaged(layers.get(source, ()))
        whole = {image.image_id for image in self._engine.images()}
        lost = [source for source in head.source_image_ids if source not in whole] or list(head.source_image_ids)
        if not lost:
            self._reporter.fail(job, ContentError(f"a full bundle that needs a source: {error}"))
            return
        self._intake.source_missing(job, lost[0], error)


def _read_header(bundle: OpenedBundle) -> PatchHeader:
    bundle.patch.seek(0)
    header = read_patch_header(bundle.patch)
    head = bundle.head
    if (header.target_image_id, header.platform) != (head.target_image_id, head.platform):
        raise ContentError("the patch makes another image than the bundle's head says")
    return header

"""The bundle of a transfer becomes an image, and the cloud is told how that went.

The image first (edge_module.rebuilds), then its name, then the journal, then the report in the outbox: whenever the
power goes, there is one result. Removing the bundle comes last and is the inbox's.
"""

from __future__ import annotations

import logging

from contracts.messages import DesiredProperties
from edge_module.admission import Rules
from edge_module.engines import Engine
from edge_module.intake import Intake
from edge_module.journal import Job
from edge_module.rebuilds import Rebuilds, RebuildTask
from edge_module.reporting import Reporter
from edge_module.verdict import DONE, WAIT, Refused, Verdict
from imagedelta.bundles import BundleHead, OpenedBundle
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, SourceMissing

log = logging.getLogger("imagedelta.apply")


class Applier:
    def __init__(self, rebuilds: Rebuilds, engine: Engine, reporter: Reporter, intake: Intake, rules: Rules) -> None:
        self._rebuilds = rebuilds
        self._engine = engine
        self._reporter = reporter
        self._intake = intake
        self._rules = rules

    def apply(self, job: Job, path: str, bundle: OpenedBundle, desired: DesiredProperties, *, verify: bool) -> Verdict:
        """Rebuild, name and report.

        Args:
            path: The bundle's file.
            verify: The patch's sealed digest has not been held against its bytes in this run yet.
        """
        try:
            if verify:
                bundle.verify_patch_digest()
            task = task_of(path, bundle.head, self._rules, desired)
            present = self._rebuilds.rebuild(task, lambda: self._begin(job))
            self._intake.finish(self._now(job), self._intake.name(present, bundle.head))
        except SourceMissing as error:
            return self._lose_source(self._now(job), bundle.head, error)
        except DependencyError as error:
            log.warning("%s waits: %s", job.key, error)
            return self._block(job, error)
        except OSError as error:
            return self._block(job, DependencyError(f"reading failed: {error}", code="disk.failing"))
        except ContentError as error:
            return self._fail(job, error)
        except Exception as error:
            log.exception("%s: applying failed in a way nobody foresaw", job.key)
            return self._fail(job, ImageDeltaError(f"{type(error).__name__}: {error}"))
        return DONE

    def _begin(self, job: Job) -> None:
        if job.state != "applying":
            self._reporter.move(job, "applying")

    def _now(self, job: Job) -> Job:
        return self._reporter.latest(job)

    def _block(self, job: Job, error: DependencyError) -> Verdict:
        self._reporter.fail(self._now(job), error, "blocked")
        return WAIT

    def _fail(self, job: Job, error: ImageDeltaError) -> Verdict:
        self._reporter.fail(self._now(job), error)
        return Refused(error)

    def _lose_source(self, job: Job, head: BundleHead, error: SourceMissing) -> Verdict:
        """The cloud plans anew: it is told which source is lost."""
        if not head.source_image_ids:
            return self._fail(job, ContentError(f"a full bundle that needs a source: {error}"))
        lost = lost_sources(self._engine, head) or head.source_image_ids
        self._intake.source_missing(job, lost[0], error)
        return DONE


def task_of(path: str, head: BundleHead, rules: Rules, desired: DesiredProperties) -> RebuildTask:
    return RebuildTask(path, head, head.reference, min(rules.memory_bytes, desired.memory_bytes))


def lost_sources(engine: Engine, head: BundleHead) -> list[str]:
    """Which sources of ``head`` are not whole here; damaged layers are forgotten, so no inventory names them."""
    layers = {image.image_id: image.diff_ids for image in engine.images()}
    for source in head.source_image_ids:
        engine.drop_damaged(layers.get(source, ()))
    whole = {image.image_id for image in engine.images()}
    return [source for source in head.source_image_ids if source not in whole]

"""``python -m tests.fuzz --seconds 60``: damage good bytes and hold what every reader must do with them."""

from __future__ import annotations

import argparse
import resource
import secrets
import sys

from imagedelta.limits import MIB
from tests.fuzz import layer_subjects, number_subjects, patch_subjects, stored_subjects
from tests.fuzz.run import Report, Subject, fuzz, one

MEMORY_BYTES = 1024 * MIB
"""Address space of the whole process: interpreter, libraries, threads of a build, and whatever a bad input asks for."""
SUBJECTS: dict[str, Subject] = {
    "patch": patch_subjects.any_bytes,
    "head": patch_subjects.head,
    "coded streams": patch_subjects.coded_streams,
    "raw streams": patch_subjects.raw_streams,
    "numbers": number_subjects.numbers,
    "mixed": number_subjects.mixed,
    "sources": patch_subjects.sources,
    "build": layer_subjects.build,
    "programs": layer_subjects.programs,
    "folds": layer_subjects.folds,
    "layer index": layer_subjects.layer_index,
    "index": stored_subjects.index_bytes,
    "index columns": stored_subjects.index_columns,
    "signature": stored_subjects.signature,
    "bundle": stored_subjects.bundle,
    "unsealed bundle": stored_subjects.unsealed_bundle,
    "shared bundle": stored_subjects.shared_bundle,
}


def main() -> int:
    """Run, print the counts, and return 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="at most so many per subject")
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="a subject; may be given several times")
    parser.add_argument("--replay", type=int, help="number of the one input to try again")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    seed = secrets.randbits(32) if chosen.seed is None else chosen.seed
    subjects = {name: subject for name, subject in SUBJECTS.items() if not chosen.only or name in chosen.only}
    if chosen.replay is None:
        report = fuzz(subjects, seed, seconds=chosen.seconds, inputs=chosen.inputs)
    else:
        report = Report(seed)
        for name, subject in subjects.items():
            one(report, name, subject, chosen.replay)
    for failure in report.failures[:5]:
        print(failure)
    for line in report.lines():
        print(line)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"most memory: {peak} MiB, {MEMORY_BYTES // MIB} MiB of addresses allowed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Building patches, and proving them before anyone gets one.

``build``                        the story; the others follow in the order in which the data flows
``bases``, ``plan``              what is done with each file, by the indexes alone
``chunks``, ``job_queue``        the work, in parts that are done side by side
``methods``                      how a file is carried: ``windows``, ``file_diff`` (``matches``, ``drift``),
                                 ``fold_finding``, ``dictionary_lzma``
``pieces``                       what comes out of that
``layer_items``, ``old_text``    pieces become items and raw streams, in ``spools``
``stream_plans``                 how each raw stream is coded: ``stream_memory``, ``codings``, ``tunings``, ``samples``
``stream_coding``                raw streams become the patch
``verify``, ``verified``         the proof; ``remembering`` spares it reads
``costs``                        what each file of a patch costs, for people
"""

from imagedelta.delta.encode.build import PatchSummary, build_patch
from imagedelta.delta.encode.verified import build_verified_patch
from imagedelta.delta.encode.verify import verify_patch

__all__ = ["PatchSummary", "build_patch", "build_verified_patch", "verify_patch"]

"""The file of priority rules, as it is now: a changed file is read again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml

from imagedelta.errors import RequestError
from planning.priorities import Rule, parse_rules

_MAX_BYTES = 1 << 20


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of the file. No file, no rules.

    Raises: RequestError ``settings.priorities`` when it cannot be used.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    if found.st_size > _MAX_BYTES:
        raise RequestError(f"{path} is larger than {_MAX_BYTES} bytes", code="settings.priorities")
    return _parsed(path, found.st_mtime_ns)


@lru_cache(maxsize=4)
def _parsed(path: Path, changed_at: int) -> tuple[Rule, ...]:
    try:
        return parse_rules(yaml.safe_load(path.read_text("utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is not YAML: {error}", code="settings.priorities") from error
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}", code="settings.priorities") from error

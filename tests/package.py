"""The package that azd deploys: the project without what .funcignore names, which azd reads as a .gitignore.

Source: Azure/azure-dev#5383 (from azd 1.18 on; local.settings.json is left out whatever the file says).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).parents[1]


def pack(folder: Path) -> Path:
    """Into ``folder``, which is not there yet."""
    spec = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text("utf-8").splitlines())

    def left_out(parent: str, names: list[str]) -> set[str]:
        inside = Path(parent).relative_to(ROOT)
        return {
            name
            for name in names
            if spec.match_file(f"{inside / name}{'/' if Path(parent, name).is_dir() else ''}")
            or name == "local.settings.json"
        }

    return shutil.copytree(ROOT, folder, ignore=left_out)

"""Git repositories as teams have them: copies of samples/, with commits on top."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.pipelines.pipelines import ROOT


class Repository:
    """A copy of a sample repository with one commit."""

    def __init__(self, folder: Path, sample: str) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "samples" / sample, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self.change({})

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        ran = subprocess.run(
            ["git", "-C", str(self.folder), *who, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def change(self, files: dict[str, str | None]) -> str:
        """Write files, or delete them, and commit; the commit."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.head

    def replace(self, name: str, old: str, new: str) -> str:
        text = (self.folder / name).read_text()
        assert old in text
        return self.change({name: text.replace(old, new)})

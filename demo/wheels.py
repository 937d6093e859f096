"""The published packages that the demo's images are made of: exact pins, fetched once, kept for offline runs.

Each wheel is pinned by sha256, so an image made of them is the same on every machine. pip fetches (it knows
the machine's index, proxy and certificates); every file is hashed again before it is used.
Not here: what goes where inside an image (demo.images).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PIP_SECONDS = 1800
_PLATFORMS = (
    "manylinux1_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",  # the same as manylinux2014, but not to pip where a package uses the newer word alone
    "manylinux_2_28_x86_64",
    "musllinux_1_2_x86_64",
    "any",
)
_TARGET_PYTHON = "3.11"


class WheelsUnavailable(Exception):
    """Not every wheel could be fetched; the message says what to do."""


@dataclass(frozen=True)
class Wheel:
    """One published wheel for Linux on x86-64; ``size`` in bytes."""

    name: str
    version: str
    size: int
    sha256: str

    @property
    def requirement(self) -> str:
        """The line of a requirements file that accepts this file only."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


WHEELS: tuple[Wheel, ...] = (
    Wheel("aiohttp", "3.10.10", 1292718, "679abe5d3858b33c2cf74faec299fda60ea9de62916e8b67e625d65bf069a3b7"),
    Wheel("annotated_types", "0.7.0", 13643, "1f02e8b43a8fbbc3f3e0d4f0f4bfc8131bcb4eebe8849b8e5c773f3a1c582a53"),
    Wheel("azureml_dataprep", "2.1.6", 28172979, "015ac0985a36c990a2db3b5f8d6c34eeb936c9f6cdaaed1d45b3c8d92153163c"),
    Wheel("azureml_dataprep", "2.1.7", 28173428, "1c54864ab30f9f8e3442d3d07c32169a139ebae32dfa146b3b94d6906e4a3dab"),
    Wheel("bsdiff4", "1.3.2", 42407, "2863fe51b8b516ac5a3be7f9df9c8b5c7db84058a18e11b0896d92de44308802"),
    Wheel("certifi", "2024.8.30", 167321, "922820b53db7a7257ffbda3f597266d435245903d80737e34f8a45ff3e3230d8"),
    Wheel("cffi", "1.17.1", 467242, "610faea79c43e44c71e1ec53a554553fa22321b65fae24889706c0a84d4ad86d"),
    Wheel("charset_normalizer", "3.4.0", 142585, "3710a9751938947e6327ea9f3ea6332a09bf0ba0c09cae9cb1f250bd1f1549bc"),
    Wheel("click", "8.1.7", 97941, "ae74fb96c20a0277a1d615f1e4d73c8414f5a98db8b799a7931d1582f3390c28"),
    Wheel("cryptography", "43.0.3", 3977754, "0f996e7268af62598f2fc1204afa98a3b5712313a55c4c9d434aef49cadc91d4"),
    Wheel("docker", "7.1.0", 147774, "c96b93b7f0a746f9e77d325bcfb87422a3d8bd4f03136ae8a85b37f1898d5fc0"),
    Wheel("dotnetcore2", "2.1.22", 29282601, "8c2d1734a4dc5e3da69c9ee0329c7b5881061bd24cc853d82b35cef4caacc879"),
    Wheel("grpcio", "1.66.2", 5791619, "d25a14af966438cddf498b2e338f88d1c9706f3493b1d73b93f695c99c5f0e2a"),
    Wheel("httpx", "0.27.2", 76395, "7bb2708e112d8fdd7829cd4243970f0c223274051cb35ee80c03301ee29a3df0"),
    Wheel("idna", "3.10", 70442, "946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3"),
    Wheel("mssql_cli", "1.0.0", 43360020, "edb3850ab8ffa077c64270f27263f6377fdb5bd5bb5c5b4990c5fb08f49627b6"),
    Wheel("psycopg2_binary", "2.9.9", 3019515, "977646e05232579d2e7b9c59e21dbe5261f403a88417f6a6512e70d3f8a046be"),
    Wheel("pycparser", "2.22", 117552, "c3702b6d3dd8c7abc1afa565d7e63d53a1d0bd86cdc24edd75470f4de499cfcc"),
    Wheel("pydantic", "2.9.2", 434928, "f048cec7b26778210e28a0459867920654d48e5e62db0958433636cde4254f12"),
    Wheel("pydantic_core", "2.23.4", 2052105, "216f9b2d7713eb98cb83c80b9c794de1f6b7e3145eef40400c62e86cee5f4e1e"),
    Wheel("requests", "2.32.3", 64928, "70761cfe03c773ceb22aa2f671b4757976145175cdfca038c02654d061d6dcc6"),
    Wheel("rich", "13.9.2", 242117, "8c82a3d3f8dcfe9e734771313e606b39d8247bb6b826e196f4914b333b743cf1"),
    Wheel("typing_extensions", "4.12.2", 37438, "04e5ca0351e0f3f85c6853954072df659d0d13fac324d0072316b67d7794700d"),
    Wheel("urllib3", "2.2.3", 126338, "ca899ca043dcb1bafa3e262d73aa25c465bfb49e0bd9dd5d59f1d0acba2f8fac"),
    Wheel("zstandard", "0.23.0", 5442927, "fd30d9c67d13d891f2360b2a120186729c111238ac63b43dbd37a5a40670b8ca"),
)


def wheel(name: str, version: str | None = None) -> Wheel:
    """The pinned wheel of that name, and of that version where there are several."""
    [found] = [pinned for pinned in WHEELS if pinned.name == name and version in (None, pinned.version)]
    return found


def fetch(
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
    wanted: Sequence[Wheel] | None = None,
) -> dict[Wheel, Path]:
    """Make sure that ``folder`` holds every wheel, intact; nothing is asked of any index when it does.

    Args:
        folder: Kept between runs.
        report: Called with (bytes there, bytes in all) after each wheel.
        wanted: Which wheels; those of the demo by default.

    Raises:
        WheelsUnavailable: pip failed; wheels fetched so far stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pins = WHEELS if wanted is None else wanted
    total = sum(pinned.size for pinned in pins)
    found = _intact(folder, pins)
    report(sum(pinned.size for pinned in found), total)
    for missing in pins:
        if missing not in found:
            found[missing] = _download(missing, folder)
            report(sum(pinned.size for pinned in found), total)
    return found


def _intact(folder: Path, wanted: Sequence[Wheel]) -> dict[Wheel, Path]:
    """Wheels already there. A file is known by its content: indexes may name the same wheel in more ways than one."""
    by_size = {pinned.size for pinned in wanted}
    digests = {_sha256(path): path for path in sorted(folder.glob("*.whl")) if path.stat().st_size in by_size}
    return {pinned: digests[pinned.sha256] for pinned in wanted if pinned.sha256 in digests}


def _download(pinned: Wheel, folder: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        requirements = scratch / "requirements.txt"
        requirements.write_text(pinned.requirement + "\n")
        _pip_download(requirements, scratch, pinned)
        [fetched] = scratch.glob("*.whl")
        kept = folder / fetched.name
        shutil.move(fetched, kept)
    return kept


def _pip_download(requirements: Path, destination: Path, pinned: Wheel) -> None:
    """Hash-checking mode: pip refuses any other file of the version."""
    platforms = [argument for platform in _PLATFORMS for argument in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--require-hashes"]
    command += ["--python-version", _TARGET_PYTHON, *platforms, "--dest", str(destination)]
    command += ["--requirement", str(requirements)]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_REQUIRE_VIRTUALENV"}
    done = subprocess.run(  # noqa: S603 - our own interpreter, arguments from this file
        command, capture_output=True, text=True, timeout=_PIP_SECONDS, env=environment, check=False
    )
    if done.returncode:
        raise WheelsUnavailable(
            f"pip could not download {pinned.name} {pinned.version}: {_last_line(done.stderr)} "
            "Packages are fetched once; with a network that reaches the Python package index, run it again. "
            "Later runs work offline."
        )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given."


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

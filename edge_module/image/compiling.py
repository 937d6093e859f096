"""Compiles what the module imports, the standard library too: ``python3 -m edge_module.image.compiling FOLDER``.

A device then starts the module, each apply and each health check without compiling anything, and never writes bytecode
to its flash. Bytecode bears no times here, so that equal sources give equal files: updates of the module stay small.
"""

from __future__ import annotations

import importlib
import pkgutil
import py_compile
import sys
from pathlib import Path

import edge_module

_LATE = ("azure.iot.device", "docker")
"""Imported only where a hub or an engine needs it."""


def import_everything() -> None:
    for name in _LATE:
        importlib.import_module(name)
    for each in pkgutil.walk_packages(edge_module.__path__, "edge_module."):
        if not each.name.endswith("__main__"):
            importlib.import_module(each.name)


def compile_imported(folder: Path) -> None:
    """Write the bytecode of every module imported so far below ``folder``, where PYTHONPYCACHEPREFIX will look."""
    sys.pycache_prefix = str(folder)
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None) or ""
        if source.endswith(".py"):
            py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    import_everything()
    compile_imported(Path(sys.argv[1]))

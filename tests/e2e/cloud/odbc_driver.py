"""Microsoft's ODBC driver as the wheel `mssql-python` carries it, registered for this process alone.

In production the package msodbcsql18 registers it for the machine. The wheel's own drivers for several distributions
differ in the libraries that they are linked with: Debian's is the one for here.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

NAME = "ODBC Driver 18 for SQL Server"


def register(folder: Path) -> Path:
    """Write a private odbcinst.ini into ``folder`` and name it to unixODBC; before the first connection.

    Returns: the driver's library.
    """
    spec = find_spec("mssql_python_odbc")
    assert spec is not None and spec.origin is not None, "mssql-python is not installed: make setup"
    found = sorted(Path(spec.origin).parent.glob("libs/linux/debian_ubuntu/*/lib/libmsodbcsql-18.*.so*"))
    assert found, f"no driver for this machine in {spec.origin}"
    (folder / "odbcinst.ini").write_text(f"[{NAME}]\nDescription=Microsoft's\nDriver={found[0]}\n")
    os.environ["ODBCSYSINI"] = str(folder)
    return found[0]

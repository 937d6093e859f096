"""How cffi builds the extension: API mode, limited API, so that one wheel serves every Python from 3.11 on.

Where it cannot be built, the package is installed without it, and cannot be imported: nobody needs it.
"""

from pathlib import Path

from cffi import FFI

HEADERS = "mixing.h", "operands.h"
SOURCES = Path("src")


def declarations(header: str) -> str:
    """Return what cffi can read of a header: all but the lines for the preprocessor."""
    lines = (SOURCES / header).read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


ffi = FFI()
for each in HEADERS:
    ffi.cdef(declarations(each))
ffi.set_source(
    "imagedelta_native._native",
    "\n".join(f'#include "{header}"' for header in HEADERS),
    sources=[str(path) for path in sorted(SOURCES.glob("*.c"))],
    include_dirs=[str(SOURCES)],
    depends=[str(path) for path in sorted(SOURCES.glob("*.h"))],
    extra_compile_args=["-std=c11", "-O3"],
    py_limited_api=True,
    optional=True,
)

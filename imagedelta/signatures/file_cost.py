"""What a file costs when it must be sent whole: packed bytes per plain byte, guessed from its name.

The guesses are the ratios of ``xz -1`` over 12 MB of each kind from /usr and site-packages of Debian 12,
less the tenth that xz -9 over many files gains; .NET assemblies over whole images. They rank sources;
nobody is billed by them.
"""

from __future__ import annotations

SCALE = 255

_NATIVE, _MANAGED, _TEXT, _BYTECODE, _PACKED, _UNKNOWN = 0.30, 0.24, 0.17, 0.19, 0.95, 0.22
_BY_ENDING = {
    **dict.fromkeys((b"so", b"node", b"dylib"), _NATIVE),
    **dict.fromkeys((b"dll", b"exe", b"pdb"), _MANAGED),
    **dict.fromkeys((b"py", b"js", b"json", b"txt", b"html", b"xml", b"md", b"h", b"css", b"ts", b"map"), _TEXT),
    **dict.fromkeys((b"pyc", b"a"), _BYTECODE),
    **dict.fromkeys((b"gz", b"xz", b"bz2", b"zst", b"zip", b"jar", b"whl", b"nupkg", b"jmod"), _PACKED),
    **dict.fromkeys((b"png", b"jpg", b"jpeg", b"gif", b"webp", b"woff", b"woff2", b"mp4", b"tgz"), _PACKED),
}


def literal_cost(path: bytes) -> int:
    """Return the guess for this path, in 255ths."""
    return round(SCALE * _ratio(path.rsplit(b"/", 1)[-1].lower()))


def _ratio(name: bytes) -> float:
    if b".so." in name:  # libc.so.6, libicudata.so.72.1
        return _NATIVE
    return _BY_ENDING.get(name.rsplit(b".", 1)[-1], _UNKNOWN) if b"." in name else _UNKNOWN

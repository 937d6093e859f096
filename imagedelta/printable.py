"""Text from outside as a terminal or a log may show it: on one line, without escape sequences.

File names, references, error texts and answers of services are written by others. A control character in one could
move the cursor, recolour, retitle or overwrite what stands there, and a right-to-left mark could swap its parts.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return ``text`` with everything spelled out that is neither a visible character nor a plain space.

    Control characters, line breaks, marks of direction and width, and lone surrogates appear as Python spells them
    (``\\x1b``, ``\\n``, ``\\u202e``).
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)

"""What the head of a patch says of its image's platform: the words of the config, as they stand there.

It is one more check of the config, not what a device decides by: that is the platform in the bundle's sealed head,
where a person may have said better than the config (imagedelta.platforms).
"""

from __future__ import annotations

from imagedelta.archives.json_reading import field_of, parse_object

_UNSAID = "unknown"
_LEFT_OUT = (("arm64", "v8"), ("amd64", "v1"))


def platform_text(config: bytes) -> str:
    """Return ``os/architecture[/variant]`` of an image's config (docs/formats/patch.md, the body of the head)."""
    document = parse_object(config, "image config")
    os_name, architecture = (str(field_of(document, name) or _UNSAID) for name in ("os", "architecture"))
    variant = str(field_of(document, "variant") or "")
    if not variant or (architecture, variant) in _LEFT_OUT:
        return f"{os_name}/{architecture}"
    return f"{os_name}/{architecture}/{variant}"

"""Codes of registries, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "registry.denied": "Check the name: to a registry, absent and forbidden are often the same. Then the login: "
    "`docker login HOST` for commands; in the cloud the identity's role AcrPull, or the user and password that the "
    "registry's settings give.",
    "registry.protocol": "Check that the address is a registry's; one with a private certificate needs SSL_CERT_FILE, "
    "one without TLS --insecure-registry HOST or, in the cloud, IMAGEDELTA_REGISTRY_<NAME>_INSECURE.",
    "dependency.registry": "Nothing to do in the cloud: it is tried again. Look at the link and the registry if this "
    "lasts (`imagedelta doctor`).",
    "content.old_form": "Push or save the image again with a tool of the last years (Docker 1.10 or later).",
}
explain(REMEDIES)

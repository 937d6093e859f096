"""Reading images out of container registries, for the command line and for the cloud.

``images`` finds the images of a name and opens their layers; below it ``manifests`` reads documents, ``client`` speaks
HTTP, ``tokens`` gets past the door, and ``acr`` is Azure's own way of knocking. Who one is and which registries may be
asked is given from outside (docs/adr/0025-one-registry-client.md).
"""

import imagedelta_registry.codes  # noqa: F401 - explains them

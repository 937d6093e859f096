"""The demo: the main job, end to end, on real images, with no cloud account and no Docker.

``python -m demo`` runs it; docs/demo.md tells what one sees. Everything it starts goes over the project's
own command line and HTTP interface; this package only plays the world around: the published packages that
images are made of, the thin links, IoT Edge's agent on each device, the mail server.
"""

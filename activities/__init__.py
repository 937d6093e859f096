"""Steps: ``(deps, payload) -> dict``, one per file, each safe to run twice. Durable knows them by their names."""

import activities.codes  # noqa: F401 - explains them
from activities.attend import attend
from activities.build_step import build_step
from activities.list_work import list_work
from activities.plan_set import plan_set
from activities.publish_batch import publish_batch
from activities.read_image import read_image

STEPS = (
    attend,
    build_step,
    list_work,
    plan_set,
    publish_batch,
    read_image,
)

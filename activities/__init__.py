"""Steps: ``(deps, payload) -> dict``, one per file, each safe to run twice. Durable knows them by their names."""

import activities.codes  # noqa: F401 - explains them
from activities.attend import attend
from activities.begin_plan import begin_plan
from activities.deliver_step import deliver_step
from activities.end_plan import end_plan
from activities.plan_batch import plan_batch
from activities.prepare_patches import prepare_patches
from activities.publish_batch import publish_batch
from activities.read_image import read_image
from activities.start_batch import start_batch
from activities.weigh_set import weigh_set

STEPS = (
    attend,
    begin_plan,
    deliver_step,
    end_plan,
    plan_batch,
    prepare_patches,
    publish_batch,
    read_image,
    start_batch,
    weigh_set,
)

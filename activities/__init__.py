"""Steps: ``(deps, payload) -> dict``, one per file, each safe to run twice. Durable knows them by their names."""

import activities.codes  # noqa: F401 - explains them
from activities.begin_plan import begin_plan
from activities.build_step import build_step
from activities.confirm_member import confirm_member
from activities.end_plan import end_plan
from activities.list_due import list_due
from activities.plan_batch import plan_batch
from activities.publish_batch import publish_batch
from activities.read_image import read_image
from activities.release_member import release_member
from activities.send_notification import send_notification
from activities.settle_set import settle_set
from activities.start_batch import start_batch
from activities.sync_device import sync_device
from activities.weigh_set import weigh_set

STEPS = (
    begin_plan,
    build_step,
    confirm_member,
    end_plan,
    list_due,
    plan_batch,
    publish_batch,
    read_image,
    release_member,
    send_notification,
    settle_set,
    start_batch,
    sync_device,
    weigh_set,
)

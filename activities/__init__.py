"""Steps: ``(deps, payload) -> dict``, one per file, each safe to run twice. Durable knows them by their names."""

import activities.codes  # noqa: F401 - explains them
from activities.build_step import build_step
from activities.confirm_member import confirm_member
from activities.list_due import list_due
from activities.list_work import list_work
from activities.plan_set import plan_set
from activities.publish_batch import publish_batch
from activities.read_image import read_image
from activities.release_member import release_member
from activities.send_notification import send_notification
from activities.settle_set import settle_set
from activities.sync_device import sync_device

STEPS = (
    build_step,
    confirm_member,
    list_due,
    list_work,
    plan_set,
    publish_batch,
    read_image,
    release_member,
    send_notification,
    settle_set,
    sync_device,
)

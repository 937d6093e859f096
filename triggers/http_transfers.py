"""Transfers and patches: what is under way, what came of it, over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from contracts.parameters import PAGING, Moment, Parameter, one_of
from contracts.responses import Bucket, PatchView, TimeSeries, TransferEventView, TransferHistory, TransferView, page_of
from contracts.states import PATCH, TRANSFER
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers.http import Answer, Request, not_found
from triggers.image_ids import filtered_image_id
from triggers.operations import Operation, Resource
from triggers.paging import page_answer

_BUCKETS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_MAX_BUCKETS = 1000
_DEFAULT_BUCKETS = 30
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""Far from the ends of the calendar, where buckets would lie outside it."""


def list_transfers(request: Request, deps: Deps) -> Answer:
    page = deps.store.transfers.list_transfers(
        device_id=request.query.get("device"),
        image_id=filtered_image_id(request.query.get("image"), deps),
        state=request.query.get("state"),
        set_id=request.query.get("set"),
        **request.page(),
    )
    return page_answer(TransferView, page)


def history(request: Request, deps: Deps) -> Answer:
    transfer_id = request.params["transferId"]
    if deps.store.transfers.transfer(transfer_id) is None:
        raise not_found("transfer", transfer_id)
    events = deps.store.transfers.history(transfer_id)
    return Answer(200, TransferHistory(items=[TransferEventView.of(event) for event in events]))


def timeseries(request: Request, deps: Deps) -> Answer:
    bucket = request.query.get("bucket", "day")
    end = request.query.get("to", deps.now())
    start = request.query.get("from") or max(end, _EARLIEST) - _DEFAULT_BUCKETS * _BUCKETS[bucket]
    _check_span(start, end, _BUCKETS[bucket])
    rows = deps.store.transfers.timeseries(
        bucket,
        start,
        end,
        set_id=request.query.get("set"),
        device_id=request.query.get("device"),
        workstream=request.query.get("workstream"),
    )
    items = [Bucket.model_validate(row) for row in rows]
    return Answer(200, TimeSeries.model_validate({"bucket": bucket, "from": start, "to": end, "items": items}))


def list_patches(request: Request, deps: Deps) -> Answer:
    target = filtered_image_id(request.query.get("target"), deps)
    page = deps.store.patches.list_patches(state=request.query.get("state"), target=target, **request.page())
    names = deps.store.images.names({image_id for item in page.items for image_id in (item.target, *item.sources)})
    items = [
        PatchView.model_validate(
            vars(item)
            | {
                "target_references": names.get(item.target, ()),
                "source_references": [names.get(source, ()) for source in item.sources],
            }
        )
        for item in page.items
    ]
    return Answer(200, page_of(PatchView).model_validate({"items": items, "next": page.next}))


def _check_span(start: datetime, end: datetime, bucket: timedelta) -> None:
    if not start < end:
        raise RequestError("from must be before to")
    if start < _EARLIEST or end > _LATEST:
        raise RequestError(f"from and to must lie between {_EARLIEST.year} and {_LATEST.year}")
    if (end - start) / bucket > _MAX_BUCKETS:
        raise RequestError(f"from and to are more than {_MAX_BUCKETS} buckets apart: take a larger bucket")


RESOURCES = (
    Resource(
        name="api_transfers",
        path="transfers",
        operations=(
            Operation(
                "GET",
                list_transfers,
                "Transfers: one image to one device each.",
                {200: page_of(TransferView)},
                query=(
                    *PAGING,
                    Parameter("device", "Only to this device."),
                    Parameter("image", "Only of this image ID, or its first 12 digits."),
                    Parameter(
                        "state",
                        "Only in this state; in_transit for all that is under way.",
                        one_of(("in_transit", *sorted(TRANSFER.states))),
                    ),
                    Parameter("set", "Only those that this deployment set needs."),
                ),
            ),
        ),
    ),
    Resource(
        name="api_transfers_one_history",
        path="transfers/{transferId}/history",
        operations=(
            Operation("GET", history, "Everything that happened to a transfer.", {200: TransferHistory}, errors=(404,)),
        ),
    ),
    Resource(
        name="api_transfers_timeseries",
        path="transfers/timeseries",
        operations=(
            Operation(
                "GET",
                timeseries,
                "Success, failure and bytes over time; of a set, device or workstream as long as lines are kept.",
                {200: TimeSeries},
                query=(
                    Parameter("bucket", "Width of a bucket; day when absent.", one_of(_BUCKETS)),
                    Parameter("from", "Start; 30 buckets before the end when absent.", Moment),
                    Parameter("to", "End; now when absent.", Moment),
                    Parameter("set", "Only what was sent for this deployment set."),
                    Parameter("device", "Only to this device."),
                    Parameter("workstream", "Only for sets of this workstream."),
                ),
            ),
        ),
    ),
    Resource(
        name="api_patches",
        path="patches",
        operations=(
            Operation(
                "GET",
                list_patches,
                "Patches, each built once for all devices that need it.",
                {200: page_of(PatchView)},
                query=(
                    *PAGING,
                    Parameter("state", "Only in this state.", one_of(sorted(PATCH.states))),
                    Parameter("target", "Only to this image ID, or its first 12 digits."),
                ),
            ),
        ),
    ),
)

"""Images, their layers, the references that name them, and registrations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, exists, func, select
from sqlalchemy.exc import IntegrityError

from contracts.records import ARCHIVE, ImageRecord, LayerRecord, Page, Registration
from contracts.requests import RegisterImage
from imagedelta.errors import RequestError
from imagedelta.names import parse_name
from store.devices.rows import device_records
from store.fleet_versions import fleet_versions
from store.kernel.engine import Database
from store.kernel.paging import fetch_page
from store.kernel.schema import (
    device_images,
    devices,
    image_layers,
    image_origins,
    image_references,
    images,
    layers,
    registrations,
)
from store.kernel.tools import as_record, new_id, rows_in, unknown

OPEN = ("queued", "reading")


class SqlImages:
    """Implements services.store_port.Images."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def request_registration(
        self, request: RegisterImage, by: str, at: datetime, event: str | None = None
    ) -> Registration:
        origin = {name: value for name in ("upload", "blob", "registry") if (value := getattr(request, name))}
        origin |= {"event": event} if event else {}
        identity = (new_id("registration"), "queued", origin, request.reference)
        record = Registration(*identity, {}, None, None, by, at, request.platform)
        self._db.write(lambda connection: connection.execute(registrations.insert().values(vars(record))))
        return record

    def registration(self, registration_id: str) -> Registration | None:
        return self._db.read(lambda connection: _registration(connection, registration_id))

    def open_registrations(self, limit: int) -> tuple[str, ...]:
        query = (
            select(registrations.c.registration_id)
            .where(registrations.c.state.in_(OPEN))
            .order_by(registrations.c.requested_at, registrations.c.registration_id)
            .limit(limit)
        )
        return self._db.read(lambda connection: tuple(connection.execute(query).scalars()))

    def start_registration(self, registration_id: str) -> Registration:
        def work(connection: Connection) -> Registration:
            _update_registration(connection, registration_id, ("queued",), state="reading")
            return _known_registration(connection, registration_id)

        return self._db.write(work)

    def finish_registration(
        self, registration_id: str, images: Mapping[str, str], at: datetime, detail: str | None = None
    ) -> None:
        def work(connection: Connection) -> None:
            record = _known_registration(connection, registration_id)
            if not _update_registration(
                connection, registration_id, OPEN, state="registered", images=dict(images), detail=detail
            ):
                return
            if record.reference is not None:
                for platform, image_id in sorted(images.items()):
                    _point(connection, record.reference, platform, image_id, record.requested_at)

        self._db.write(work)

    def fail_registration(self, registration_id: str, code: str, detail: str) -> None:
        self._db.write(
            lambda connection: _update_registration(
                connection, registration_id, OPEN, state="failed", code=code, detail=detail
            )
        )

    def known_layers(self, diff_ids: Sequence[str]) -> Mapping[str, LayerRecord]:
        rows = self._db.read(lambda connection: rows_in(connection, select(layers), layers.c.diff_id, diff_ids))
        return {row["diff_id"]: LayerRecord(row["diff_id"], row["size"], row["file_index"]) for row in rows}

    def add_layer(self, layer: LayerRecord) -> None:
        values = {"diff_id": layer.diff_id, "size": layer.size, "file_index": layer.index}
        self._db.write(lambda connection: _add(connection, layers, layers.c.diff_id == layer.diff_id, values))

    def add_image(self, image: ImageRecord, origin: str = ARCHIVE, asked_at: datetime | None = None) -> None:
        def work(connection: Connection) -> None:
            if not _add(connection, images, images.c.image_id == image.image_id, _image_values(image)):
                _restate_platform(connection, image)
            elif image.diff_ids:
                connection.execute(image_layers.insert(), _layer_rows(image))
            for reference in image.references:
                _point(connection, reference, image.platform, image.image_id, asked_at or image.registered_at)
            for repository in sorted({parse_name(reference).path for reference in image.references} or {""}):
                _came_from(connection, image, origin, repository)

        self._db.write(work)

    def origins(self, image_ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        query = select(image_origins.c.image_id, image_origins.c.origin).distinct()
        rows = self._db.read(lambda connection: rows_in(connection, query, image_origins.c.image_id, image_ids))
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["image_id"], set()).add(row["origin"])
        return {image_id: frozenset(origins) for image_id, origins in found.items()}

    def previous(self, image_id: str) -> str | None:
        return self._db.read(lambda connection: _previous(connection, image_id))

    def fleet_versions(self, image_id: str) -> Mapping[frozenset[str], int]:
        return self._db.read(lambda connection: fleet_versions(connection, image_id))

    def image(self, image_id: str) -> ImageRecord | None:
        return self.images([image_id]).get(image_id)

    def find_ids(self, prefix: str, limit: int) -> tuple[str, ...]:
        query = (
            select(images.c.image_id)
            .where(images.c.image_id.startswith(prefix, autoescape=True))
            .order_by(images.c.image_id)
            .limit(limit)
        )
        return self._db.read(lambda connection: tuple(connection.execute(query).scalars()))

    def images(self, image_ids: Sequence[str]) -> Mapping[str, ImageRecord]:
        def work(connection: Connection) -> dict[str, ImageRecord]:
            rows = rows_in(connection, select(images), images.c.image_id, image_ids)
            return {record.image_id: record for record in _records(connection, rows)}

        return self._db.read(work)

    def names(self, image_ids: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        def work(connection: Connection) -> dict[str, tuple[str, ...]]:
            known = rows_in(connection, select(images.c.image_id), images.c.image_id, image_ids)
            names = _names(connection, image_ids)
            return {row["image_id"]: names.get(row["image_id"], ()) for row in known}

        return self._db.read(work)

    def resolve(self, references: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        rows = self._db.read(
            lambda connection: rows_in(connection, select(image_references), image_references.c.reference, references)
        )
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            found.setdefault(row["reference"], {})[row["platform"]] = row["image_id"]
        return found

    def list_images(self, *, reference: str | None, platform: str | None, limit: int, after: str | None) -> Page:
        query = select(images)
        if reference is not None:
            query = query.where(
                exists().where(
                    image_references.c.image_id == images.c.image_id, image_references.c.reference == reference
                )
            )
        if platform is not None:
            query = query.where(images.c.platform == platform)
        keys = (images.c.registered_at, images.c.image_id)
        return self._db.read(
            lambda connection: fetch_page(
                connection, query, keys, _records, limit=limit, after=after, newest_first=True
            )
        )

    def devices_with(self, image_id: str, *, limit: int, after: str | None) -> Page:
        having = device_images.c.device_id.label("having")  # in the order of its index: no page sorts all of them
        query = select(devices, having).join(device_images).where(device_images.c.image_id == image_id)
        return self._db.read(
            lambda connection: fetch_page(connection, query, (having,), device_records, limit=limit, after=after)
        )


def _registration(connection: Connection, registration_id: str) -> Registration | None:
    query = select(registrations).where(registrations.c.registration_id == registration_id)
    row = connection.execute(query).mappings().first()
    return as_record(Registration, row) if row else None


def _known_registration(connection: Connection, registration_id: str) -> Registration:
    record = _registration(connection, registration_id)
    if record is None:
        raise unknown("registration", registration_id)
    return record


def _update_registration(connection: Connection, registration_id: str, old: Sequence[str], **values: Any) -> bool:
    where = (registrations.c.registration_id == registration_id, registrations.c.state.in_(old))
    return connection.execute(registrations.update().where(*where).values(**values)).rowcount > 0


def _add(connection: Connection, table: Any, same: Any, values: Mapping[str, Any]) -> bool:
    """Insert unless it is there; True when this call did. Rivals may insert between question and answer."""
    if connection.execute(select(table.c[0]).where(same)).first():
        return False
    try:
        with connection.begin_nested():
            connection.execute(table.insert().values(**values))
    except IntegrityError:
        if not connection.execute(select(table.c[0]).where(same)).first():
            raise
        return False
    return True


def _restate_platform(connection: Connection, image: ImageRecord) -> None:
    """An image is for one platform: names that led to it on another one lead there no more."""
    where = (images.c.image_id == image.image_id, images.c.platform != image.platform)
    values = {"platform": image.platform, "signature": image.signature}
    if connection.execute(images.update().where(*where).values(**values)).rowcount:
        others = (image_references.c.image_id == image.image_id, image_references.c.platform != image.platform)
        connection.execute(image_references.delete().where(*others))


def _image_values(image: ImageRecord) -> dict[str, Any]:
    return {name: getattr(image, name) for name in images.c.keys()}  # noqa: SIM118  columns are not a mapping


def _layer_rows(image: ImageRecord) -> list[dict[str, Any]]:
    return [
        {"image_id": image.image_id, "position": position, "diff_id": diff_id}
        for position, diff_id in enumerate(image.diff_ids)
    ]


def _point(connection: Connection, reference: str, platform: str, image_id: str, since: datetime) -> None:
    """Let the reference name this image on this platform, unless it was given to another one since it was asked for."""
    where = (image_references.c.reference == reference, image_references.c.platform == platform)
    older = image_references.update().where(*where, image_references.c.since <= since)
    update = older.values(image_id=image_id, since=since)
    if connection.execute(update).rowcount or connection.execute(select(image_references).where(*where)).first():
        return
    values = {"reference": reference, "platform": platform, "image_id": image_id, "since": since}
    try:
        with connection.begin_nested():
            connection.execute(image_references.insert().values(**values))
    except IntegrityError as error:
        if not connection.execute(select(images.c.image_id).where(images.c.image_id == image_id)).first():
            raise RequestError(f"image {image_id} is not registered", code="request.unknown_image") from error
        connection.execute(update)


def _came_from(connection: Connection, image: ImageRecord, origin: str, repository: str) -> None:
    """Note where an image came from, and when it last did."""
    same = {"image_id": image.image_id, "origin": origin, "repository": repository}
    where = [image_origins.c[name] == value for name, value in same.items()]
    if not connection.execute(image_origins.update().where(*where).values(at=image.registered_at)).rowcount:
        _add(connection, image_origins, and_(*where), {**same, "at": image.registered_at})


def _previous(connection: Connection, image_id: str) -> str | None:
    """Newest first along the index of (repository, at): a repository has many versions, and the next one counts."""
    this = select(image_origins.c.repository, func.max(image_origins.c.at).label("at"), images.c.platform)
    this = this.join(images).where(image_origins.c.image_id == image_id, image_origins.c.repository != "")
    found: list[Any] = []
    for row in connection.execute(this.group_by(image_origins.c.repository, images.c.platform)).mappings().all():
        query = select(image_origins.c.at, image_origins.c.image_id).join(images)
        query = query.where(
            image_origins.c.repository == row["repository"],
            image_origins.c.at <= row["at"],
            image_origins.c.image_id != image_id,
            images.c.platform == row["platform"],
        )
        found += connection.execute(query.order_by(image_origins.c.at.desc()).limit(1)).all()
    return max(found)[1] if found else None


def _records(connection: Connection, rows: Sequence[RowMapping]) -> list[ImageRecord]:
    ids = [row["image_id"] for row in rows]
    diff_ids = _grouped(
        rows_in(connection, select(image_layers).order_by(image_layers.c.position), image_layers.c.image_id, ids),
        "diff_id",
    )
    names = _names(connection, ids)
    return [
        as_record(
            ImageRecord,
            row,
            diff_ids=diff_ids.get(row["image_id"], ()),
            references=names.get(row["image_id"], ()),
        )
        for row in rows
    ]


def _names(connection: Connection, image_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    query = select(image_references).order_by(image_references.c.reference)
    return _grouped(rows_in(connection, query, image_references.c.image_id, image_ids), "reference")


def _grouped(rows: Iterable[RowMapping], column: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row["image_id"]] = (*found.get(row["image_id"], ()), row[column])
    return found

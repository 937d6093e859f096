"""A device beside a real registry that rebuilds one image, again and again from the same start."""

from __future__ import annotations

import shutil

from edge_module.engines import PresentImage
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.rebuild import Rebuilder
from edge_module.rebuilds import RebuildTask
from edge_module.refused import RefusedFiles
from tests.e2e.device.registry_place import RegistryPlace
from tests.engines.place import listed
from tests.unit.edge.world import APP_1, APP_2, make_bundle


class Ship:
    """A device that has app:1 in its registry and the bundle of app:2 in its hands."""

    def __init__(self, place: RegistryPlace) -> None:
        self.place = place
        self.storage = place.registry.storage / "docker"
        self._saved = self.storage.with_name("saved")
        place.put(APP_1)
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.storage, self._saved)

    def again(self) -> None:
        shutil.rmtree(self.storage)
        shutil.copytree(self._saved, self.storage)
        shutil.rmtree(self.place.files.root)
        self.place.files.root.mkdir()

    def rebuild(self, client: RegistryClient | None = None) -> int:
        """Returns the calls this took."""
        client = client or RegistryClient(self.place.registry.url, pause=0.1)
        engine = RegistryEngine(client, self.place.files)
        files = self.place.files
        rebuilder = Rebuilder(files, engine, RefusedFiles(files), 0)
        try:
            engine.clean()
            if APP_2.image_id not in listed(engine):
                (files.root / "bundle").write_bytes(make_bundle().data)
                rebuilder.rebuild(RebuildTask("bundle", make_bundle().head, "app:2", 128 << 20), lambda: None)
            engine.name_image(APP_2.image_id, "app:2")
        finally:
            client.close()
        return client.requests

    def images(self) -> list[PresentImage]:
        """Whole ones, their bytes read."""
        engine = self.place.engine()
        images = engine.images()
        for image in images:
            assert engine.drop_damaged(image.diff_ids) == (), f"{image.references} is listed with wrong bytes"
        return images

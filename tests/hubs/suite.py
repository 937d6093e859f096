"""The contract of the port ``Hub``. An adapter's test class inherits ``HubSuite`` and has a fixture ``place``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from imagedelta.errors import RequestError
from services.ports import Deployment, Twin
from tests.hubs.place import HubPlace


def content(*modules: str, **properties: Any) -> dict[str, Any]:
    """A deployment of these modules; ``properties`` are the desired ones of some of them."""
    agent = {
        "schemaVersion": "1.1",
        "modules": {
            name: {
                "type": "docker",
                "status": "running",
                "restartPolicy": "always",
                "env": {"LEVEL": {"value": "info"}},
                "settings": {"image": f"localhost:5000/{name}:1", "createOptions": '{"Hostname":"ä","List":[1,2]}'},
            }
            for name in modules
        },
    }
    parts = {"$edgeAgent": agent, "$edgeHub": {"routes": {"up": "FROM /messages/* INTO $upstream"}}, **properties}
    return {name: {"properties.desired": desired} for name, desired in parts.items()}


DEPLOYMENT = Deployment("north-1", "tags.site = 'north'", 5, content("app"))


def found(twin: Twin | None) -> Twin:
    assert twin is not None
    return twin


class HubSuite:
    ODD = "vessel-7:a.b_c%41#(x)=@;'!,+*?"
    """Every sign that an id may have."""

    def test_a_twin_is_read_without_the_hubs_bookkeeping(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"))
        place.report("ship-1", "$edgeAgent", {"lastDesiredVersion": 2, "modules": {"app": {"exitCode": 0}}})

        twin = place.hub.module_twin("ship-1", "$edgeAgent")

        assert twin is not None
        assert dict(twin.desired) == content("app")["$edgeAgent"]["properties.desired"]
        assert dict(twin.reported) == {"lastDesiredVersion": 2, "modules": {"app": {"exitCode": 0}}}
        assert twin.version >= 1
        assert twin.etag

    def test_when_a_device_took_note_of_its_deployment_is_told_by_the_twin(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"))
        before = found(place.hub.module_twin("ship-1", "$edgeAgent"))
        assert before.seen_at is None

        place.report("ship-1", "$edgeAgent", {"lastDesiredVersion": before.version})

        after = found(place.hub.module_twin("ship-1", "$edgeAgent"))
        assert after.seen_at is not None

    def test_ids_with_every_sign_that_they_may_have_are_found(self, place: HubPlace) -> None:
        place.add_device(self.ODD, content("app"), "recon")

        assert place.hub.module_twin(self.ODD, "recon") is not None
        assert list(place.hub.agents([self.ODD])) == [self.ODD]
        assert place.hub.modules_content(self.ODD) == content("app")

    def test_what_the_hub_does_not_know_has_no_twin_and_no_content(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"))

        assert place.hub.module_twin("nobody", "$edgeAgent") is None
        assert place.hub.module_twin("ship-1", "other") is None
        assert place.hub.modules_content("nobody") is None
        assert place.hub.agents(["nobody"]) == {}

    def test_desired_properties_are_merged_and_null_deletes(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"), "recon")
        first = place.hub.update_desired("ship-1", "recon", {"paused": True, "outbox": {"url": "u", "query": "q"}})

        second = place.hub.update_desired("ship-1", "recon", {"paused": None, "outbox": {"query": None}, "n": 7})

        assert dict(second.desired) == {"outbox": {"url": "u"}, "n": 7}
        assert second.version == first.version + 1
        assert place.hub.module_twin("ship-1", "recon") == second

    def test_properties_come_back_as_they_were_written(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"), "recon")
        wanted = {"text": "ü☃", "list": [1, "2", [], {"a": []}], "float": 1.5, "true": True, "big": 2**40, "empty": {}}

        place.hub.update_desired("ship-1", "recon", wanted)

        twin = found(place.hub.module_twin("ship-1", "recon"))
        assert dict(twin.desired) == wanted

    def test_writing_to_a_module_that_is_not_there_names_it(self, place: HubPlace) -> None:
        with pytest.raises(RequestError, match="nobody/recon") as caught:
            place.hub.update_desired("nobody", "recon", {})
        assert caught.value.code == "hub.unknown_device"

    def test_tags_are_written_on_the_twin_that_was_read_and_on_no_other(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"))
        place.tag("ship-1", {"site": "north", "old": "x", "deep": {"a": 1}})
        read = place.hub.device_tags("ship-1")
        assert read is not None

        place.hub.set_tags("ship-1", {"old": None, "new": "y"}, etag=read.etag)
        with pytest.raises(RequestError) as caught:
            place.hub.set_tags("ship-1", {"site": "south"}, etag=read.etag)

        after = place.hub.device_tags("ship-1")
        assert after is not None
        assert dict(after.tags) == {"site": "north", "new": "y", "deep": {"a": 1}}
        assert caught.value.code == "hub.changed"
        assert place.hub.device_tags("nobody") is None

    def test_the_agent_tells_which_deployments_its_device_meets(self, place: HubPlace) -> None:
        for name, site in (("ship-1", "north"), ("ship-2", "south")):
            place.add_device(name, content("app"))
            place.tag(name, {"site": site})

        place.hub.create_deployment(DEPLOYMENT)

        agents = place.hub.agents(["ship-1", "ship-2"])
        assert dict(agents["ship-1"].configurations) == {DEPLOYMENT.deployment_id: "applied"}
        assert dict(agents["ship-2"].configurations) == {}

    def test_content_is_what_the_modules_run_by(self, place: HubPlace) -> None:
        running = content("app", "plain", app={"interval": 10})
        place.add_device("ship-1", running)

        assert place.hub.modules_content("ship-1") == running

    def test_content_is_replaced_whole_and_new_modules_get_an_identity(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("old"))
        agent = found(place.hub.module_twin("ship-1", "$edgeAgent"))

        place.hub.apply_content("ship-1", content("new", new={"interval": 3}), on=agent.version)

        assert place.hub.modules_content("ship-1") == content("new", new={"interval": 3})
        after = found(place.hub.module_twin("ship-1", "$edgeAgent"))
        assert after.version == agent.version + 1

    def test_content_is_not_written_over_what_somebody_else_deployed(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"))
        agent = found(place.hub.module_twin("ship-1", "$edgeAgent"))
        place.hub.apply_content("ship-1", content("theirs"), on=agent.version)

        with pytest.raises(RequestError) as caught:
            place.hub.apply_content("ship-1", content("ours"), on=agent.version)

        assert caught.value.code == "hub.changed"
        assert place.hub.modules_content("ship-1") == content("theirs")

    def test_content_for_a_device_that_is_not_there_names_it(self, place: HubPlace) -> None:
        with pytest.raises(RequestError, match="nobody") as caught:
            place.hub.apply_content("nobody", content("app"), on=1)
        assert caught.value.code == "hub.unknown_device"

    def test_the_agents_of_many_devices_come_together(self, place: HubPlace) -> None:
        for number in range(130):
            place.add_device(f"ship-{number}", content("app"))

        agents = place.hub.agents([*(f"ship-{number}" for number in range(130)), "nobody"])

        assert sorted(agents) == sorted(f"ship-{number}" for number in range(130))
        assert all("app" in twin.desired["modules"] for twin in agents.values())

    def test_the_devices_that_have_a_module_come_page_by_page_with_their_tags(self, place: HubPlace) -> None:
        for number in range(130):
            place.add_device(f"ship-{number}", content("app"), *(["recon"] if number % 10 else []))
            place.tag(f"ship-{number}", {"number": number, "deep": {"a": "b"}})

        pages, after = [], None
        while not pages or after is not None:
            page = place.hub.devices_with("recon", after)
            pages.append(dict(page.devices))
            after = page.next

        all_of_them = {device: dict(tags) for page in pages for device, tags in page.items()}
        assert all_of_them == {
            f"ship-{number}": {"number": number, "deep": {"a": "b"}} for number in range(130) if number % 10
        }
        assert len(pages) == 2
        assert sum(map(len, pages)) == len(all_of_them)

    def test_a_hub_without_such_a_module_has_one_empty_page(self, place: HubPlace) -> None:
        place.add_device("ship-1", content("app"))

        page = place.hub.devices_with("recon", None)

        assert (dict(page.devices), page.next) == ({}, None)

    def test_a_deployment_is_made_once_and_deleted(self, place: HubPlace) -> None:
        place.hub.create_deployment(DEPLOYMENT)
        place.hub.create_deployment(DEPLOYMENT)
        made = list(place.hub.deployments())
        with pytest.raises(RequestError) as caught:
            place.hub.create_deployment(replace(DEPLOYMENT, priority=6))
        place.hub.delete_deployment(DEPLOYMENT.deployment_id)
        place.hub.delete_deployment(DEPLOYMENT.deployment_id)

        assert (made, list(place.hub.deployments())) == ([DEPLOYMENT], [])
        assert caught.value.code == "hub.deployment_exists"

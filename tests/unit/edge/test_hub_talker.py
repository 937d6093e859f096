"""What the talker makes of the SDK's answers: twin versions that come out of order, errors that hide one another."""

from __future__ import annotations

from typing import Any

from edge_module.hub_talker import Talker, _answer


class Client:
    """As much of IoTHubModuleClient as the twin needs."""

    def __init__(self, *twins: dict[str, Any]) -> None:
        self.twins = list(twins)
        self.on_twin_desired_properties_patch_received: Any = None
        self.while_asked: list[Any] = []

    def get_twin(self) -> dict[str, Any]:
        twin = self.twins.pop(0)
        for happening in self.while_asked:
            happening()
        self.while_asked.clear()
        return {"desired": twin}


def talker(client: Client) -> tuple[Talker, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    talker = Talker(told.append)
    talker._client = client
    return talker, told


def test_a_patch_that_overtakes_the_twin_is_not_forgotten() -> None:
    client = Client({"a": 1, "$version": 1}, {"a": 2, "$version": 2})
    talks, told = talker(client)
    client.while_asked.append(lambda: client.on_twin_desired_properties_patch_received({"a": 2, "$version": 2}))

    assert talks.twin({}) == {"desired": {"a": 2, "$version": 2}}
    assert told == [{"changed": True}]


def test_a_patch_that_the_twin_already_had_changes_nothing() -> None:
    client = Client({"a": 2, "$version": 2})
    talks, _ = talker(client)
    client.while_asked.append(lambda: client.on_twin_desired_properties_patch_received({"a": 1, "$version": 1}))

    assert talks.twin({}) == {"desired": {"a": 2, "$version": 2}}
    client.on_twin_desired_properties_patch_received({"a": 1, "$version": 1})
    assert talks.twin({}) == {"desired": {"a": 2, "$version": 2}}


def test_a_gap_between_patches_asks_for_the_whole_twin() -> None:
    client = Client({"a": 1, "$version": 1}, {"a": 1, "b": 1, "c": 1, "$version": 3})
    talks, _ = talker(client)
    talks.twin({})

    client.on_twin_desired_properties_patch_received({"c": 1, "$version": 3})

    assert talks.twin({}) == {"desired": {"a": 1, "b": 1, "c": 1, "$version": 3}}


def test_a_twin_that_is_empty_is_asked_for_once() -> None:
    talks, _ = talker(Client({}))

    assert [talks.twin({}), talks.twin({})] == [{"desired": {}}, {"desired": {}}]


def test_a_story_names_every_error_behind_the_sdks_own() -> None:
    talks, _ = talker(Client())

    class Sdk:
        def patch_twin_reported_properties(self, _: object) -> None:
            try:
                raise OSError("no route")
            except OSError as error:
                raise RuntimeError("Unexpected failure") from error

    talks._client = Sdk()

    answer = _answer(talks, {"do": "report", "properties": {}})

    assert answer == {"failed": "RuntimeError Unexpected failure: OSError no route"}

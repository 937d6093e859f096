from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.requests import StartDeployment, parse_body
from imagedelta.errors import RequestError
from planning.manifest import module_images, modules_by_image, modules_of, resolve, split_options

SAMPLE = Path(__file__).with_name("deployment_manifest.json")


def template(modules: Any = None, **parts: Any) -> dict[str, Any]:
    given = {"app": {"settings": {"image": "fleet.example/app:2"}}} if modules is None else modules
    return {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": given}}, **parts}}


def with_options(**settings: Any) -> dict[str, Any]:
    return template({"app": {"settings": {"image": "fleet.example/app:2", **settings}}})


def options_of(manifest: dict[str, Any]) -> dict[str, str]:
    settings = modules_of(manifest)["app"]["settings"]
    return {key: value for key, value in settings.items() if key != "image"}


def refusal(given: Any, **values: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        resolve(given, values)
    return caught.value


# ------------------------------------------------------------ templates


def test_names_are_filled_in_whatever_characters_they_have() -> None:
    given = template({"app": {"settings": {"image": "${MODULES.app.amd64}"}, "env": {"A": {"value": "x-${LOG}-y"}}}})

    entry = modules_of(resolve(given, {"MODULES.app.amd64": "fleet.example/app:2", "LOG": "info"}))["app"]

    assert entry["settings"]["image"] == "fleet.example/app:2"
    assert entry["env"] == {"A": {"value": "x-info-y"}}


def test_names_within_keys_are_filled_in() -> None:
    given = with_options(createOptions={"HostConfig": {"PortBindings": {"${PORT}/tcp": [{"HostPort": "${PORT}"}]}}})

    options = json.loads(options_of(resolve(given, {"PORT": "443"}))["createOptions"])

    assert options == {"HostConfig": {"PortBindings": {"443/tcp": [{"HostPort": "443"}]}}}


def test_two_keys_that_become_the_same_are_refused() -> None:
    error = refusal(with_options(createOptions={"${A}": 1, "${B}": 2}), A="x", B="x")

    assert error.code == "request.manifest"
    assert "app.settings.createOptions" in str(error)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (template({"app": {"settings": {"image": "${MODULES.app}"}}}), "modules.app.settings.image"),
        (with_options(createOptions={"Cmd": ["a", "${LATER}"]}), "app.settings.createOptions.Cmd[1]"),
        (with_options(createOptions={"${LATER}": 1}), "app.settings.createOptions.${LATER}"),
        (template(**{"$edgeHub": {"properties.desired": {"routes": {"r": "FROM ${X"}}}}), "$edgeHub"),
    ],
)
def test_an_unresolved_name_is_refused_with_its_place(given: Any, place: str) -> None:
    error = refusal(given, OTHER="x")

    assert error.code == "request.unresolved_placeholder"
    assert place in str(error)


def test_a_value_that_holds_a_name_itself_is_not_filled_in_again() -> None:
    error = refusal(template({"app": {"settings": {"image": "${A}"}}}), A="${B}", B="app:1")

    assert error.code == "request.unresolved_placeholder"


# ------------------------------------------------------------ createOptions


def test_create_options_as_an_object_become_pieces_of_512_characters() -> None:
    options = {"Env": ["A=" + "x" * 1200]}

    pieces = options_of(resolve(with_options(createOptions=options), {}))

    assert list(pieces) == ["createOptions", "createOptions01", "createOptions02"]
    assert [len(piece) for piece in pieces.values()][:2] == [512, 512]
    assert json.loads("".join(pieces.values())) == options


def test_pieces_are_joined_in_their_order_and_cut_anew() -> None:
    given = with_options(createOptions01='"x"]}', createOptions='{"Cmd": [')

    assert options_of(resolve(given, {})) == {"createOptions": '{"Cmd": ["x"]}'}


@pytest.mark.parametrize("settings", [{}, {"createOptions": ""}, {"createOptions": {}}])
def test_without_create_options_they_are_an_empty_object(settings: dict[str, Any]) -> None:
    assert options_of(resolve(with_options(**settings), {})) == {"createOptions": "{}"}


@pytest.mark.parametrize("options", [7, ["a"], None, "{", "[]", '"text"', "[" * 20_000])
def test_create_options_that_edge_agent_could_not_read_are_refused(options: Any) -> None:
    error = refusal(with_options(createOptions=options))

    assert error.code == "request.manifest"
    assert "module app" in str(error)


def test_create_options_beyond_a_hundred_pieces_are_refused() -> None:
    assert len(split_options("x" * 51_200)) == 100
    with pytest.raises(RequestError, match="51201 characters"):
        split_options("x" * 51_201)


# ------------------------------------------------------------ forms


def test_the_layered_form_becomes_the_full_one() -> None:
    given = {
        "modulesContent": {
            "$edgeAgent": {"properties.desired.modules.app": {"settings": {"image": "fleet.example/app:2"}}},
            "$edgeHub": {"properties.desired.routes.up": "FROM /messages/* INTO $upstream"},
            "app": {"properties.desired.limits": {"low": 1}, "properties.desired.limits.high": 2},
        }
    }

    content = resolve(given, {})["modulesContent"]

    assert content["$edgeAgent"]["properties.desired"]["modules"]["app"]["settings"]["image"] == "fleet.example/app:2"
    assert content["$edgeHub"] == {"properties.desired": {"routes": {"up": "FROM /messages/* INTO $upstream"}}}
    assert content["app"] == {"properties.desired": {"limits": {"low": 1, "high": 2}}}


def test_what_was_given_is_not_changed() -> None:
    given = template(app={"properties.desired": {"limits": {"low": 1}}, "properties.desired.limits.high": 2})
    before = json.dumps(given)

    resolve(given, {})

    assert json.dumps(given) == before


def test_a_resolved_manifest_resolves_to_itself() -> None:
    once = resolve(json.loads(SAMPLE.read_text()), {})

    assert resolve(once, {}) == once


def test_a_whole_manifest_names_its_images() -> None:
    manifest = resolve(json.loads(SAMPLE.read_text()), {})

    assert module_images(manifest) == ("localhost:5000/telemetry:2.3.0", "localhost:5000/imgrec:1.0.0")
    system = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["systemModules"]
    assert system["edgeAgent"]["settings"]["image"] == "localhost:5000/azureiotedge-agent:1.5"


def test_modules_of_one_image_are_named_together_and_the_registry_is_left_out() -> None:
    images = {"a": "fleet.example/app:2", "b": "fleet.example/app:2", "store": "docker.io/library/registry:2"}

    manifest = resolve(template({name: {"settings": {"image": image}} for name, image in images.items()}), {})

    assert modules_by_image(manifest) == {"fleet.example/app:2": ("a", "b")}


# ------------------------------------------------------------ hostile ones


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"modulesContent": None},
        {"modulesContent": []},
        {"modulesContent": {}},
        {"modulesContent": {"$edgeAgent": None}},
        {"modulesContent": {"$edgeAgent": {}}},
        {"modulesContent": {"$edgeAgent": {"properties.desired": []}}},
        {"modulesContent": {"$edgeAgent": {"unknown": {}}}},
        template({}),
        template([]),
        template({"app": None}),
        template({"app": {"settings": []}}),
        template({"app": {"settings": {"image": ""}}}),
        template({"app": {"settings": {"image": 7}}}),
        template(**{"$edgeHub": "text"}),
        template(**{"$edgeHub": {"properties.desired": {"routes": []}}}),
        template(app=[]),
        template(app={"properties.desired": "text"}),
        template(app={"properties.desired": {"a": 1}, "properties.desired.a.b": 2}),
        template(stranger={"properties.desired": {"a": 1}}),
        {"modulesContent": {"$edgeAgent": {"properties.desired." + "a." * 40: 1}}},
    ],
)
def test_what_is_no_manifest_is_refused(given: Any) -> None:
    assert refusal(given).code == "request.manifest"


@pytest.mark.parametrize(
    "desired",
    [
        {"runtime": []},
        {"runtime": {"settings": "x"}},
        {"runtime": {"settings": {"registryCredentials": ["x"]}}},
        {"systemModules": []},
        {"systemModules": {"edgeAgent": {}}},
    ],
)
def test_a_runtime_that_could_not_be_merged_is_refused(desired: Any) -> None:
    given = template()
    given["modulesContent"]["$edgeAgent"]["properties.desired"].update(desired)

    assert refusal(given).code == "request.manifest"


def test_one_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = {"a": deep}

    error = refusal(template(app={"properties.desired": deep}))

    assert (error.code, "deeper than 32" in str(error)) == ("request.manifest", True)


# Manifests of other tools, and of people who asked for help in public


def credentials(**of: str) -> dict[str, Any]:
    return {"runtime": {"settings": {"registryCredentials": {"acr": of}}}}


def with_agent(agent: Any, **parts: Any) -> dict[str, Any]:
    modules = {"app": {"settings": {"image": "app:1"}}}
    return {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": modules, **agent}}, **parts}}


def test_variables_of_vs_code_are_filled_in_and_credentials_that_keep_one_are_refused() -> None:
    """github.com/Azure/iotedge/issues/207: $NAME without braces."""
    given = with_agent(credentials(username="$ACR_USER", password="$ACR_PASSWORD", address="acr.example"))

    filled = resolve(given, {"ACR_USER": "u", "ACR_PASSWORD": "p$X"})

    runtime = filled["modulesContent"]["$edgeAgent"]["properties.desired"]["runtime"]
    assert runtime["settings"]["registryCredentials"]["acr"] == {
        "username": "u",
        "password": "p$X",
        "address": "acr.example",
    }
    with pytest.raises(RequestError, match=r"registryCredentials\.acr\.password") as caught:
        resolve(given, {"ACR_USER": "u"})
    assert caught.value.code == "request.unresolved_placeholder"


def test_a_dollar_that_nobody_means_stays() -> None:
    options = {"Cmd": ["sh", "-c", "echo $HOME $$"]}
    app = {"settings": {"image": "app:1", "createOptions": options}}
    routes = {"up": "FROM /messages/* INTO $upstream"}

    filled = resolve(
        {
            "modulesContent": {
                "$edgeAgent": {"properties.desired": {"modules": {"app": app}}},
                "$edgeHub": {"properties.desired": {"routes": routes}},
            }
        },
        {},
    )

    assert filled["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] == routes
    settings = filled["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["app"]["settings"]
    assert json.loads(settings["createOptions"]) == options


def test_a_whole_deployment_of_the_azure_cli_is_read_as_its_manifest() -> None:
    """github.com/Azure/iotedge/issues/4897: id, priority, targetCondition, and the layered form with credentials."""
    layered = {
        "properties.desired.runtime.settings.registryCredentials.etib-acr": {"address": "${ACR}"},
        "properties.desired.modules.${MODULE}": {"settings": {"image": "${ACR}/app:1", "createOptions": {"a": 1}}},
    }
    given = {"id": "${MODULE}-deploy", "priority": "${P}", "content": {"modulesContent": {"$edgeAgent": layered}}}

    filled = resolve(given, {"ACR": "etib.example", "MODULE": "app", "P": "10"})

    assert module_images(filled) == ("etib.example/app:1",)


def test_a_place_that_names_a_folder_is_filled_in() -> None:
    """github.com/Azure/azure-iot-cli-extension/issues/147."""
    given = {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": {"ml": {"settings": {"image": ""}}}}}}}
    given["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["ml"]["settings"]["image"] = (
        "${MODULEDIR<modules/MachineLearningModule>}"
    )
    order = {
        "name": "n",
        "owner": {"name": "o", "email": "o@example.com"},
        "devices": {"ids": ["a"]},
        "manifest": given,
        "values": {"MODULEDIR<modules/MachineLearningModule>": "ml:3"},
    }

    request = parse_body(StartDeployment, json.dumps(order).encode())

    assert module_images(resolve(request.manifest, request.values)) == ("ml:3",)


def test_options_with_line_breaks_are_kept_and_an_empty_text_is_no_options() -> None:
    """github.com/microsoft/vscode-azure-iot-edge/pull/275; github.com/MicrosoftDocs/azure-docs/issues/21773."""
    text = '{\r\n  "HostConfig": {\r\n    "Binds": ["/a:/b"]\r\n  }\r\n}\r\n\r\n'

    assert options_of(resolve(with_options(createOptions=text), {})) == {"createOptions": text}
    assert options_of(resolve(with_options(createOptions=""), {})) == {"createOptions": "{}"}


def test_routes_may_be_objects_with_a_priority() -> None:
    """github.com/MicrosoftDocs/azure-docs/issues/64893: schema 1.1."""
    route = {"route": "FROM /messages/* INTO $upstream", "priority": 0, "timeToLiveSecs": 1200}

    filled = resolve(with_agent({}, **{"$edgeHub": {"properties.desired.routes.upstream": route}}), {})

    assert filled["modulesContent"]["$edgeHub"] == {"properties.desired": {"routes": {"upstream": route}}}


def test_port_bindings_are_not_counted_as_levels_of_the_twin() -> None:
    """github.com/Azure/iotedge/issues/1569: createOptions are a text in the twin, however deep."""
    deep: Any = {}
    for _ in range(12):
        deep = {"x": deep}

    assert "createOptions" in options_of(resolve(with_options(createOptions=deep), {}))


@pytest.mark.parametrize(
    ("properties", "place"),
    [
        ({"Serilog.Level": "x"}, "'Serilog.Level'"),
        ({"a": {"$b": 1}}, r"'\$b'"),
        ({"a b": 1}, "'a b'"),
        ({"": 1}, "0 characters"),
        ({"a": "x" * 5000}, "app.a is a text"),
        ({"a": ["ok", "x" * 5000]}, r"app.a\[1\] is a text"),
        ({"a": 2**60}, "number beyond"),
        ({str(number): "x" * 4000 for number in range(9)}, "bytes of desired properties"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": 1}}}}}}}}}}}, "nested deeper"),
    ],
)
def test_what_no_hub_takes_is_refused_while_a_person_sees_it(properties: Any, place: str) -> None:
    given = with_agent({}, app={"properties.desired": properties})

    with pytest.raises(RequestError, match=place) as caught:
        resolve(given, {})

    assert caught.value.code == "request.manifest"


def test_fifty_modules_are_taken_and_one_more_is_not() -> None:
    def of(number: int) -> dict[str, Any]:
        modules = {f"m{one}": {"settings": {"image": "app:1"}} for one in range(number)}
        return {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": modules}}}}

    assert len(modules_of(resolve(of(50), {}))) == 50
    with pytest.raises(RequestError, match="51 modules"):
        resolve(of(51), {})


def test_modules_whose_names_differ_by_case_are_two() -> None:
    """IoT Hub's module ids differ by case."""
    modules = {name: {"settings": {"image": f"{name.lower()}:1"}} for name in ("App", "app")}

    filled = resolve({"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": modules}}}}, {})

    assert set(modules_of(filled)) == {"App", "app"}

from __future__ import annotations

from urllib.parse import unquote

from edge_module.sas_token import connection_from_text


def test_a_token_names_the_module_as_the_hub_does_whatever_letters_its_id_has() -> None:
    connection = connection_from_text("HostName=http://host:1/iothub/n;DeviceId=a@b:1;ModuleId=$m;SharedAccessKey=a2V5")

    resource = connection.token(1).split("sr=")[1].split("&")[0]

    assert unquote(resource) == "host:1/iothub/n/devices/a@b:1/modules/$m"
    assert connection.module_path == "/devices/a%40b%3A1/modules/%24m"

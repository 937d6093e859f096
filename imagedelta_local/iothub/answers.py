"""How an IoT hub answers: errors with a code in header and body, identities and twins as JSON."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web


class HubError(Exception):
    """A request the hub refuses; ``code`` and ``status`` are those of Azure IoT Hub."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def response(self) -> web.Response:
        """The answer to the client."""
        body = {"Message": f"ErrorCode:{self.code};{self}", "ExceptionMessage": str(self)}
        return web.json_response(body, status=self.status, headers={"iothub-errorcode": self.code})


def device_missing(device: str) -> HubError:
    """No such device."""
    return HubError("DeviceNotFound", f"the device {device} is not registered", 404)


def module_missing(device: str, module: str) -> HubError:
    """No such module on the device."""
    return HubError("ModuleNotFound", f"the module {module} is not registered on the device {device}", 404)


def invalid(message: str) -> HubError:
    """The request has a form that cannot be."""
    return HubError("ArgumentInvalid", message, 400)


async def json_body(request: web.Request, limit: int = 1 << 20) -> dict[str, Any]:
    """The JSON object in a request.

    Raises:
        HubError: It is longer than ``limit`` bytes, or no JSON object.
    """
    body = await bounded_body(request, limit)
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise invalid("the body must be a JSON object")
    return value


async def bounded_body(request: web.Request, limit: int) -> bytes:
    """The body of a request, read up to a limit in bytes.

    Raises:
        HubError: It is longer.
    """
    if (request.content_length or 0) > limit:
        raise HubError("MessageTooLarge", f"the body is longer than {limit} bytes", 413)
    body = bytearray()
    async for part in request.content.iter_chunked(1 << 16):
        body += part
        if len(body) > limit:
            raise HubError("MessageTooLarge", f"the body is longer than {limit} bytes", 413)
    return bytes(body)

"""What an answer of the storage means: what is missing is final, so only the storage itself may say so; odd is busy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from imagedelta.errors import ContentError, DependencyError, ImageDeltaError
from services.blobs import azure_account
from services.blobs.azure import AzureBlobs
from services.blobs.azure_account import Account
from services.blobs.azure_settings import StorageSettings

XML = "<?xml version='1.0' encoding='utf-8'?><Error><Code>{}</Code><Message>no</Message></Error>"


@contextmanager
def answering(*answers: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that says these bytes, one connection after the other and the last for ever, a piece at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = list(answers)

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(65_536)
                    answer = left.pop(0) if len(left) > 1 else left[0]
                    try:
                        for at in range(0, len(answer), 64 if pause else len(answer) or 1):
                            client.sendall(answer[at : at + (64 if pause else len(answer))])
                            time.sleep(pause)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/fleet"
        server.shutdown(socket.SHUT_RDWR)


def answer(status: int, code: str = "", body: str = "", **headers: str) -> bytes:
    body = body or (XML.format(code) if code else "")
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/xml"]
    lines += [f"x-ms-error-code: {code}"] if code else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "Connection: close", "", ""]) + body).encode()


def blobs_at(url: str, slept: list[float] | None = None) -> AzureBlobs:
    sleep = (slept if slept is not None else []).append
    return AzureBlobs(Account(StorageSettings(url, "fleet", "a2V5"), sleep=sleep))


def refusal(*answers: bytes) -> ImageDeltaError:
    with answering(*answers) as url, pytest.raises(ImageDeltaError) as raised:
        blobs_at(url).read("layers", "ab")
    return raised.value


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (answer(404, "BlobNotFound"), "content.missing"),
        (answer(404, "ContainerNotFound"), "content.missing"),
        (answer(403, "AuthorizationPermissionMismatch"), "dependency.blobs_denied"),
        (answer(403, "AuthenticationFailed"), "dependency.blobs_denied"),
        (answer(403, "AuthorizationFailure"), "dependency.blobs_denied"),
        (answer(403, "KeyBasedAuthenticationNotPermitted"), "dependency.blobs_denied"),
        (answer(400, "InvalidAuthenticationInfo"), "dependency.blobs_denied"),
        (answer(412, "ConditionNotMet"), "blob.changed"),
        (answer(409, "ContainerBeingDeleted"), "dependency.blobs"),
        (answer(503, "ServerBusy"), "dependency.blobs"),
        (answer(500, "InternalError"), "dependency.blobs"),
        (answer(429), "dependency.blobs"),
        (answer(404, body="<html>no such site</html>"), "dependency.blobs"),
        (answer(302, Location="http://127.0.0.1:1/login"), "dependency.blobs"),
        (answer(200, body="<html>please log in</html>"), "dependency.blobs"),
        (answer(206, body="<html>please log in</html>"), "dependency.blobs"),
        (b"", "dependency.blobs"),
        (b"\x00\x01\x02 not HTTP at all\r\n\r\n", "dependency.blobs"),
        (b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\nhalf", "dependency.blobs"),
    ],
)
def test_what_the_storage_says_has_one_meaning(said: bytes, code: str) -> None:
    error = refusal(said)

    assert error.code == code
    assert isinstance(error, ContentError if code.startswith("content") else DependencyError)


def test_a_list_that_is_none_is_no_empty_list() -> None:
    for said in (answer(200, body="<html></html>"), answer(404, body="not found"), answer(200, body="")):
        with answering(said) as url, pytest.raises(DependencyError):
            list(blobs_at(url).list("layers"))


def test_a_short_pause_is_kept_and_a_long_one_is_told() -> None:
    slept: list[float] = []
    ten_bytes = answer(206, body="0123456789", Content_Range="bytes 0-9/10", ETag='"1"')
    with answering(answer(503, "ServerBusy", Retry_After="3"), ten_bytes) as url:
        assert blobs_at(url, slept).read("layers", "ab") == b"0123456789"
    assert slept == [3.0]

    error = refusal(answer(503, "ServerBusy", Retry_After="120"))
    assert isinstance(error, DependencyError)
    assert error.retry_after == timedelta(seconds=120)


def test_a_body_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_account, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(azure_account, "_PAUSES", ())
    body = "x" * 64 * 200
    said = answer(206, body=body, Content_Range=f"bytes 0-{len(body) - 1}/{len(body)}", ETag='"1"')
    began = time.monotonic()

    with answering(said, pause=0.1) as url, pytest.raises(DependencyError):
        blobs_at(url).read("layers", "ab")

    assert time.monotonic() - began < 5


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_account, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(azure_account, "_PAUSES", ())
    with answering(b"HTTP/1.1 200 X\r\n" * 5, pause=5) as url, pytest.raises(DependencyError):
        blobs_at(url).read("layers", "ab")


def test_no_error_shows_a_key_or_a_signature() -> None:
    for said in (answer(403, "AuthenticationFailed"), answer(500, "InternalError"), b""):
        error = refusal(said)
        assert "a2V5" not in f"{error!r}{error}"
        assert "sig=" not in f"{error!r}{error}"

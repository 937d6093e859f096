"""Mail servers that hang, break off, refuse in every way or speak little: what is tried again, and in what time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from services.notices.mail_settings import MailSettings
from services.notices.mail_smtp import SmtpMailer
from tests.unit.services.test_mail_smtp import MAIL

Answer = str | Callable[[socket.socket], object]


class Script:
    """A server that answers each command by its first word, and everything else with 250."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, Answer] = {"hello": "220 ready", "DATA": "354 go on", **answers}
        self.said: list[str] = []
        self.messages: list[bytes] = []
        self.over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[MailSettings]:
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield MailSettings("127.0.0.1", listener.getsockname()[1], "none", "fleet@example.org")
        finally:
            self.over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        self._answer(connection, "hello")
        lines = connection.makefile("rb")
        for raw in lines:
            line = raw.decode("utf-8", "replace").strip()
            self.said.append(line)
            verb = line.partition(" ")[0].upper()
            if verb == "DATA":
                self._answer(connection, "DATA")
                if not str(self.answers["DATA"]).startswith("354"):
                    continue
                self.messages.append(b"".join(iter(lines.readline, b".\r\n")))
                self._answer(connection, "end")
            else:
                self._answer(connection, verb)

    def _answer(self, connection: socket.socket, step: str) -> None:
        answer = self.answers.get(step, "250 OK")
        if callable(answer):
            answer(connection)
        else:
            connection.sendall(answer.encode() + b"\r\n")


def gone(connection: socket.socket) -> None:
    connection.close()
    raise OSError("gone")


def trickles(connection: socket.socket) -> None:
    """A byte at a time, for ever: every wait is short, the whole is not."""
    while True:
        connection.sendall(b"2")
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    """Always one more line."""
    while True:
        connection.sendall(b"250-more\r\n")
        time.sleep(0.01)


def failure(script: Script, mail: object = MAIL, **seconds: float) -> ImageDeltaError:
    with script.running() as settings, pytest.raises(ImageDeltaError) as caught:
        SmtpMailer(settings, **seconds).send(mail)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("step", "answer", "code"),
    [
        ("hello", "421 too many connections", "dependency.mail"),
        ("hello", "554 no service", "dependency.mail"),
        ("hello", "nonsense", "dependency.mail"),
        ("MAIL", "421 4.7.0 try again later", "dependency.mail"),
        ("MAIL", "450 4.5.127 excessive message rate from sender", "dependency.mail"),
        ("MAIL", "530 5.7.0 must issue a STARTTLS command first", "dependency.mail"),
        ("RCPT", "421 4.4.2 timeout", "dependency.mail"),
        ("RCPT", "450 4.2.1 mailbox busy", "mail.deferred"),
        ("RCPT", "451 4.7.1 greylisted, come back in five minutes", "mail.deferred"),
        ("RCPT", "452 4.2.2 mailbox full", "mail.deferred"),
        ("RCPT", "550 5.1.1 no such user", "mail.refused"),
        ("RCPT", "550 5.7.1 relaying denied", "mail.deferred"),
        ("RCPT", "553 bad name", "mail.refused"),
        ("RCPT", "252 perhaps", "dependency.mail"),
        ("DATA", "451 not now", "mail.deferred"),
        ("DATA", "554 no", "mail.refused"),
        ("end", "421 4.3.0 dying", "dependency.mail"),
        ("end", "450 4.7.0 later", "mail.deferred"),
        ("end", "552 too large", "mail.refused"),
        ("end", "554 5.7.1 spam", "mail.refused"),
    ],
)
def test_what_is_refused_for_good_is_final_and_everything_else_is_tried_again(
    step: str, answer: str, code: str
) -> None:
    error = failure(Script(**{step: answer}))

    assert error.code == code
    assert isinstance(error, RequestError if code == "mail.refused" else DependencyError)


@pytest.mark.parametrize("step", ["hello", "EHLO", "MAIL", "RCPT", "DATA", "end"])
def test_a_server_that_breaks_off_anywhere_is_tried_again(step: str) -> None:
    assert failure(Script(**{step: gone})).code == "dependency.mail"


def test_a_server_that_dies_after_it_has_the_message_gets_it_again_under_the_same_id() -> None:
    script = Script(end=gone)
    with script.running() as settings:
        mailer = SmtpMailer(settings)
        with pytest.raises(DependencyError):
            mailer.send(MAIL)
        script.answers["end"] = "250 taken"
        mailer.send(MAIL)

    first, second = (message for message in script.messages)
    assert first.count(MAIL.message_id.encode()) == second.count(MAIL.message_id.encode()) == 1


@pytest.mark.parametrize("step", ["hello", "EHLO", "RCPT", "end"])
@pytest.mark.parametrize("how", ["trickles", "endless", "hangs"])
def test_however_slowly_a_server_answers_a_delivery_ends_in_its_time(step: str, how: str) -> None:
    script = Script()
    script.answers[step] = {"trickles": trickles, "endless": endless, "hangs": lambda _: script.over.wait(30)}[how]
    with script.running() as settings:
        began = time.monotonic()
        with pytest.raises(DependencyError) as caught:
            SmtpMailer(settings, answer_seconds=0.4, whole_seconds=0.6).send(MAIL)
        took = time.monotonic() - began

    assert caught.value.code == "dependency.mail"
    assert took < 5


def test_a_server_without_8bitmime_gets_seven_bits_in_short_lines() -> None:
    script = Script(EHLO="500 what?", HELO="250 hello")
    with script.running() as settings:
        SmtpMailer(settings).send(replace(MAIL, text="ä" * 3000 + "\n.\n", subject="ö" * 190))

    [message] = script.messages
    assert message.isascii()
    assert max(len(line) for line in message.split(b"\r\n")) <= 78


def test_a_mailbox_that_is_not_ascii_needs_smtputf8_and_its_domain_does_not() -> None:
    mail = replace(MAIL, recipient="jürgen@example.org")
    script = Script(EHLO="250-here\r\n250 SMTPUTF8")
    with script.running() as settings:
        SmtpMailer(settings).send(mail)
        SmtpMailer(settings).send(replace(MAIL, recipient="owner@köln.example"))

    assert [line for line in script.said if line.startswith(("mail", "rcpt"))] == [
        "mail FROM:<fleet@example.org> SMTPUTF8",
        "rcpt TO:<jürgen@example.org>",
        "mail FROM:<fleet@example.org>",
        "rcpt TO:<owner@xn--kln-sna.example>",
    ]
    assert failure(Script(), mail).code == "mail.refused"


def copies_taken(script: Script) -> Sequence[str]:
    with script.running() as settings:
        SmtpMailer(settings).send(replace(MAIL, copies=("ops@example.org", "plant@example.org")))
    return [line.partition("TO:")[2] for line in script.said if line.startswith("rcpt")]


def test_a_copy_that_is_refused_keeps_nothing_from_the_owner(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter(["250 OK", "550 no such box", "250 OK"])
    script = Script(RCPT=lambda connection: connection.sendall(next(answers).encode() + b"\r\n"))

    taken = copies_taken(script)

    assert taken == ["<owner@example.org>", "<ops@example.org>", "<plant@example.org>"]
    assert b"Cc: ops@example.org, plant@example.org\r\n" in script.messages[0]
    assert "a copy to ops@example.org is not taken: 550 no such box" in caplog.text


def test_copies_get_nothing_that_its_owner_does_not_get() -> None:
    script = Script(RCPT="450 later")

    assert failure(script, replace(MAIL, copies=("ops@example.org",))).code == "mail.deferred"
    assert script.messages == []


def test_an_answer_of_a_server_moves_no_terminal() -> None:
    error = failure(Script(RCPT="550 \x1b[2Jno\x07"))

    assert str(error) == "owner@example.org: 550 \\x1b[2Jno\\x07"


def test_mails_of_a_set_belong_together_and_answer_no_absence_note() -> None:
    script = Script()
    with script.running() as settings:
        SmtpMailer(settings).send(MAIL)

    lines = script.messages[0].split(b"\r\n")
    assert {
        b"References: <set-1@example.org>",
        b"In-Reply-To: <set-1@example.org>",
        b"List-Id: <engine-room.imagedelta.example.org>",
        b"Auto-Submitted: auto-generated",
    } <= set(lines)

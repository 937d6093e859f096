"""A mail server in memory: keeps what it took, can refuse, be down, or lose its answer."""

from __future__ import annotations

from imagedelta.errors import RequestError
from services.ports import Mail
from tests.simulators.calls import Calls, Crash


class MailSimulator:
    """The port ``Mailer``."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.taken: list[Mail] = []
        """In order, repetitions included."""
        self.refused: set[str] = set()
        """Recipients refused for good."""

    def send(self, mail: Mail) -> None:
        with self.calls.call("send"):
            if mail.recipient in self.refused:
                raise RequestError(f"{mail.recipient}: 550 no such user", code="mail.refused")
            self.taken.append(mail)

    def crash_after_taking(self) -> None:
        """The sender's process dies once the server has taken the next mail, before it can say so anywhere."""
        self.calls.fail("send", after=True, error=Crash())

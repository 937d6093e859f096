"""What a registry's token server or the registry itself is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """``repr`` shows no secret."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth2 refresh token, given instead of a password."""

    def __bool__(self) -> bool:
        return bool(self.user or self.identity_token)


NO_LOGIN = Login()

AskLogin = Callable[[], Login]
"""Called when a registry asks for one, each time that it does."""

"""Function-level retry policies of timer and event hub triggers: fixed delay and exponential backoff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.timespans import seconds_of

FOREVER = -1
FIXED_DELAY = "fixed_delay"
EXPONENTIAL_BACKOFF = "exponential_backoff"
_NO_MAXIMUM_SECONDS = float(2**31 - 1)
"""As the worker fills in for a backoff without a maximum."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and when an invocation that raised is run again.

    Attributes:
        max_retries: Runs after the first one; ``FOREVER`` for no end.
        first_delay: Seconds before the first retry.
        max_delay: The longest delay, in seconds; equal to ``first_delay`` for a fixed delay.
    """

    max_retries: int
    first_delay: float
    max_delay: float

    @staticmethod
    def from_setting(setting: Mapping[str, Any] | None) -> RetryPolicy | None:
        """Read the policy a function carries; ``None`` when it has none.

        Raises:
            SettingInvalid: An unknown strategy, no delay for a fixed delay, or an interval that is no time span.
        """
        if setting is None:
            return None
        strategy = str(setting.get("strategy", ""))
        retries = int(setting.get("max_retry_count", 0))
        if strategy == FIXED_DELAY:
            text = setting.get("delay_interval")
            if not isinstance(text, str):
                raise SettingInvalid("a retry policy lacks its delay_interval")
            delay = seconds_of(text)
            return RetryPolicy(retries, delay, delay)
        if strategy == EXPONENTIAL_BACKOFF:
            lowest, highest = setting.get("minimum_interval"), setting.get("maximum_interval")
            return RetryPolicy(
                retries,
                seconds_of(lowest) if lowest else 0.0,
                seconds_of(highest) if highest else _NO_MAXIMUM_SECONDS,
            )
        raise SettingInvalid(f"unknown retry strategy {strategy!r}: use fixed_delay or exponential_backoff")

    def delay(self, retry: int) -> float | None:
        """Seconds to wait before the ``retry``-th retry (from 1); ``None`` when there is none left."""
        if self.max_retries != FOREVER and retry > self.max_retries:
            return None
        if retry > 32:
            return self.max_delay
        return float(min(self.first_delay * 2 ** (retry - 1), self.max_delay))

"""A set that is shown, or watched until it has ended, and the exit code that follows from how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagedelta.errors import REMEDIES
from imagedelta_cli import exits
from imagedelta_cli.api_client import Api, Problem, segment
from imagedelta_cli.api_options import StillUnderWay, Tell, show_one, tell_changes, wait_for
from imagedelta_cli.outcomes import ENDED, Outcome, outcome_of_set
from imagedelta_cli.output import stages
from imagedelta_cli.set_texts import DETAILS, next_step, progress_of
from imagedelta_cli.stopping import when_stopped


class NotCompleted(Problem):
    """A set that was watched ended otherwise than well, or waits for a person."""

    def __init__(self, detail: str, code: str, remedy: str, exit_code: int) -> None:
        super().__init__(detail, code, remedy, retryable=False)
        self.exit_code = exit_code


def show_set(item: Mapping[str, Any], exit_code: bool, as_json: bool) -> int:
    """Show a set as it stands; ``exit_code`` asks for the code of its outcome."""
    outcome = outcome_of_set(item)
    show_one({**item, "outcome": outcome}, DETAILS, as_json)
    return outcome.exit_code if exit_code else exits.DONE


def watch_set(api: Api, set_id: str, until: tuple[str, ...], timeout: float, exit_code: bool, as_json: bool) -> int:
    """Wait, tell on stderr what happens, and show how it ended.

    Raises: NotCompleted when it ended badly, or waits for a person when the time is over; StillUnderWay
        when it is still under way then.
    """
    path = f"deployment-sets/{segment(set_id)}"
    with when_stopped(f"The set goes on without you: imagedelta status {set_id}"), _telling() as tell:
        try:
            found = wait_for(
                lambda: api.get(path), lambda item: item["state"] in (*ENDED, *until), timeout=timeout, tell=tell
            )
        except StillUnderWay:
            _raise_if_person(api.get(path))
            raise
    show_set(found, False, as_json)
    outcome = outcome_of_set(found)
    if found["state"] in until or outcome is Outcome.COMPLETED:
        return exits.DONE
    if outcome is Outcome.ALREADY_THERE:
        return outcome.exit_code if exit_code else exits.DONE
    code = found["code"] or "set.not_completed"
    detail = f"{set_id} is {found['state']}" + (f": {found['detail']}" if found["detail"] else "")
    raise NotCompleted(detail, code, found["remedy"] or REMEDIES["set.not_completed"], outcome.exit_code)


def _raise_if_person(item: Mapping[str, Any]) -> None:
    if outcome_of_set(item) is Outcome.NEEDS_PERSON:
        what = next_step(item) or f"imagedelta status {item['setId']}"
        detail = f"{item['setId']} is {item['state']} and waits for a person"
        raise NotCompleted(detail, "set.needs_person", f"Decide: {what}", exits.NEEDS_PERSON)


@contextmanager
def _telling() -> Iterator[Tell]:
    """Lines on stderr for what is news; on a terminal also a bar of the bytes that have arrived, and the time left."""
    say_news = tell_changes(progress_of)
    with stages("Waiting") as show:

        def tell(item: Mapping[str, Any]) -> None:
            say_news(item)
            show(str(item["state"]).replace("_", " "), item["sentBytes"], item["plannedBytes"] or 0)

        yield tell

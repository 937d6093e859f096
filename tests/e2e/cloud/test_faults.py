"""Each dependency slow, failing, failing half-way and gone, each with the host killed meanwhile: nothing is lost.

The courses run side by side, one a dependency: what they do most is wait. docs/faults.md shows the table.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.e2e.cloud.fault_course import FaultCourse, Outcome, unheard_after
from tests.e2e.cloud.faults import FAULTS, Fault, table
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.smtp_server import SmtpServer
from tests.simulators.tcp_proxy import TcpProxy
from tests.worker.azure_worker import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]  # the first one waits for all courses
Outcomes = Mapping[tuple[str, bool], Outcome | BaseException]
DEPENDENCIES = tuple(dict.fromkeys(fault.dependency for fault in FAULTS))


@pytest.fixture(scope="module")
def plain_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Without TLS, so that a link can answer in its place."""
    azurite = Azurite(tmp_path_factory.mktemp("azurite"))
    try:
        yield azurite.wait_until_ready()
    finally:
        azurite.stop()


@pytest.fixture(scope="module")
def outcomes(plain_azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    found: dict[tuple[str, bool], Outcome | BaseException] = {}

    def run(dependency: str) -> None:
        folder = tmp_path_factory.mktemp(dependency.replace(" ", "-"))
        with FaultCourse(folder, dependency, plain_azurite) as course:
            for fault in (fault for fault in FAULTS if fault.dependency == dependency):
                for kill in (False, True):
                    try:
                        found[str(fault), kill] = course.run(fault, kill=kill)
                    except BaseException as error:
                        found[str(fault), kill] = error
                        raise

    with ThreadPoolExecutor(len(DEPENDENCIES)) as pool:
        courses: list[Future[None]] = [pool.submit(run, dependency) for dependency in DEPENDENCIES]
    for dependency, course in zip(DEPENDENCIES, courses, strict=True):
        for fault in FAULTS:
            for kill in (False, True):
                if fault.dependency == dependency and course.exception() is not None:
                    found.setdefault((str(fault), kill), AssertionError(f"not reached: {course.exception()}"))
    return found


@pytest.mark.parametrize("kill", [False, True], ids=["", "and the host is killed"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_set_ends_well_and_nothing_is_lost_or_done_twice(fault: Fault, kill: bool, outcomes: Outcomes) -> None:
    outcome = outcomes[str(fault), kill]

    if isinstance(outcome, BaseException):
        raise outcome
    assert (outcome.state, list(outcome.wrong), outcome.deaths) == ("completed", [], int(kill))
    assert outcome.injected >= (1 if kill else fault.least)


def test_a_cut_after_so_many_bytes_leaves_a_letter_that_was_taken_without_an_answer() -> None:
    server = SmtpServer()
    try:
        with TcpProxy((server.host, server.port)) as link:
            link.cut_after = unheard_after(server)
            with pytest.raises(smtplib.SMTPServerDisconnected), smtplib.SMTP("127.0.0.1", link.port) as client:
                client.sendmail("a@example.org", ["b@example.org"], "Subject: hello\r\n\r\nhello\r\n")
    finally:
        server.stop()

    assert len(server.to("b@example.org")) == 1


def test_the_table_of_faults_is_what_is_tried() -> None:
    assert table() in (ROOT / "docs/faults.md").read_text("utf-8")

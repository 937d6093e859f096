"""Over a real link that is cut again and again, a bundle costs hardly more than its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.blob_server import BlobServer
from tests.simulators.link_trial import NAME, fetch_over
from tests.simulators.tcp_proxy import TcpProxy

GOAL = 1.02


@pytest.mark.parametrize("resets", [True, False])
def test_cut_after_every_100_kb_a_bundle_costs_at_most_one_fiftieth_more(tmp_path: Path, resets: bool) -> None:
    with BlobServer() as server, TcpProxy(server.address) as link:
        link.cut_after, link.resets = 100_000, resets

        figure = fetch_over(link, server, 2_500_000, tmp_path, seconds=120)

        assert figure.cuts >= 24
        assert figure.body_ratio <= GOAL
        assert figure.link_ratio <= GOAL, "with all headers and the list"


def test_cut_more_often_than_once_a_chunk_it_still_comes(tmp_path: Path) -> None:
    with BlobServer() as server, TcpProxy(server.address) as link:
        link.cut_after = 20_000

        figure = fetch_over(link, server, 300_000, tmp_path, seconds=120)

        assert figure.cuts >= 14
        assert figure.body_ratio <= GOAL


def test_a_link_that_is_cut_by_the_clock_loses_only_what_is_on_its_way(tmp_path: Path) -> None:
    with BlobServer() as server, TcpProxy(server.address) as link:
        link.bytes_per_second, link.cut_every_seconds = 1_000_000, 0.3

        figure = fetch_over(link, server, 1_500_000, tmp_path, seconds=120)

        assert figure.cuts >= 3
        assert figure.body_ratio <= GOAL


def test_one_connection_serves_a_whole_bundle(tmp_path: Path) -> None:
    with BlobServer() as server, TcpProxy(server.address) as link:
        fetch_over(link, server, 10_000_000, tmp_path, seconds=120)

        assert link.connections == 1
        assert server.asked == {"": 1, NAME: 3, f"{NAME}.chunks": 1}

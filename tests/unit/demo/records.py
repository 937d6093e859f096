"""A run of the demo as it should be, for tests of what is made of it."""

from __future__ import annotations

from demo.checks import Expected
from demo.mail_sink import ReceivedMail
from demo.record import DeviceFact, Event, ReleaseFact, RunRecord, Span, TransferFact

START = 1_800_000_000.0
IDS = {
    name: "sha256:" + digit * 64 for name, digit in (("recon:1", "a"), ("app:1", "b"), ("app:2", "c"), ("tool:1", "d"))
}

EXPECTED = Expected(
    transfers=(("aurora", "app:2"), ("aurora", "tool:1"), ("boreas", "app:2"), ("boreas", "tool:1")),
    hubs=(("aurora", "north"), ("boreas", "south"), ("calypso", "south")),
    already_present=("calypso",),
    owner_email="ada@example.org",
    patched_images=(("app:2", "app:1"),),
)


def a_transfer(device: str, image: str, source: str, bundle_bytes: int, patch: str) -> TransferFact:
    return TransferFact(
        transfer_id=f"transfer-{device}-{patch}",
        device=device,
        image=image,
        image_id=IDS[image],
        source=source,
        patch_id=patch,
        full_bytes=121_337_803,
        pull_bytes=24_600_000,
        estimated_bytes=bundle_bytes * 2,
        bundle_bytes=bundle_bytes,
        seconds_on_link=bundle_bytes / 500_000 + 1,
        state="succeeded",
        verified=True,
    )


def a_release(device: str, hub: str) -> ReleaseFact:
    images = {
        "engine": "localhost:5000/app@" + IDS["app:2"],
        "tools": "localhost:5000/tool@" + IDS["tool:1"],
    }
    return ReleaseFact(device, hub, 1, images, {"$edgeAgent": {"properties.desired": {"modules": images}}})


def a_device(
    device: str, hub: str, before: tuple[str, ...], flow: dict[int, int], cuts: tuple[float, ...]
) -> DeviceFact:
    by_second = {int(START) + second: count for second, count in flow.items()}
    bundles = sum(flow.values()) - 9_000 if cuts else 0
    after = tuple(dict.fromkeys((*before, "app:2", "tool:1")))
    return DeviceFact(device, hub, before, after, "applied", sum(flow.values()), bundles, cuts, by_second)


def a_record() -> RunRecord:
    slow = dict.fromkeys(range(48, 92), 500000) | dict.fromkeys(range(4, 40, 5), 900)
    quick = dict.fromkeys(range(50, 66), 500000) | dict.fromkeys(range(4, 120, 5), 900)
    talk = dict.fromkeys(range(4, 140, 5), 1100)
    return RunRecord(
        started=START,
        ordered=START + 13,
        ended=START + 141,
        set_id="set-0123456789abcdef",
        state="completed",
        transfers=(
            a_transfer("aurora", "app:2", "recon:1", 9_650_000, "patch-1"),
            a_transfer("aurora", "tool:1", "recon:1", 10_200_000, "patch-2"),
            a_transfer("boreas", "app:2", "app:1", 35_841, "patch-3"),
            a_transfer("boreas", "tool:1", "app:1", 8_100_000, "patch-4"),
        ),
        already_present=("calypso",),
        patches={f"patch-{number}": 1 for number in range(1, 5)},
        mails=(
            ReceivedMail(
                "<n1@imagedelta>",
                "Ada Keller <ada@example.org>",
                "Deployment set Autumn release has arrived on 3 devices",
                "All images are on all 3 devices.\n\naurora   app:2, tool:1\n",
            ),
            ReceivedMail(
                "<n2@imagedelta>",
                "Ada Keller <ada@example.org>",
                "Deployment set Autumn release is complete",
                "Its release is applied: the modules run on 3 devices.\n",
            ),
        ),
        releases=(a_release("aurora", "north"), a_release("boreas", "south"), a_release("calypso", "south")),
        devices=(
            a_device("aurora", "north", ("recon:1",), slow, (START + 55, START + 63, START + 78)),
            a_device("boreas", "south", ("recon:1", "app:1"), quick, (START + 60,)),
            a_device("calypso", "south", ("recon:1", "app:1", "app:2", "tool:1"), talk, ()),
        ),
        kills={"host": 1, "device": 1},
        events=(
            Event(START + 31, "cloud", "kill", "host killed with SIGKILL while the patches were being built"),
            Event(START + 33, "cloud", "restart", "host started again"),
            Event(START + 58, "boreas", "kill", "killed with SIGKILL while it applied app:2"),
            Event(START + 60, "boreas", "restart", "started again"),
            Event(START + 104, "cloud", "mail", "mail to ada@example.org"),
            *(Event(START + 106 + n, name, "release", "manifest set") for n, name in enumerate(("aurora", "boreas"))),
        ),
        spans=(
            Span(START + 14, START + 18, "cloud", "planning", "planning"),
            Span(START + 18, START + 48, "cloud", "preparing", "preparing: building patches"),
            Span(START + 31, START + 33, "cloud", "down", "down"),
            Span(START + 48, START + 103, "cloud", "in_transit", "in transit"),
            Span(START + 103, START + 141, "cloud", "released", "released"),
            Span(START + 48, START + 68, "aurora", "fetch", "app:2"),
            Span(START + 68, START + 75, "aurora", "apply", "app:2"),
            Span(START + 76, START + 92, "aurora", "fetch", "tool:1"),
            Span(START + 93, START + 101, "aurora", "apply", "tool:1"),
            Span(START + 51, START + 52, "boreas", "fetch", "app:2"),
            Span(START + 54, START + 64, "boreas", "apply", "app:2"),
        ),
    )

"""What holds of every storage behind the port ``Blobs``. An adapter's test class inherits ``BlobsSuite`` and has a
fixture ``blobs``. Tests may share a storage: each has containers of its own.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, RequestError
from services.ports import BlobInfo, BlobRange, Blobs


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def in_chunks(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ImageDeltaError) as raised:
        call()
    return raised.value.code


class BlobsSuite:
    BLOCK = 64 * 1024
    """What the storage takes at a time, where it matters."""
    HELD = 4
    """Blocks of what is put that are in memory at the same time."""

    @pytest.fixture
    def box(self, request: pytest.FixtureRequest) -> str:
        """A container that no other test uses."""
        return f"outbox-{random.Random(request.node.nodeid).getrandbits(64):x}"

    # Putting.

    def test_what_is_put_is_read_back_by_ranges(self, blobs: Blobs, box: str) -> None:
        info = blobs.put(box, "ab", [b"0123", b"", b"456789"])

        assert (info.name, info.size) == ("ab", 10)
        assert blobs.info(box, "ab") == info
        assert blobs.read(box, "ab") == b"0123456789"
        assert blobs.read(box, "ab", 3, 4) == b"3456"
        assert blobs.read(box, "ab", 7) == b"789"
        assert blobs.read(box, "ab", 8, 100) == b"89"
        assert (blobs.read(box, "ab", 10, 5), blobs.read(box, "ab", 99), blobs.read(box, "ab", 2, 0)) == (b"", b"", b"")

    @pytest.mark.parametrize("blocks", [0, 1, 2])
    @pytest.mark.parametrize("more", [-1, 0, 1])
    @pytest.mark.parametrize("only_new", [False, True])
    def test_a_blob_of_any_size_is_stored_whole(
        self, blobs: Blobs, box: str, blocks: int, more: int, only_new: bool
    ) -> None:
        data = noise(max(0, blocks * self.BLOCK + more))
        put = blobs.put_if_absent if only_new else blobs.put

        info = put(box, "ab", in_chunks(data, 10_000))

        assert blobs.info(box, "ab") == info
        assert info.size == len(data)
        assert blobs.read(box, "ab") == data

    def test_putting_again_replaces_and_changes_the_etag(self, blobs: Blobs, box: str) -> None:
        first = blobs.put(box, "one", [b"old"])
        second = blobs.put(box, "one", in_chunks(noise(3 * self.BLOCK), 9999))
        third = blobs.put(box, "one", [b"new"])

        assert blobs.read(box, "one") == b"new"
        assert len({first.etag, second.etag, third.etag}) == 3

    @pytest.mark.parametrize("size", [3, 200_000])
    def test_content_addressed_blobs_are_written_once(self, blobs: Blobs, box: str, size: int) -> None:
        first = blobs.put_if_absent(box, "ab", [b"content"])
        second = blobs.put_if_absent(box, "ab", in_chunks(noise(size), 50_000))

        assert second == first
        assert blobs.read(box, "ab") == b"content"

    @pytest.mark.parametrize("blocks", [0, 3])
    def test_of_two_writers_of_one_name_the_first_stays(self, blobs: Blobs, box: str, blocks: int) -> None:
        slow_one = noise(blocks * self.BLOCK + 4)

        def slow() -> Iterator[bytes]:
            yield slow_one
            blobs.put_if_absent(box, "ab", [b"fast"])

        blobs.put_if_absent(box, "ab", slow())

        assert blobs.read(box, "ab") == b"fast"

    def test_of_many_writers_at_once_one_is_whole_and_all_are_told_of_it(self, blobs: Blobs, box: str) -> None:
        contents = [noise(2 * self.BLOCK + 100, seed) for seed in range(6)]

        with ThreadPoolExecutor(6) as pool:
            infos = list(pool.map(lambda data: blobs.put_if_absent(box, "ab", in_chunks(data, 30_000)), contents))

        assert len(set(infos)) == 1
        assert blobs.read(box, "ab") in contents

    def test_writers_of_the_same_content_never_hinder_each_other(self, blobs: Blobs, box: str) -> None:
        data = noise(3 * self.BLOCK)

        with ThreadPoolExecutor(6) as pool:
            infos = list(pool.map(lambda _: blobs.put_if_absent(box, "ab", in_chunks(data, 30_000)), range(6)))

        assert len(set(infos)) == 1
        assert blobs.read(box, "ab") == data

    @pytest.mark.parametrize("blocks", [0, 2])
    def test_a_writer_that_fails_leaves_nothing_to_be_seen(self, blobs: Blobs, box: str, blocks: int) -> None:
        def broken() -> Iterator[bytes]:
            yield noise(blocks * self.BLOCK + 4)
            raise ContentError("the archive is cut short")

        with pytest.raises(ContentError, match="cut short"):
            blobs.put(box, "ab", broken())

        assert blobs.info(box, "ab") is None
        assert list(blobs.list(box)) == []

    def test_a_blob_stays_as_it_was_while_another_one_of_its_name_is_made(self, blobs: Blobs, box: str) -> None:
        before = blobs.put(box, "ab", [b"whole"])

        def broken() -> Iterator[bytes]:
            yield noise(2 * self.BLOCK)
            raise ContentError("the archive is cut short")

        with pytest.raises(ContentError, match="cut short"):
            blobs.put(box, "ab", broken())

        assert list(blobs.list(box)) == [before]
        assert blobs.read(box, "ab") == b"whole"

    # Composing.

    def test_a_blob_is_composed_of_literals_and_ranges_of_other_containers(self, blobs: Blobs, box: str) -> None:
        data = noise(2 * self.BLOCK + 10)
        blobs.put("patches", f"{box}-p", [data])
        parts = [b"<", b"", BlobRange("patches", f"{box}-p", 5, self.BLOCK + 3), b">", b"!"]
        parts += [BlobRange("patches", f"{box}-p", 9, 0), BlobRange("patches", f"{box}-p", 0, 7)]

        info = blobs.compose_if_absent(box, "b.bundle", parts)

        made = b"<" + data[5 : self.BLOCK + 8] + b">!" + data[:7]
        assert blobs.read(box, "b.bundle") == made
        assert blobs.info(box, "b.bundle") == info
        assert info.size == len(made)

    @pytest.mark.parametrize("parts", [[], [b""]])
    def test_nothing_composed_is_an_empty_blob(self, blobs: Blobs, box: str, parts: list[bytes]) -> None:
        assert blobs.compose_if_absent(box, "b.bundle", parts).size == 0
        assert blobs.read(box, "b.bundle") == b""

    @pytest.mark.parametrize(
        ("name", "offset", "length", "code"),
        [
            ("p", 0, 6, "content.truncated"),
            ("p", 5, 1, "content.truncated"),
            ("p", 4, 2, "content.truncated"),
            ("none", 0, 5, "content.missing"),
        ],
    )
    def test_composing_of_bytes_that_are_not_there_makes_nothing(
        self, blobs: Blobs, box: str, name: str, offset: int, length: int, code: str
    ) -> None:
        blobs.put("patches", f"{box}-p", [b"short"])
        part = BlobRange("patches", f"{box}-{name}", offset, length)

        assert code_of(lambda: blobs.compose_if_absent(box, "b.bundle", [b"<", part, b">"])) == code

        assert blobs.info(box, "b.bundle") is None
        assert list(blobs.list(box)) == []

    def test_a_bundle_that_is_there_is_not_composed_again(self, blobs: Blobs, box: str) -> None:
        first = blobs.compose_if_absent(box, "b.bundle", [b"first"])

        again = blobs.compose_if_absent(box, "b.bundle", [b"second", BlobRange("patches", "none", 0, 6)])

        assert again == first
        assert blobs.read(box, "b.bundle") == b"first"

    def test_of_many_composers_at_once_one_is_whole_and_all_are_told_of_it(self, blobs: Blobs, box: str) -> None:
        data = noise(self.BLOCK)
        blobs.put("patches", f"{box}-p", [data])
        part = BlobRange("patches", f"{box}-p", 0, len(data))

        def compose(number: int) -> BlobInfo:
            return blobs.compose_if_absent(box, "b.bundle", [b"<%d" % number, part, b"%d>" % number])

        with ThreadPoolExecutor(6) as pool:
            infos = list(pool.map(compose, range(6)))

        assert len(set(infos)) == 1
        assert blobs.read(box, "b.bundle") in [b"<%d" % number + data + b"%d>" % number for number in range(6)]

    # Reading.

    def test_many_threads_read_one_blob_at_once_and_each_gets_its_bytes(self, blobs: Blobs, box: str) -> None:
        data = noise(1 << 20)
        blobs.put(box, "ab", [data])
        places = [(offset * 4096, 4096 + offset) for offset in range(100)]

        with ThreadPoolExecutor(16) as pool:
            read = list(pool.map(lambda place: blobs.read_at(box, "ab", *place), places))

        assert read == [data[offset : offset + length] for offset, length in places]

    @pytest.mark.parametrize(
        ("name", "offset", "length", "code"),
        [
            ("ab", 5, 6, "content.truncated"),
            ("ab", 10, 1, "content.truncated"),
            ("none", 5, 6, "content.missing"),
            ("none", 0, 0, "content.missing"),
        ],
    )
    def test_bytes_that_are_not_there_are_not_made_up(
        self, blobs: Blobs, box: str, name: str, offset: int, length: int, code: str
    ) -> None:
        blobs.put(box, "ab", [b"0123456789"])

        assert code_of(lambda: blobs.read_at(box, name, offset, length)) == code

    def test_a_blob_is_a_file_in_which_one_may_go_anywhere(self, blobs: Blobs, box: str) -> None:
        data = noise(3_000_000)
        blobs.put(box, "ab", in_chunks(data, 1 << 20))
        chance = random.Random(7)

        with blobs.open(box, "ab") as stream:
            assert stream.read(1000) == data[:1000]
            stream.seek(-2, os.SEEK_END)
            assert (stream.read(), stream.tell(), stream.read(5)) == (data[-2:], len(data), b"")
            for _ in range(30):
                at, length = chance.randrange(len(data)), chance.choice([1, 512, 100_000, 700_000])
                assert stream.seek(at) == at
                assert stream.read(length) == data[at : at + length]
            stream.seek(0)
            assert stream.read() == data

    def test_a_missing_blob_is_named_wherever_it_is_missed(self, blobs: Blobs, box: str) -> None:
        for container in (box, f"{box}-there"):
            blobs.put(f"{box}-there", "other", [b"x"])

            assert code_of(lambda name=container: blobs.open(name, "ab")) == "content.missing"  # type: ignore[misc]
            assert code_of(lambda name=container: blobs.read(name, "ab")) == "content.missing"  # type: ignore[misc]
            with pytest.raises(ContentError, match=f"{container}/ab"):
                blobs.open(container, "ab")
            assert blobs.info(container, "ab") is None
            blobs.delete(container, "ab")

    # Listing and deleting.

    def test_lists_are_in_order_by_prefix_and_complete(self, blobs: Blobs, box: str) -> None:
        names = ["2-b", "1-a", "1-c", "1-B", "10", "1.x", *(f"3-{number:02}" for number in range(9))]
        infos = {name: blobs.put(box, name, [name.encode()]) for name in names}

        assert list(blobs.list(box)) == [infos[name] for name in sorted(names)]
        assert [info.name for info in blobs.list(box, "1-")] == ["1-B", "1-a", "1-c"]
        assert list(blobs.list(f"{box}-none")) == []
        assert list(blobs.list(box, "zz")) == []

    def test_what_is_listed_may_be_deleted_meanwhile(self, blobs: Blobs, box: str) -> None:
        for number in range(8):
            blobs.put(box, f"{number}", [b"x"])

        for info in blobs.list(box):
            blobs.delete(box, info.name)
            blobs.delete(box, info.name)

        assert list(blobs.list(box)) == []

    def test_a_container_goes_with_everything_in_it(self, blobs: Blobs, box: str) -> None:
        blobs.put(box, "1-a", [b"x"])
        blobs.put(f"{box}-2", "1-a", [b"y"])

        blobs.delete_container(box)
        blobs.delete_container(box)

        assert list(blobs.list(box)) == []
        assert blobs.info(box, "1-a") is None
        assert [info.name for info in blobs.list(f"{box}-2")] == ["1-a"]
        try:
            assert blobs.put(box, "1-b", [b"new"]).size == 3
        except DependencyError:
            return  # the name is not given again yet
        assert [info.name for info in blobs.list(box)] == ["1-b"]

    # Names.

    @pytest.mark.parametrize("name", ["../secret", "a/b", "", ".hidden", "a\0b", "x" * 256, "-", "a\n", "a?b", "a b"])
    def test_names_that_some_storage_would_not_take_are_refused(self, blobs: Blobs, box: str, name: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: blobs.put(box, name, [b"x"]),
            lambda: blobs.put_if_absent(box, name, [b"x"]),
            lambda: blobs.compose_if_absent(box, name, [b"x"]),
            lambda: blobs.read(box, name),
            lambda: blobs.read_at(box, name, 0, 1),
            lambda: blobs.open(box, name),
            lambda: blobs.info(box, name),
            lambda: blobs.delete(box, name),
        ]
        for call in calls:
            with pytest.raises(RequestError) as raised:
                call()
            assert raised.value.code == "request.blob_name"

    @pytest.mark.parametrize(
        "container", ["..", "UPPER", "a", "x/y", "-ab", "ab-", "", "a" * 64, "a--b", "$logs", "abc\n"]
    )
    def test_containers_that_no_storage_would_take_are_refused(self, blobs: Blobs, container: str) -> None:
        for call in (
            lambda: blobs.info(container, "blob"),
            lambda: list(blobs.list(container)),
            lambda: blobs.delete_container(container),
            lambda: blobs.container_url(container),
        ):
            assert code_of(call) == "request.blob_name"

    # Memory.

    def test_what_is_put_is_not_gathered(self, blobs: Blobs, box: str) -> None:
        """The chunks are asked for as they go: a layer of gigabytes passes through."""
        held: list[int] = []

        class Chunk(bytes):
            def __del__(self) -> None:
                held.remove(id(self))

        def chunks() -> Iterator[bytes]:
            for seed in range(12):
                chunk = Chunk(noise(self.BLOCK, seed))
                held.append(id(chunk))
                most.append(len(held))
                yield chunk
                del chunk

        most: list[int] = []
        blobs.put(box, "ab", chunks())

        assert max(most) <= self.HELD
        assert io.BytesIO(blobs.read(box, "ab")).read(5) == noise(self.BLOCK, 0)[:5]

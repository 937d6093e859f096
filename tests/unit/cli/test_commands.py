"""The commands on small archives: what they print, what they write, how they end."""

import io
import json
import random
import zlib
from dataclasses import replace

import pytest

from imagedelta.archives import open_archive
from imagedelta.bundles import FileSealer, compose, read_bundle
from imagedelta.errors import DependencyError
from imagedelta_cli import exits
from imagedelta_cli.main import run
from tests.images import an_image, docker_save, gzipped, oci_archive, oci_files

LIB = random.Random(1).randbytes(80_000)
OLD = an_image({"base": b"same\n" * 900}, {"lib.so": LIB, "a.txt": b"one\n" * 50}, references=("app:1",))
NEW = an_image(
    {"base": b"same\n" * 900}, {"lib.so": LIB[:-7] + b"changed", "a.txt": b"two\n" * 50}, references=("app:2",)
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with archives of both images and a key pair."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.tar").write_bytes(docker_save(OLD))
    (tmp_path / "new.tar").write_bytes(oci_archive(NEW, pack=gzipped))
    run(["keys", "new", "seal.pem"])
    return tmp_path


@pytest.fixture
def last_line(capsys):
    """Run a command that succeeds and return its JSON."""

    def call(*arguments: str) -> dict:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == exits.DONE, capsys.readouterr().err
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


@pytest.fixture
def refused(capsys):
    """Run a command that fails and return (exit code, what stderr says)."""

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(list(arguments))
        return code, capsys.readouterr().err

    return call


def test_diff_and_apply_give_the_image_back(folder, last_line):
    made = last_line("diff", "new.tar", "--source", "old.tar", "-o", "b.imgbundle", "--key", "seal.pem")
    applied = last_line("apply", "b.imgbundle", "--source", "old.tar", "-o", "out.tar", "--trust", "seal.pem.pub")

    assert made["targetImageId"] == applied["imageId"] == NEW.image_id
    assert (made["sources"], applied["verified"]) == ([OLD.image_id], True)
    assert made["sealedBy"] == applied["sealedBy"] == FileSealer(folder / "seal.pem").key_id
    assert made["bundleBytes"] == (folder / "b.imgbundle").stat().st_size
    assert made["bundleBytes"] - made["patchBytes"] <= 700
    assert min(made[key] for key in ("fullBytes", "peakRssBytes", "seconds", "bytesRead")) > 0
    with open_archive(folder / "out.tar") as archive:
        assert [(image.image_id, image.references) for image in archive.images] == [(NEW.image_id, ("app:2",))]
        assert archive.open_layer(archive.images[0], 1).read() == NEW.layers[1]


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_apply_writes_either_form_under_the_name_asked_for(folder, last_line, form):
    last_line("diff", "new.tar", "-o", "full.imgbundle")

    applied = last_line("apply", "full.imgbundle", "-o", "out.tar", "--form", form, "--reference", "local/app:9")

    assert (applied["references"], applied["sealedBy"]) == (["local/app:9"], None)
    with open_archive(folder / "out.tar") as archive:
        assert archive.images[0].image_id == NEW.image_id


def test_the_same_diff_gives_the_same_bundle(folder, last_line):
    for name in ("x", "y"):
        last_line("diff", "new.tar", "--source", "old.tar", "-o", name, "--key", "seal.pem")

    assert (folder / "x").read_bytes() == (folder / "y").read_bytes()


def test_an_image_may_be_a_layout_folder_or_one_of_several_in_an_archive(folder, last_line):
    for name, content in oci_files(NEW).items():
        path = folder / "layout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "both.tar").write_bytes(docker_save(OLD, NEW))

    made = last_line("diff", "layout", "--source", "both.tar#app:1", "-o", "b")

    assert (made["targetImageId"], made["sources"]) == (NEW.image_id, [OLD.image_id])


def test_inspect_tells_what_each_kind_of_file_holds(folder, last_line):
    last_line("diff", "new.tar", "--source", "old.tar", "-o", "b", "--key", "seal.pem")
    last_line("sign", "new.tar", "-o", "sig")
    (folder / "patch").write_bytes(read_bundle(io.BytesIO((folder / "b").read_bytes()), None).patch.read())

    kinds = {name: last_line("inspect", name) for name in ("b", "patch", "new.tar", "sig")}

    assert [kinds[name]["kind"] for name in kinds] == ["bundle", "patch", "image", "signature"]
    assert {kinds["b"]["targetImageId"], kinds["patch"]["targetImageId"], kinds["sig"]["imageId"]} == {NEW.image_id}
    assert sum(stream["codedBytes"] for stream in kinds["b"]["streams"]) < kinds["b"]["patchBytes"]


def test_inspect_prints_for_people_too(folder, capsys):
    run(["diff", "new.tar", "--source", "old.tar", "-o", "b"])

    assert run(["inspect", "b"]) == exits.DONE
    assert "lzma2" in capsys.readouterr().out


def test_rank_takes_signatures_and_images_and_puts_the_best_first(folder, last_line):
    last_line("sign", "old.tar", "-o", "old.sig")
    (folder / "other.tar").write_bytes(docker_save(an_image({"z": random.Random(9).randbytes(9000)})))

    ranked = last_line("rank", "new.tar", "other.tar", "old.sig")["ranked"]

    assert [row["source"] for row in ranked] == ["old.sig", "other.tar"]
    assert ranked[0]["estimatedBytes"] < ranked[1]["estimatedBytes"]


def test_rank_estimates_for_the_form_of_patches_that_is_asked_for(folder, last_line):
    for name, seed in (("first", 1), ("rebuilt", 2)):
        program = random.Random(seed).randbytes(400_000)
        (folder / f"{name}.tar").write_bytes(docker_save(an_image({"usr/lib/libx.so": program})))

    first, second = (
        last_line("rank", "rebuilt.tar", "first.tar", "--profile", profile)["ranked"][0]["estimatedBytes"]
        for profile in ("v1-64m", "v2-64m")
    )

    assert second < first / 2


def test_verify_accepts_a_good_bundle_and_a_good_image(folder, last_line):
    last_line("diff", "new.tar", "--source", "old.tar", "-o", "b", "--key", "seal.pem")

    assert last_line("verify", "b", "--trust", "seal.pem.pub")["sealChecked"]
    assert last_line("verify", "old.tar")["imageId"] == OLD.image_id


def test_a_damaged_bundle_is_refused_in_one_sentence_with_code_and_remedy(folder, refused):
    run(["diff", "new.tar", "-o", "b"])
    data = bytearray((folder / "b").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "b").write_bytes(data)

    code, message = refused("verify", "b")

    assert code == exits.REFUSED
    assert [line.split(":")[0].strip() for line in message.splitlines()] == ["Error", "code", "what to do"]
    assert "content.digest_mismatch" in message


def test_a_damaged_image_is_refused(folder, refused):
    (folder / "bad.tar").write_bytes(docker_save(OLD).replace(LIB[:50], bytes(50)))

    code, message = refused("verify", "bad.tar")

    assert (code, "content.digest_mismatch" in message) == (exits.REFUSED, True)


def test_an_unsealed_bundle_is_refused_where_a_seal_is_asked_for(folder, refused):
    run(["diff", "new.tar", "-o", "b"])

    code, message = refused("apply", "b", "-o", "out.tar", "--trust", "seal.pem.pub")

    assert (code, "seal.missing" in message, (folder / "out.tar").exists()) == (exits.REFUSED, True, False)


@pytest.mark.parametrize("command", [("apply", "b", "-o", "out.tar"), ("verify", "b")], ids=["apply", "verify"])
def test_a_sealed_bundle_whose_patch_makes_another_image_is_refused(folder, refused, command):
    run(["diff", "new.tar", "-o", "full"])
    with (folder / "full").open("rb") as stream:
        opened = read_bundle(stream, None)
        patch = opened.patch.read()
    head = replace(opened.head, target_image_id=OLD.image_id)
    before, after = compose(head, FileSealer(folder / "seal.pem"), zlib.crc32(patch), len(patch))
    (folder / "b").write_bytes(before + patch + after)

    code, message = refused(*command, "--trust", "seal.pem.pub")

    assert (code, "wrong patch" in message, (folder / "out.tar").exists()) == (exits.REFUSED, True, False)


def test_applying_without_the_source_is_refused_and_leaves_nothing(folder, refused):
    run(["diff", "new.tar", "--source", "old.tar", "-o", "b"])
    before = sorted(path.name for path in folder.iterdir())

    code, message = refused("apply", "b", "-o", "out.tar")

    assert (code, "source.missing" in message) == (exits.REFUSED, True)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("command", ["sign", "inspect", "verify", "rank", "diff"])
@pytest.mark.parametrize("argument", ["docker://app:1", "registry://127.0.0.1:1/app"])
def test_an_image_of_a_daemon_or_registry_that_is_away_ends_with_3(folder, refused, monkeypatch, argument, command):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/no.sock")
    monkeypatch.setattr("imagedelta_registry.client.time.sleep", lambda seconds: None)
    more = {"sign": ["-o", "out"], "diff": ["-o", "out"], "rank": ["old.tar"]}.get(command, [])

    code, message = refused(command, argument, *more)

    assert (code, message.count("code: dependency.")) == (exits.UNAVAILABLE, 1)
    assert not (folder / "out").exists()


def test_an_archive_with_several_images_asks_which(folder, refused):
    (folder / "both.tar").write_bytes(docker_save(OLD, NEW))

    code, message = refused("diff", "both.tar", "-o", "b")
    other_code, other = refused("diff", "both.tar#app:3", "-o", "b")

    assert code == exits.REFUSED
    assert f"app:1 ({OLD.image_id[7:19]}, linux/amd64); app:2 ({NEW.image_id[7:19]}, linux/amd64)" in message
    assert (other_code, "holds no such image" in other) == (exits.REFUSED, True)


@pytest.mark.parametrize("arguments", [["diff"], ["diff", "new.tar"], ["nonsense"], ["apply", "missing", "-o", "x"]])
def test_wrong_use_ends_with_2(folder, refused, arguments):
    assert refused(*arguments)[0] == exits.USAGE


def test_an_output_that_cannot_be_written_is_told_plainly(folder, refused):
    code, message = refused("diff", "new.tar", "-o", "no/such/folder/b")

    assert (code, "no/such/folder" in message) == (exits.REFUSED, True)


def test_ctrl_c_leaves_no_file_behind(folder, refused, monkeypatch):
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    scratch = folder / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("imagedelta_cli.commands.diff.build_verified_patch", interrupted)

    code, message = refused("diff", "new.tar", "-o", "b", "--scratch", "scratch")

    assert (code, "Interrupted" in message) == (exits.INTERRUPTED, True)
    assert ((folder / "b").exists(), list(scratch.iterdir())) == (False, [])


def test_a_service_that_does_not_answer_ends_with_3(folder, refused, monkeypatch):
    def unavailable(*arguments: object, **options: object) -> None:
        raise DependencyError("the registry does not answer")

    monkeypatch.setattr("imagedelta_cli.commands.diff.build_verified_patch", unavailable)

    assert refused("diff", "new.tar", "-o", "b")[0] == exits.UNAVAILABLE


def test_keys_are_listed_by_id(folder, last_line):
    sealer = FileSealer(folder / "seal.pem")

    assert last_line("keys", "show", "seal.pem.pub") == {sealer.key_id: sealer.public_key.to_text()}


@pytest.mark.parametrize("command", ["inspect", "verify", "apply"])
def test_what_is_known_of_the_seal_is_said(folder, capsys, command):
    made = ["diff", "new.tar", "--source", "old.tar", "-o"]
    run([*made, "sealed", "--key", "seal.pem"])
    run([*made, "plain"])
    key = FileSealer(folder / "seal.pem").key_id
    asked = [command] if command != "apply" else [command, "--source", "old.tar", "--force", "-o", "out.tar"]

    def said(*arguments: str) -> tuple[tuple[str | None, bool], str]:
        capsys.readouterr()
        assert run([*asked, *arguments, "--json"]) == exits.DONE
        out, err = capsys.readouterr()
        found = json.loads(out.splitlines()[-1])
        return (found["sealedBy"], found["sealChecked"]), err

    assert said("plain")[0] == (None, False)
    assert "not sealed" in said("plain")[1]
    assert said("sealed")[0] == (key, False)
    assert f"Sealed by key {key}, it says; not checked" in said("sealed")[1]
    assert said("sealed", "--trust", "seal.pem.pub")[0] == (key, True)
    assert f"Sealed by key {key}, checked against seal.pem.pub." in said("sealed", "--trust", "seal.pem.pub")[1]


@pytest.mark.parametrize("reference", ["App:2", "app 2", "app@sha256:" + "a" * 64])
def test_a_reference_that_is_none_is_refused_before_anything_is_read(folder, refused, monkeypatch, reference):
    monkeypatch.setattr("imagedelta_cli.images.open_image", unwanted)

    for arguments in (["diff", "new.tar"], ["apply", "new.tar"]):
        code, message = refused(*arguments, "-o", "b", "--reference", reference)
        assert (code, "code: request.image_name" in message) == (exits.REFUSED, True)


def unwanted(*_: object) -> None:
    raise AssertionError("the image was read")


def test_an_archives_own_name_that_is_none_asks_for_a_reference_before_the_build(folder, refused, last_line):
    (folder / "tagged.tar").write_bytes(oci_archive(an_image({"a": b"1"}, references=("latest",))))

    code, message = refused("diff", "tagged.tar", "-o", "b")

    assert (code, "'latest'" in message, "--reference" in message) == (exits.REFUSED, True, True)
    assert last_line("diff", "tagged.tar", "-o", "b", "--reference", "docker.io/library/app:1")["reference"] == "app:1"


def test_all_names_of_the_target_are_told_and_the_one_it_gets(folder, last_line):
    (folder / "named.tar").write_bytes(docker_save(an_image({"a": b"1"}, references=("b:1", "a:1"))))

    made = last_line("diff", "named.tar", "-o", "b")

    assert (made["reference"], made["references"]) == ("a:1", ["a:1", "b:1"])


@pytest.mark.parametrize(("said", "platform"), [("", "linux/arm/v7"), ("linux/amd64", "linux/arm/v7")])
def test_a_platform_can_be_said_where_the_config_is_wrong_or_silent(folder, last_line, said, platform):
    (folder / "odd.tar").write_bytes(docker_save(an_image({"a": b"1"}, references=("a:1",), platform=said)))

    made = last_line("diff", "odd.tar", "-o", "b", "--platform", "linux/arm")
    applied = last_line("apply", "b", "-o", "out.tar", "--form", "oci")

    assert (made["platform"], applied["references"]) == (platform, ["a:1"])
    assert last_line("inspect", "out.tar")["platform"] == (said or platform)


def test_an_image_that_does_not_say_what_it_is_for_asks_for_the_platform(folder, refused):
    (folder / "odd.tar").write_bytes(docker_save(an_image({"a": b"1"}, references=("a:1",), platform="")))

    code, message = refused("diff", "odd.tar", "-o", "b")

    assert (code, "code: request.no_platform" in message) == (exits.REFUSED, True)


@pytest.mark.parametrize("which", ["app:2", "docker.io/library/app:2", "ID", "DIGITS"])
def test_one_of_several_images_is_chosen_by_any_form_of_its_name_or_id(folder, last_line, which):
    (folder / "both.tar").write_bytes(docker_save(OLD, NEW))
    which = {"ID": NEW.image_id, "DIGITS": NEW.image_id[7:19]}.get(which, which)

    assert last_line("inspect", f"both.tar#{which}")["imageId"] == NEW.image_id


def test_a_limit_that_an_error_names_can_be_raised(folder, refused, last_line):
    images = [an_image({"a": str(n).encode()}) for n in range(1001)]
    (folder / "many.tar").write_bytes(docker_save(*images))
    asked = ["inspect", f"many.tar#{images[0].image_id}"]

    code, message = refused(*asked)

    assert (code, "the limit archive-images is 1000" in message, "--limit" in message) == (exits.REFUSED, True, True)
    assert last_line(*asked, "--limit", "archive-images=2k")["imageId"] == images[0].image_id


def test_unpacking_stops_before_the_disk_is_full(folder, refused, monkeypatch):
    monkeypatch.setattr("imagedelta.archives.disk_guard.RESERVE_BYTES", 1 << 62)

    code, message = refused("diff", "new.tar", "--source", "old.tar", "-o", "b")

    assert (code, "code: request.scratch_full" in message) == (exits.REFUSED, True)

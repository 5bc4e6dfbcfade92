import errno
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from whence import artefacts
from whence.artefacts import create, existing, read_manifest, verify
from whence.errors import ArtefactError, LockedError, MismatchError

REQUEST = {"inputs": {"data": "d" * 64}, "made": {"steps": 3, "betas": (0.9, 0.99)}}


def make(path: Path, text: str = "hello", **changed: object) -> artefacts.Manifest:
    with create(path, "model", **(REQUEST | changed)) as part:
        artefacts.write_bytes(part / "sub" / "a.txt", text.encode())
    return read_manifest(path, "model")


def begin(path: Path, kind: str = "model", error: type[BaseException] = RuntimeError, **request: object) -> None:
    """Begin an artefact with the file `first`, and fail."""
    with create(path, kind, **request) as part:
        artefacts.write_bytes(part / "first", b"1")
        raise error


def test_a_whole_artefact_reads_back(tmp_path):
    found = make(tmp_path / "a", facts={"count": 1})
    assert found.kind == "model"
    assert found.inputs == REQUEST["inputs"]
    assert found.made == {"steps": 3, "betas": [0.9, 0.99]}
    assert found.files == {"sub/a.txt": artefacts.digest(b"hello")}
    assert found.facts == {"count": 1}
    assert set(found.environment) >= {"python", "torch", "whence"}
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["manifest.json", "sub"]
    verify(tmp_path / "a", found)


def test_existing_is_none_before_and_the_manifest_after(tmp_path):
    assert existing(tmp_path / "a", "model", **REQUEST) is None
    made = make(tmp_path / "a")
    assert existing(tmp_path / "a", "model", **REQUEST) == made


def test_facts_and_environment_are_not_in_the_fingerprint(tmp_path):
    a, b = make(tmp_path / "a", facts={"took": 1}), make(tmp_path / "b", facts={"took": 2})
    assert a.fingerprint == b.fingerprint
    assert a.fingerprint != make(tmp_path / "c", text="other").fingerprint
    assert a.fingerprint != make(tmp_path / "d", made={"steps": 4}).fingerprint


def test_facts_can_be_filled_inside_the_block(tmp_path):
    facts: dict[str, int] = {}
    with create(tmp_path / "a", "model", facts=facts, **REQUEST):
        facts["found"] = 7
    assert read_manifest(tmp_path / "a", "model").facts == {"found": 7}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_inside_leaves_no_artefact_and_the_part_continues(tmp_path, error):
    path = tmp_path / "a"
    with pytest.raises(error):
        begin(path, error=error, **REQUEST)
    assert not path.exists()
    with pytest.raises(ArtefactError, match=r"a is unfinished. Run the command .* again: it continues"):
        read_manifest(path, "model")
    with create(path, "model", **REQUEST) as part:
        assert (part / "first").read_bytes() == b"1"
        artefacts.write_bytes(part / "second", b"2")
    assert set(read_manifest(path, "model").files) == {"first", "second"}
    assert not Path(f"{path}.part").exists()


SLEEPER = """
import sys, time
from pathlib import Path
from whence import artefacts
with artefacts.create(Path(sys.argv[1]), "model", inputs={"data": "d" * 64}, made={"steps": 3}) as part:
    artefacts.write_bytes(part / "first", b"1")
    print("inside", flush=True)
    time.sleep(600)
"""


def test_lock_against_another_process_is_freed_by_its_death(tmp_path, start):
    path, script = tmp_path / "a", tmp_path / "script.py"
    script.write_text(SLEEPER)
    request = {"inputs": {"data": "d" * 64}, "made": {"steps": 3}}
    process = start(script, path)
    assert process.stdout.readline() == "inside\n"
    with (
        pytest.raises(LockedError, match=r"a is being written by another process"),
        create(path, "model", **request),
    ):
        pytest.fail("two writers at once")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    with create(path, "model", patience=5, **request) as part:
        assert (part / "first").read_bytes() == b"1"
    assert read_manifest(path, "model").files == {"first": artefacts.digest(b"1")}


WRITER = """
import sys, time
from pathlib import Path
from whence import artefacts
with artefacts.replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("inside", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path, start):
    path, script, other = tmp_path / "out" / "a.csv", tmp_path / "script.py", tmp_path / "out" / ".a.csv.mine.tmp"
    script.write_text(WRITER)
    process = start(script, path)
    assert process.stdout.readline() == "inside\n"
    other.write_bytes(b"the user's")
    artefacts.write_bytes(path, b"whole")
    assert list(path.parent.glob(f".a.csv.*.{process.pid}.tmp")), "a living writer keeps its file"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    artefacts.write_bytes(path, b"whole")
    assert sorted(file.name for file in path.parent.iterdir()) == [other.name, "a.csv"]
    assert path.read_bytes() == b"whole"


def test_lock_within_one_process(tmp_path):
    with (
        artefacts.lock(tmp_path / "a"),
        pytest.raises(LockedError, match="being written"),
        artefacts.lock(tmp_path / "a"),
    ):
        pytest.fail("two writers at once")
    with artefacts.lock(tmp_path / "a"):
        pass


@pytest.mark.parametrize("finished", [True, False])
def test_mismatch_names_both_fingerprints_and_what_differs(tmp_path, finished):
    path = tmp_path / "a"
    if finished:
        make(path)
    else:
        with pytest.raises(RuntimeError):
            begin(path, **REQUEST)
    wanted = {"inputs": {"data": "e" * 64}, "made": {"steps": 3, "betas": (0.9, 0.95)}}
    with pytest.raises(MismatchError) as caught:
        existing(path, "model", **wanted) if finished else begin(path, **wanted)
    message = str(caught.value)
    for values in (REQUEST, wanted):
        assert artefacts.digest({"kind": "model", **values})[:12] in message
    assert f"inputs.data: there {'d' * 57}..., now {'e' * 57}..." in message
    assert "made.betas: there [0.9, 0.99], now [0.9, 0.95]" in message
    assert "steps" not in message


def test_a_part_without_its_request_is_begun_anew(tmp_path):
    part = Path(f"{tmp_path / 'a'}.part")
    part.mkdir()
    (part / "stale").write_text("of unknown origin")
    assert set(make(tmp_path / "a").files) == {"sub/a.txt"}


def test_an_existing_artefact_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a"
    old = make(path, text="old")
    other = {"inputs": {}, "made": {"version": 2}}
    with pytest.raises(RuntimeError):
        begin(path, **other)
    assert read_manifest(path, "model") == old
    verify(path, old)
    with create(path, "model", **other):
        assert (path / "sub" / "a.txt").read_bytes() == b"old"
    assert set(read_manifest(path, "model").files) == {"first"}
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.is_dir()) == ["a"]


def test_nested_artefacts_are_not_hashed_by_the_outer(tmp_path):
    path = tmp_path / "outer"
    with create(path, "ensemble", inputs={}, made={}) as part:
        artefacts.write_bytes(part / "own", b"1")
        make(part / "members" / "00")
    found = read_manifest(path, "ensemble")
    assert set(found.files) == {"own"}
    make(path / "samples" / "0")
    verify(path, read_manifest(path, "ensemble"))
    assert read_manifest(path / "members" / "00", "model").files


def test_reseal_takes_the_parts_as_they_are_and_nothing_that_came_later(tmp_path):
    """Unfinished work inside (a scratch folder, a .part) must not become a file of the outer artefact."""
    path = tmp_path / "outer"
    with create(path, "ensemble", inputs={}, made={}) as part:
        artefacts.write_bytes(part / "own", b"1")
        with create(part / "inner", "model", inputs={}, made={"try": 1}):
            pass
    before = read_manifest(path, "ensemble")
    artefacts.write_bytes(path / "samples" / "0.part" / "half", b"unfinished")
    artefacts.discard(path / "inner")
    with create(path / "inner", "model", inputs={}, made={"try": 2}):
        pass
    with pytest.raises(ArtefactError, match="another model than"):
        artefacts.require_part(path, before, "inner", "model")
    artefacts.reseal(path, before, ["inner"])
    after = read_manifest(path, "ensemble")
    assert after.files == before.files
    assert list(after.parts) == ["inner"]
    assert after.parts != before.parts
    assert after.fingerprint != before.fingerprint
    artefacts.require_part(path, after, "inner", "model")


def test_what_an_interrupted_run_needs_is_no_part_of_the_artefact(tmp_path):
    with create(tmp_path / "a", "model", inputs={}, made={}) as part:
        artefacts.write_bytes(part / artefacts.RESUME / "state", b"half")
        artefacts.write_bytes(part / "result", b"whole")
    assert list(read_manifest(tmp_path / "a", "model").files) == ["result"]
    assert not (tmp_path / "a" / artefacts.RESUME).exists()


def test_only_whole_artefacts_are_found(tmp_path):
    for name in ("b", "a"):
        with create(tmp_path / name / "x", "model", inputs={}, made={}):
            pass
    for suffix in (".part", ".old"):
        shutil.copytree(tmp_path / "a" / "x", tmp_path / "a" / f"y{suffix}")
    assert artefacts.whole(tmp_path, "*/*") == [tmp_path / "a" / "x", tmp_path / "b" / "x"]


def edit(**changes: object):
    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


DAMAGE = {
    "missing": (lambda file: file.unlink(), "is not a Whence model: .*manifest.json does not exist"),
    "empty": (lambda file: file.write_text(""), "manifest.json is damaged"),
    "truncated": (lambda file: file.write_text(file.read_text()[:-20]), "manifest.json is damaged"),
    "binary": (lambda file: file.write_bytes(b"\xff\xfe\x00"), "manifest.json is damaged"),
    "not ours": (lambda file: file.write_text("{}"), "is not a Whence manifest"),
    "a list": (lambda file: file.write_text("[]"), "is not a Whence manifest"),
    "newer": (edit(version=99), r"format version 99; this Whence reads up to 1. Install a newer Whence"),
    "other kind": (edit(kind="scores"), "a is scores, not a model"),
    "edited setting": (edit(made={"steps": 4}), "damaged or was edited: it states the fingerprint"),
    "edited hash": (edit(files={"sub/a.txt": "0" * 64}), "damaged or was edited"),
    "edited fingerprint": (edit(fingerprint="0" * 64), "states the fingerprint 0000"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_bad_manifest_is_refused(tmp_path, name):
    damage, message = DAMAGE[name]
    make(tmp_path / "a")
    damage(tmp_path / "a" / "manifest.json")
    with pytest.raises(ArtefactError, match=message):
        read_manifest(tmp_path / "a", "model")


def test_a_manifest_that_lacks_a_field_is_refused(tmp_path):
    make(tmp_path / "a")
    file = tmp_path / "a" / "manifest.json"
    raw = json.loads(file.read_text())
    del raw["made"]
    file.write_text(json.dumps(raw))
    with pytest.raises(ArtefactError, match=r"manifest.json is damaged: it lacks 'made'"):
        read_manifest(tmp_path / "a", "model")


def test_verify_finds_what_changed(tmp_path, flip_byte):
    found = make(tmp_path / "a")
    file = tmp_path / "a" / "sub" / "a.txt"
    flip_byte(file)
    with pytest.raises(ArtefactError) as caught:
        verify(tmp_path / "a", found)
    assert f"{file} is damaged" in str(caught.value)
    assert artefacts.digest(b"hello") in str(caught.value)
    file.unlink()
    with pytest.raises(ArtefactError, match=r"a.txt is missing"):
        verify(tmp_path / "a", found)


TORN = """
import os, signal, sys
from pathlib import Path
from whence import artefacts
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
artefacts.write_bytes(Path(sys.argv[1]), b"new" * 10_000)
"""


def test_write_bytes_is_whole_or_not_at_all(tmp_path, start):
    file, script = tmp_path / "value", tmp_path / "script.py"
    artefacts.write_bytes(file, b"old")
    script.write_text(TORN)
    assert start(script, file).wait() == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    artefacts.write_bytes(file, b"new")
    assert file.read_bytes() == b"new"


def test_what_a_killed_write_left_behind_is_not_part_of_the_artefact(tmp_path, start):
    path, script = tmp_path / "a", tmp_path / "script.py"
    script.write_text(TORN)
    with pytest.raises(RuntimeError):
        begin(path, **REQUEST)
    assert start(script, Path(f"{path}.part") / "second").wait() == -signal.SIGKILL
    assert set(make(path).files) == {"first", "sub/a.txt"}


def test_discard_keeps_the_unfinished_form_from_which_work_continues(tmp_path):
    make(tmp_path / "a")
    with pytest.raises(RuntimeError):
        begin(tmp_path / "a", inputs={}, made={})
    artefacts.discard(tmp_path / "a")
    artefacts.discard(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.part").exists()


@pytest.mark.parametrize(
    ("read", "name", "good"),
    [
        (artefacts.read_json, "x.json", b'{"a": 1}\n'),
        (artefacts.read_tensors, "x.safetensors", None),
        (artefacts.read_table, "x.parquet", None),
    ],
)
def test_missing_and_truncated_files(tmp_path, read, name, good):
    file = tmp_path / name
    with pytest.raises(ArtefactError, match=f"{name} does not exist"):
        read(file)
    if name.endswith("safetensors"):
        artefacts.write_tensors(file, {"a": torch.arange(100.0)})
    elif name.endswith("parquet"):
        artefacts.write_table(file, {"a": list(range(100))})
    else:
        file.write_bytes(good)
    read(file)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ArtefactError, match=f"{name} is damaged"):
        read(file)
    file.write_bytes(b"")
    with pytest.raises(ArtefactError, match=f"{name} is damaged"):
        read(file)


def test_tensors_and_tables_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(True)}
    artefacts.write_tensors(tmp_path / "x.safetensors", tensors)
    found = artefacts.read_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    columns = {"id": ["a", "é/b"], "units": [["u"], ["u", "v"]], "n": [1, 2]}
    artefacts.write_table(tmp_path / "x.parquet", columns)
    assert artefacts.read_table(tmp_path / "x.parquet") == columns


def test_digest_is_of_the_canonical_json():
    assert artefacts.digest({"b": (1, 2), "a": "é"}) == artefacts.digest({"a": "é", "b": [1, 2]})
    assert artefacts.digest({"a": 1}) != artefacts.digest({"a": "1"})
    nested = {"é": [1, {"b": None, "a": 0.1}], "d": {"y": True, "x": "\n"}, "c": {}, "e": {"k": {"2": [], "1": [[]]}}}
    text = json.dumps(nested, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert artefacts.digest(nested) == artefacts.digest(text.encode())
    assert artefacts.digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    """The command line tells OSErrors in one line; nothing is left behind."""

    def full(_tensors, _path):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        artefacts.write_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device: '.*a.json'"):
        artefacts.write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_waited_takes_what_the_other_made(tmp_path):
    """It must not put a second one in its place, with which all that was added to the first would go."""
    path, built = tmp_path / "bank", []

    def build(part: Path) -> None:
        built.append(part)
        time.sleep(0.5)
        artefacts.write_json(part / "a.json", 1)

    def make(_number: int) -> str:
        return artefacts.ensure(path, "bank", inputs={}, made={}, build=build, patience=30).fingerprint

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(make, range(2)))) == 1
    assert len(built) == 1

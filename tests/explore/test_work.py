"""What visitors ask an ensemble for: drawing without units, exact losses, new pictures, and pictures of their own."""

import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

import whence
from whence import artefacts
from whence.cli.app import main
from whence.ensemble import Ensemble, ablate
from whence.ensemble.losses import Losses
from whence.errors import ConfigError
from whence.explore.job import Jobs
from whence.explore.request_error import RequestError
from whence.explore.upload import read_pixels


@pytest.fixture
def own(measured, tmp_path):
    """A copy of `measured` that a test may change."""
    return shutil.copytree(measured, tmp_path / "ens")


def test_a_click_draws_what_the_command_draws(visitor, own, measured, tmp_path, contents):
    place = visitor(own).work("/without", {"picture": "0/0", "unit": ["u4", "u1"]})
    assert place == "/without?picture=0%2F0&unit=u1&unit=u4"
    other = Ensemble.open(shutil.copytree(measured, tmp_path / "other"))
    [ablation] = ablate(other, "0/0", ["u1", "u4"])
    assert contents(own / "ablations/0-0/u1+u4") == contents(ablation.path)
    page = visitor(own).json(place)
    assert [row["distance"] for row in page["rows"]][0] == ablation.distance


def test_what_was_drawn_is_not_drawn_again(visitor, own):
    someone = visitor(own)
    answer = someone.post("/without", {"picture": "0/1", "unit": "u3"})
    assert answer.headers["location"] == "/without?picture=0%2F1&unit=u3"
    assert not someone.explorer.jobs.by_id


def test_adapters_are_drawn_with_the_base_alone(visitor, styled, tmp_path):
    someone = visitor(shutil.copytree(styled, tmp_path / "ens"))
    unit = someone.explorer.collection.training.units[0][0]
    page = someone.get(someone.work("/without", {"picture": "0/1", "unit": unit})).text
    assert "The base alone" in page
    assert f"Without unit {unit}" in page


def test_exact_losses_are_measured_on_demand(visitor, own):
    someone = visitor(own)
    place = someone.work("/losses", {"name": "0/3"})
    assert place == "/picture?name=0%2F3&by=losses"
    ensemble = Ensemble.open(own)
    samples = whence.sample(ensemble, count=4)
    expected = whence.losses(ensemble, samples.pictures[3:], ["0/3"], draws=100).influence_on("0/3")
    rows = someone.json(place)["rows"]
    assert {row["unit"]: row["effect"] for row in rows} == dict(
        zip(expected.units, expected.effects.tolist(), strict=True)
    )


def test_losses_are_of_the_members_as_they_drew_the_picture(visitor, tiny_adapters, tmp_path, monkeypatch):
    monkeypatch.setattr("whence.explore.work.DRAWS", 2)
    someone = visitor(shutil.copytree(tiny_adapters.path, tmp_path / "ens"))
    for name, combine in (("0/0", "predictions"), ("1/0", "weights")):
        assert len(someone.json(someone.work("/losses", {"name": name}))["rows"]) == 4
        ensemble = someone.explorer.collection.ensemble
        measured = [Losses.open(path, ensemble.codebook) for path in artefacts.whole(tmp_path / "ens/losses", "*")]
        assert [losses.combine for losses in measured if losses.queries == (name,)] == [combine]


def test_a_picture_is_drawn_with_a_seed(visitor, own):
    someone = visitor(own)
    assert someone.work("/draw", {"seed": "7"}) == "/picture?name=7%2F0"
    assert someone.get("/picture?name=7/0").status_code == 200
    assert whence.Samples.open(own / "samples/7").names == ["7/0"]


def test_a_picture_is_drawn_from_a_prompt(visitor, styled, tmp_path):
    someone = visitor(shutil.copytree(styled, tmp_path / "ens"))
    place = someone.work("/draw", {"seed": "3", "prompt": "a five in style 4", "guidance": "2"})
    assert "“a five in style 4”" in someone.get(place).text
    again = someone.post("/draw", {"seed": "3", "prompt": "another", "guidance": "2"})
    assert again.status_code == 409
    assert "choose another seed" in again.text


def test_the_guidance_offered_is_that_of_the_pictures(visitor, styled):
    [samples] = [whence.Samples.open(path) for path in artefacts.whole(styled / "samples", "0")]
    offered = f'name="guidance" value="{samples.drawing.prompts.guidance}"'
    assert offered in visitor(styled).get("/").text


def test_a_picture_of_ones_own_has_exact_losses_and_writes_nothing_else(visitor, own, picture_file, contents):
    before = contents(own)
    someone = visitor(own)
    for form, width, height in (("PNG", 60, 40), ("JPEG", 8, 300)):
        answer = someone.post("/upload", files={"file": ("x", picture_file(width, height, form))})
        assert answer.status_code == 303
        assert "Most alike by pixels" in someone.get(answer.headers["location"]).text
    assert contents(own) == before
    name = answer.headers["location"].partition("name=")[2]
    place = someone.work("/losses", {"name": name})
    assert len(someone.json(place)["rows"]) == 10
    assert {path.split("/")[0] for path in set(contents(own)) - set(before)} == {"losses"}
    assert visitor(own).json(place)["rows"] == someone.json(place)["rows"]


def test_captions_of_own_pictures_reach_members_that_take_text(visitor, styled, tmp_path, picture_file):
    someone = visitor(shutil.copytree(styled, tmp_path / "ens"))
    effects = []
    for caption in ("a three in style 2", ""):
        answer = someone.post("/upload", {"caption": caption}, {"file": ("x.png", picture_file())})
        name = answer.headers["location"].partition("name=")[2]
        effects.append([row["effect"] for row in someone.json(someone.work("/losses", {"name": name}))["rows"]])
    assert len(effects[0]) == len(effects[1])
    assert effects[0] != effects[1]


def test_an_own_picture_finds_the_training_image_with_the_same_pixels(visitor, measured):
    from whence import images

    someone = visitor(measured)
    data = Ensemble.open(measured).data
    answer = someone.post("/where", files={"file": ("x.png", images.png(data.pixels[11]))})
    rows = someone.json(answer.headers["location"])["rows"]
    assert (rows[0]["image"], rows[0]["distance"]) == (data.ids[11], 0.0)
    assert "the same pixels" in someone.get(answer.headers["location"]).text


def test_scores_say_which_command_answers_for_an_own_picture(visitor, scored, picture_file):
    someone = visitor(scored)
    page = someone.get(someone.post("/upload", files={"file": ("x.png", picture_file())}).headers["location"]).text
    assert "--queries FOLDER --out OUT" in page
    assert someone.post("/losses", {"name": "a.png"}).status_code == 409


def test_pictures_become_as_large_as_the_training_images(picture_file):
    for size in ((1, 8, 8), (3, 8, 8), (3, 8, 12)):
        for mode in ("RGB", "L"):
            assert read_pixels(picture_file(90, 33, mode=mode), size).shape == size
    with pytest.raises(RequestError) as refused:
        read_pixels(picture_file(form="GIF"), (1, 8, 8))
    assert refused.value.status == 415


def test_jobs_run_one_after_the_other_and_once_for_a_result():
    jobs, gate, running, most = Jobs(), threading.Event(), [], []

    def work(engine):
        running.append(1)
        most.append(len(running))
        gate.wait(10)
        engine.report(1, 2)
        running.pop()

    first = jobs.add("first", "/a", work)
    second = jobs.add("second", "/b", work)
    assert jobs.add("again", "/b", work) is second
    assert jobs.ahead_of(second) == 1
    for k in range(19):
        jobs.add("more", f"/{k}", work)
    with pytest.raises(RequestError, match="wait already"):
        jobs.add("too many", "/z", work)
    gate.set()
    jobs.add("more", "/0", work)
    while not all(job.ended for job in jobs.by_id.values()):
        threading.Event().wait(0.01)
    assert max(most) == 1
    assert (first.done, first.total) == (1, 2)
    jobs.close()


def test_a_job_that_fails_says_why():
    jobs = Jobs()

    def fail(error):
        def work(_engine):
            raise error

        return work

    failed = [jobs.add("a", "/a", fail(ConfigError("It can't be."))), jobs.add("b", "/b", fail(ValueError("inside")))]
    while not all(job.ended for job in failed):
        threading.Event().wait(0.01)
    assert [job.state for job in failed] == ["failed", "failed"]
    assert failed[0].error == "It can't be."
    assert failed[1].error == "The work failed; the terminal of the explorer shows why."
    jobs.close()


def test_a_job_stops_when_the_explorer_closes_and_leaves_no_half_artefact(visitor, own):
    someone = visitor(own)
    answer = someone.post("/losses", {"name": "0/2"})
    someone.explorer.jobs.close()
    job = someone.explorer.jobs.by_id[answer.headers["location"].partition("id=")[2]]
    assert job.state in ("failed", "waiting", "done")
    assert len(artefacts.whole(own / "losses", "*")) == (2 if job.state == "done" else 1)


def _explore(path: Path, output: int) -> None:
    """Run the command in this process, which prints to a pipe."""
    sys.argv, sys.stdout = ["whence", "explore", str(path)], os.fdopen(output, "w")
    sys.stderr = sys.stdout
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def test_the_command_serves_until_it_is_interrupted(measured):
    """In a fork of this process, which has the libraries' imports of seconds behind it."""
    end, output = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_explore, args=(measured, output))
    process.start()
    os.close(output)
    try:
        with os.fdopen(end) as printed:
            address = printed.readline().split()[1]
            assert re.fullmatch(r"http://127\.0\.0\.1:8\d{3}/", address)
            assert b"Choose a picture" in urllib.request.urlopen(address, timeout=60).read()
            os.kill(process.pid, signal.SIGINT)
            process.join(60)
            assert process.exitcode in (0, 130)
            assert "Traceback" not in printed.read()
    finally:
        process.kill()

"""`whence ensemble losses --combine weights`: the plan, the measurement, units together, and what is refused."""

import shutil

import pytest


@pytest.fixture(scope="module")
def run(tiny_adapters, tmp_path_factory):
    return shutil.copytree(tiny_adapters.path, tmp_path_factory.mktemp("weights") / "ens")


def test_the_plan_counts_passes_and_the_command_measures(whence, run):
    given = ("ensemble", "losses", run, "--queries", "1/0", "--draws", 2, "--combine", "weights", "--workers", 1)
    planned = whence(*given, "--plan")
    assert planned.code == 0, planned.err
    assert "2 draws each, 21 sets of members (16 placebos), 42 passes" in " ".join(planned.out.split())
    assert not (run / "losses").exists()
    measured = whence(*given)
    assert measured.code == 0, measured.err
    assert "Nobody can be named: among 4 units" in measured.out
    assert "Scores of all units without standard errors" in measured.out
    together = whence(*given, "--unit", "artist 2")
    assert together.code == 0, together.err
    assert "Scores of artist 2 without" in together.out


def test_networks_are_refused_in_one_sentence(whence, tiny_ensemble):
    refused = whence("ensemble", "losses", tiny_ensemble.path, "--queries", "digits:test", "--combine", "weights")
    assert refused.code
    assert "The members are whole networks, whose weights have no mean. Leave --combine out." in refused.err

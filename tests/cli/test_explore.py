import importlib.util

import pytest


def test_without_its_packages_one_sentence_names_the_command(whence, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "uvicorn" else find(name, *more)
    )
    outcome = whence("explore", tmp_path)
    assert outcome.code == 1
    assert outcome.err == "Error: `whence explore` needs more packages: pip install 'whence[explore]'\n"


@pytest.mark.parametrize("given", ["nowhere", "."])
def test_a_folder_of_something_else_is_refused_before_anything_is_served(whence, tmp_path, given):
    outcome = whence("explore", tmp_path / given)
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert "Traceback" not in outcome.err


def test_an_address_of_another_machine_is_refused(whence, tiny_ensemble):
    outcome = whence("explore", tiny_ensemble.path, "--host", "203.0.113.1")
    assert outcome.code == 1
    assert "can't listen at 203.0.113.1" in outcome.err

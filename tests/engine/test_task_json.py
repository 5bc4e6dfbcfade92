"""Tasks go through JSON and back, and do the same: those of every command that array workers do together."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from whence.attribution.attribute import attribute
from whence.attribution.request import AttributionConfig
from whence.config import Config, ModelConfig, SamplerConfig
from whence.credit.behaviours import behaviour
from whence.credit.coalitions import CoalitionSampling
from whence.credit.contributors import Contributors
from whence.credit.estimators import ESTIMATORS
from whence.credit.study import Study, StudyConfig
from whence.credit.study_credit import credit_of_study
from whence.diffusion.caption_dropout import CaptionDropout
from whence.engine import Engine, Task, cores
from whence.engine.engine import run_task
from whence.engine.task_json import read_task, write_task
from whence.ensemble import Ensemble, train_ensemble
from whence.ensemble.make_landscape import landscape
from whence.errors import ArtefactError, ConfigError
from whence.evaluation.bank import PoolRequest, build_pool
from whence.retraining.retrain import open_once


class ThroughJson:
    """Does tasks in this process as they come out of JSON, and remembers their functions."""

    def __init__(self):
        self.functions = set()

    def run(self, tasks, accelerator, note):
        read = [read_task(json.loads(json.dumps(write_task(task)))) for task in tasks]
        self.functions |= {f"{task.function.__module__}.{task.function.__name__}" for task in read}
        errors = {task.name: run_task(task, accelerator, note) for task in read}
        return {name: error for name, error in errors.items() if error}


@pytest.fixture
def executor():
    return ThroughJson()


def test_attribution(executor, tiny_bank, bank_data, contents, tmp_path):
    methods = ["tangent", "ek-fac"]
    settings = {"method": methods, "config": AttributionConfig(draws=8, curvature_rows=1100)}
    for name, engine in {"alone": Engine(1), "json": Engine(executor=executor)}.items():
        attribute(
            tiny_bank.path / "models" / "0", bank_data, "sample:2", **settings, out=tmp_path / name, engine=engine
        )
    assert contents(tmp_path / "json") == contents(tmp_path / "alone")
    assert {name.rpartition(".")[2] for name in executor.functions} == {"make_shard", "sum_block"}


def test_training_of_an_ensemble(executor, tiny_data, tiny_ensemble, tiny_config, tmp_path):
    engine = Engine(executor=executor)
    made = train_ensemble(tiny_data, tmp_path / "ens", members=6, config=tiny_config, engine=engine)
    assert made.manifest.fingerprint == tiny_ensemble.manifest.fingerprint
    assert executor.functions == {"whence.ensemble.training.train_member"}


@pytest.mark.slow
def test_a_landscape(executor, tiny_ensemble, contents, tmp_path):
    for name, engine in {"alone": Engine(1), "json": Engine(2, executor=executor)}.items():
        copy = Ensemble.open(shutil.copytree(tiny_ensemble.path, tmp_path / name))
        landscape(copy, "0/0-1", placebos=4, engine=engine)
    assert contents(tmp_path / "json" / "landscapes") == contents(tmp_path / "alone" / "landscapes")
    assert executor.functions == {"whence.ensemble.trajectories.draw_files"}


def test_a_pool_of_a_bank(executor, base, tiny_bank, contents):
    pool = build_pool(base, PoolRequest("test", 4, seeds=2), engine=Engine(executor=executor))
    assert contents(base.path / "pools") == {
        name: data for name, data in contents(tiny_bank.path / "pools").items() if name.startswith("test/")
    }
    assert len(pool.seeds) == 2
    assert executor.functions == {"whence.retraining.retrain.train_and_measure"}


@pytest.mark.slow
def test_credit(executor, credited, owned_data, run_config, contents, tmp_path):
    settings = StudyConfig(pictures=8, draws=2, sampler=SamplerConfig(method="ddim", steps=3))
    for name, engine in {"alone": Engine(1), "json": Engine(executor=executor)}.items():
        study = Study.begin(tmp_path / name, credited, owned_data, run_config, settings)
        contributors, sampling = Contributors.of_data(owned_data), CoalitionSampling(6, 1, 0)
        of = (study, contributors, [behaviour("diversity")], ESTIMATORS["shapley"], sampling)
        credit_of_study(*of, engine=engine)
    assert contents(tmp_path / "json") == contents(tmp_path / "alone")
    assert executor.functions == {"whence.retraining.retrain.train_and_measure"}


VALUES = {
    "array": np.arange(6, dtype=np.int64).reshape(2, 3),
    "tensor": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
    "settings": Config(model=ModelConfig(channels=(8,))).updated("adapter", rank=2),
    "partial": partial(open_once, Study.open, (Path("a"), Path("b")), "f"),
    "nested": {("a", 1): [Path("x"), range(2, 9, 3), float("inf"), None, True]},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_was(name):
    value = VALUES[name]
    back = read_task(json.loads(json.dumps(write_task(Task("a", cores, {"value": value}))))).arguments["value"]
    assert type(back) is type(value)
    if isinstance(value, np.ndarray | torch.Tensor):
        assert back.dtype == value.dtype
        assert (back == value).all()
    elif isinstance(value, partial):
        assert (back.func, back.args, back.keywords) == (value.func, value.args, value.keywords)
    else:
        assert back == value
        assert getattr(back, "model_fields_set", None) == getattr(value, "model_fields_set", None)


def test_a_record_of_tensors_comes_back():
    record = CaptionDropout(0.5, 3, {"text": torch.ones(1, 2)})
    back = read_task(write_task(Task("a", cores, {"value": record}))).arguments["value"]
    assert (back.probability, back.seed) == (0.5, 3)
    assert torch.equal(back.empty["text"], record.empty["text"])


@pytest.mark.parametrize("value", [lambda: 0, object(), print, test_credit])
def test_what_is_not_of_whence_is_refused(value):
    with pytest.raises(ConfigError, match="Leave out --engine array"):
        write_task(Task("a", cores, {"value": value}))


@pytest.mark.parametrize(
    "name", ["os:system", "whence.engine.processes:os.system", "whence.nothing:x", "whence:no.such"]
)
def test_a_file_names_nothing_but_what_is_of_whence(name):
    with pytest.raises(ArtefactError, match="A task names"):
        read_task({"name": "a", "size": 1, "function": name, "arguments": {"kind": "dict", "value": []}})

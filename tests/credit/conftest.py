from pathlib import Path

import pytest

from whence.attribution.queries import read_queries
from whence.config import Config, SamplerConfig
from whence.credit.contributors import Contributors
from whence.credit.study import Study, StudyConfig
from whence.data import Dataset, load
from whence.diffusion.examples import Examples
from whence.diffusion.model import DiffusionModel
from whence.retraining.rule import RetrainingRule

SAMPLER = SamplerConfig(method="ddim", steps=2, batch_size=4)


@pytest.fixture(scope="session")
def contributors(owned_data: Dataset) -> Contributors:
    return Contributors.of_data(owned_data)


@pytest.fixture(scope="session")
def drawn(credited: Path) -> Examples:
    """Two pictures that the credited model drew."""
    return read_queries(DiffusionModel.load(credited), "sample:2", sampler=SAMPLER)


@pytest.fixture(scope="session")
def settings() -> StudyConfig:
    """Two steps of fine-tuning, two pictures, two held-out ones."""
    return StudyConfig(rule=RetrainingRule(steps=2), pictures=2, held_out=2, draws=4, sampler=SAMPLER)


@pytest.fixture(scope="session")
def begin(credited: Path, owned_data: Dataset, run_config: Config, settings: StudyConfig, drawn: Examples):
    """Begin a study of the credited model; keywords replace its settings."""

    def begun(path: Path, **changed: object) -> Study:
        return Study.begin(
            path,
            credited,
            owned_data,
            run_config,
            settings.model_copy(update=changed),
            load("digits:test"),
            drawn,
        )

    return begun


@pytest.fixture
def study(begin, tmp_path: Path) -> Study:
    return begin(tmp_path / "study")


@pytest.fixture(scope="session")
def shown():
    """The bytes of the measurement of every model of some examples, by name."""

    def read(study: Study) -> dict[str, bytes]:
        files = sorted(study.path.glob("looks/*/look.safetensors"))
        return {file.parent.name: file.read_bytes() for file in files if not file.parent.name.startswith("nobody")}

    return read

"""Indices: what a search finds is what `attribute` scores highest, with the same scores."""

import shutil

import faiss
import numpy as np
import pytest
import torch

import whence
from whence import artefacts
from whence.attribution.index.candidate_search import CandidateSearch, leading_columns
from whence.attribution.index.fill_index import FeatureBlock, IndexSource, fill_index
from whence.attribution.index.index import Index
from whence.attribution.index.make_index import build_index
from whence.attribution.index.recall import exact_top
from whence.attribution.index.search import search
from whence.attribution.index.stored_vectors import StoredVectors, check_sums, write_vectors
from whence.attribution.methods import METHODS
from whence.diffusion.model import DiffusionModel
from whence.errors import ArtefactError, ConfigError, MismatchError

ONE = whence.Engine(workers=1)
CONFIG = whence.AttributionConfig(draws=8, compression={"width": 120})
SEARCHED = ["tangent-squared", "tangent", "trak", "d-trak", "das", "relative-if", "gradient-cosine", "gradient-dot"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    faiss.omp_set_num_threads(1)


@pytest.fixture(scope="module")
def scored(recorded_run, few_digits, tmp_path_factory):
    """The folder of scores of all methods for two pictures, and these scores."""
    out = tmp_path_factory.mktemp("index") / "scores"
    return out, whence.attribute(recorded_run, few_digits, "sample:2", SEARCHED, engine=ONE, config=CONFIG, out=out)


@pytest.fixture(scope="module")
def index(scored, tmp_path_factory) -> Index:
    return build_index(scored[0] / "tangent-squared", tmp_path_factory.mktemp("built") / "index")


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_finds_what_attribute_scores_highest(scored, tmp_path, name):
    out, scores = scored
    found = search(build_index(out / name, tmp_path / "index"), "sample:2", top=10)
    for one in found.found:
        row = scores[name].scores[scores[name].queries.index(one.query)]
        expected = dict(zip(scores[name].examples, row.tolist(), strict=True))
        largest = row.abs().max().item()
        for side, sign in ((one.proponents, -1), (one.opponents, 1)):
            assert len(side) == 10
            assert [value for _, value in side] == sorted((value for _, value in side), key=lambda v: sign * v)
            assert all(abs(value - expected[name]) <= 1e-6 * largest for name, value in side)


def test_a_new_picture_has_the_scores_that_attribute_gives_it(recorded_run, few_digits, scored, index):
    [found] = search(index, "sample:1@5", top=3).found
    [scores] = whence.attribute(
        recorded_run, few_digits, "sample:1@5", "tangent-squared", engine=ONE, config=CONFIG
    ).values()
    assert [name for name, _ in found.proponents] == [name for name, _ in scores.top("5/0", 3)]
    for (_, value), (_, expected) in zip(found.proponents, scores.top("5/0", 3), strict=True):
        assert value == pytest.approx(expected, rel=1e-5)
    assert found.milliseconds > 0


@pytest.mark.parametrize(("weighted", "damping"), [pytest.param(True, None, marks=pytest.mark.slow), (False, "auto")])
def test_weights_of_the_data_and_the_ridge_of_the_training_are_in_the_scores(
    recorded_run, few_digits, tmp_path, weighted, damping
):
    model, data = recorded_run, few_digits
    if weighted:  # a model without a record of its data
        model, data = tmp_path / "model", few_digits.with_fields(weights=(2.0, 0.5) + (1.0,) * 6 + (0.5, 1.5))
        DiffusionModel.load(recorded_run).save(model)
    config = CONFIG.model_copy(update={"damping": damping})
    out = tmp_path / "scores"
    [scores] = whence.attribute(model, data, "sample:2", engine=ONE, config=config, out=out).values()
    for one in search(build_index(out, tmp_path / "index"), "sample:2", top=10).found:
        expected = dict(zip(scores.examples, scores.row(one.query).tolist(), strict=True))
        largest = max(map(abs, expected.values()))
        assert all(abs(value - expected[name]) <= 1e-6 * largest for name, value in one.proponents)


def test_the_same_call_does_nothing_and_other_settings_are_refused(scored, index, contents):
    before = contents(index.path)
    assert build_index(scored[0] / "tangent-squared", index.path).manifest.fingerprint == index.manifest.fingerprint
    with pytest.raises(MismatchError, match="factory"):
        build_index(scored[0] / "tangent-squared", index.path, factory="IVF2,Flat")
    with pytest.raises(MismatchError, match="method"):
        build_index(scored[0] / "trak", index.path)
    assert contents(index.path) == before


def test_the_order_of_the_data_changes_no_byte(recorded_run, few_digits, scored, index, tmp_path, contents):
    other = whence.Examples.of(few_digits.select(range(9, -1, -1)))
    whence.attribute(recorded_run, other, "sample:2", engine=ONE, config=CONFIG, out=tmp_path / "scores")
    again = build_index(tmp_path / "scores", tmp_path / "index")
    assert contents(again.path) == contents(index.path)


def test_features_of_another_seed_are_refused(recorded_run, few_digits, index, tmp_path):
    config = CONFIG.model_copy(update={"seed": 1})
    whence.attribute(recorded_run, few_digits, "sample:2", engine=ONE, config=config, out=tmp_path / "scores")
    with pytest.raises(MismatchError, match="features"):
        build_index(tmp_path / "scores", index.path)


def test_more_draws_than_the_scores_have_are_refused(recorded_run, few_digits, tmp_path):
    more = CONFIG.model_copy(update={"draws": 16})
    for config, method in ((CONFIG, "trak"), (more, "renormalised-if")):
        whence.attribute(
            recorded_run, few_digits, "sample:1", method, engine=ONE, config=config, out=tmp_path / "scores"
        )
    with pytest.raises(MismatchError, match="features of 16 draws"):
        build_index(tmp_path / "scores" / "trak", tmp_path / "index")


def test_another_model_is_refused(recorded_run, index, tmp_path):
    model = DiffusionModel.load(recorded_run)
    model.network.conv_in.bias.data += 1
    model.save(tmp_path / "other")
    with pytest.raises(MismatchError, match="Give the model of the index"):
        search(index, "sample:1", model=tmp_path / "other")
    shutil.copytree(recorded_run, tmp_path / "moved")
    assert search(index, "sample:1", model=tmp_path / "moved", top=1).found[0].proponents


@pytest.mark.parametrize("file", ["candidates.faiss", "search.json", "whitening.safetensors", "examples.parquet"])
def test_a_damaged_file_is_refused(index, tmp_path, flip_byte, file):
    shutil.copytree(index.path, tmp_path / "index")
    flip_byte(tmp_path / "index" / file)
    with pytest.raises(ArtefactError, match="is damaged"):
        Index.open(tmp_path / "index")


def test_a_damaged_vector_is_refused(index, tmp_path, flip_byte):
    shutil.copytree(index.path, tmp_path / "index")
    flip_byte(tmp_path / "index" / "vectors" / "00000.safetensors")
    with pytest.raises(ArtefactError, match="another check sum"):
        search(tmp_path / "index", "sample:1", top=10)


def test_methods_and_models_without_an_index(recorded_run, few_digits, tmp_path):
    config = {"engine": ONE, "config": CONFIG, "out": tmp_path / "scores"}
    whence.attribute(recorded_run, few_digits, "sample:1", ["das-squared", "tracin"], **config)
    with pytest.raises(ConfigError, match="are no inner products"):
        build_index(tmp_path / "scores" / "das-squared", tmp_path / "index")
    with pytest.raises(ConfigError, match="sets of weights"):
        build_index(tmp_path / "scores" / "tracin", tmp_path / "index")
    model = DiffusionModel.load(recorded_run)
    whence.attribute(model, few_digits, "sample:1", "trak", engine=ONE, config=CONFIG, out=tmp_path / "memory")
    with pytest.raises(ConfigError, match="how its model is opened"):
        build_index(tmp_path / "memory", tmp_path / "index")


def test_without_faiss(scored, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'whence\[index\]'"):
        build_index(scored[0] / "trak", tmp_path / "index")


def random_source(count: int, width: int = 64, blocks: int = 50) -> IndexSource:
    """Features of a decaying spectrum."""
    random = torch.Generator().manual_seed(0)
    scales = torch.arange(1, width + 1) ** -0.5
    features, queries = (torch.randn(n, width, generator=random) * scales for n in (count, 6))

    def parts():
        for part in features.split(blocks):
            yield FeatureBlock(part, torch.ones(len(part)))

    ids = tuple(f"{n:05d}" for n in range(count))
    return IndexSource(ids, (width // 2, width // 2), parts, queries, METHODS["tangent"].inner, 2.0)


@pytest.mark.parametrize(
    ("factory", "probes", "least"),
    [(None, None, 1.0), ("Flat", None, 1.0), ("IVF8,Flat", 8, 1.0), ("IVF8,SQfp16", 8, 0.99), ("PQ32x4fs", None, 0.95)],
)
def test_recall_is_measured_and_complete_where_all_is_compared(tmp_path, factory, probes, least):
    facts = fill_index(tmp_path, random_source(1200), factory, probes)
    assert facts["recall"]["value"] >= least
    assert facts["recall"]["queries"] == 6
    curve = [row["recall"] for row in facts["recall"]["curve"].values()]
    assert curve == sorted(curve)


def test_few_lists_have_a_recall_that_says_so(tmp_path):
    facts = fill_index(tmp_path, random_source(1200), "IVF32,Flat", 1)
    assert facts["recall"]["value"] < 0.9
    assert facts["search"]["candidates"] == 1200


def test_blocks_of_any_size_give_the_same_vectors(tmp_path):
    for blocks in (50, 1200):
        (tmp_path / str(blocks)).mkdir()
        fill_index(tmp_path / str(blocks), random_source(300, blocks=blocks), None, None)
    few, many = (artefacts.read_tensors(tmp_path / f"{b}/vectors/00000.safetensors")["vectors"] for b in (50, 1200))
    assert torch.allclose(few @ few.T, many @ many.T, atol=1e-6)


def test_a_bad_factory_is_a_message(tmp_path):
    with pytest.raises(ConfigError, match="FAISS can't make 'Nonsense'"):
        fill_index(tmp_path, random_source(100), "Nonsense", None)
    with pytest.raises(ConfigError, match="FAISS can't make 'IVF5000,Flat'"):
        fill_index(tmp_path, random_source(100), "IVF5000,Flat", None)


def test_vectors_are_written_in_files_of_equal_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("whence.attribution.index.stored_vectors.VALUES", 40)
    rows = torch.randn(23, 4, generator=torch.Generator().manual_seed(0))
    sums = write_vectors(tmp_path, rows.split([3, 1, 12, 7]), 4)
    vectors = StoredVectors(tmp_path, sums)
    assert [len(block) for block in vectors.blocks()] == [10, 10, 3]
    assert np.array_equal(sums, check_sums(rows.numpy()))
    places = np.array([22, 0, 10, 9])
    assert np.array_equal(vectors.rows(places), rows.numpy()[places])
    query = rows[5].double().numpy()
    products = rows.double().numpy() @ query
    expected = np.argsort(-products)[:4]
    assert exact_top(vectors, query[None], 4)[0].tolist() == expected.tolist()
    found, values = vectors.largest(query, np.arange(23), 4)
    assert found.tolist() == expected.tolist()
    assert values == pytest.approx(products[expected])


def test_an_index_of_lists_is_read_from_disk(tmp_path):
    rows = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    made = CandidateSearch.train("IVF4,SQfp16", rows, iter([rows[:200], rows[200:]]), 4)
    made.write(tmp_path / "a.faiss")
    again = CandidateSearch.read(tmp_path / "a.faiss", 16, 4)
    assert again(rows[7], 9).tolist() == made(rows[7], 9).tolist()
    assert (again.lists_searched, made(rows[7], 1000).tolist().__len__()) == (4, 500)
    (tmp_path / "b.faiss").write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="is damaged"):
        CandidateSearch.read(tmp_path / "b.faiss", 16, 4)


def test_leading_columns_of_a_flat_and_a_steep_spectrum():
    assert leading_columns(torch.ones(256)) == 256
    assert leading_columns(torch.cat([torch.ones(30), torch.full((226,), 1e-3)])) == 32

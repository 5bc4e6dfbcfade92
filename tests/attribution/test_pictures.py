import pytest
import torch

from whence import images
from whence.attribution.pictures import Pictures, at_the_ends
from whence.errors import ArtefactError
from whence.scores.scores import Estimand, Scores


def make(**changed) -> Pictures:
    source = torch.Generator().manual_seed(0)
    fields = {
        "queries": ("0/0", "0/1"),
        "drawn": torch.rand(2, 3, 5, 4, generator=source) * 2 - 1,
        "examples": ("a", "b", "c"),
        "units": (("u",), ("v", "w"), ("u",)),
        "pixels": torch.randint(0, 256, (3, 3, 5, 4), dtype=torch.uint8, generator=source),
    }
    return Pictures(**(fields | changed))


@pytest.mark.parametrize("eight_bit", [True, False])
def test_what_is_written_is_read(tmp_path, eight_bit):
    one = make()
    if eight_bit:
        one = make(drawn=torch.from_numpy(images.to_pixels(one.drawn)))
    manifest = one.write(tmp_path / "pictures", {"data": "d" * 64}, {"model": "runs/single"})
    found = Pictures.read(tmp_path / "pictures")
    assert (found.queries, found.examples, found.units) == (one.queries, one.examples, one.units)
    assert torch.equal(found.drawn, one.drawn)
    assert torch.equal(found.pixels, one.pixels)
    assert (found.query("0/1") == images.to_pixels(make().drawn[1])).all()
    assert (found.example(2) == one.pixels[2].numpy()).all()
    assert manifest.facts == {"model": "runs/single"}


def test_new_pictures_take_the_place_of_old_ones(tmp_path):
    make().write(tmp_path / "pictures", {})
    make(examples=("a", "b", "x")).write(tmp_path / "pictures", {})
    assert Pictures.read(tmp_path / "pictures").examples == ("a", "b", "x")


def test_damage_is_told(tmp_path, flip_byte):
    make().write(tmp_path / "pictures", {})
    flip_byte(tmp_path / "pictures" / "examples.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        Pictures.read(tmp_path / "pictures")


@pytest.mark.parametrize(
    "changed",
    [
        {"queries": ("q",)},
        {"drawn": torch.zeros(2, 5, 4)},
        {"drawn": torch.zeros(2, 3, 5, 4, dtype=torch.float64)},
        {"pixels": torch.zeros(2, 3, 5, 4, dtype=torch.uint8)},
        {"units": (("u",),)},
    ],
)
def test_what_does_not_fit_is_refused(changed):
    with pytest.raises(ArtefactError, match="examples|queries"):
        make(**changed)


@pytest.mark.parametrize("count", [0, 1, 3, 10, 20])
@pytest.mark.parametrize("sign", ["unsigned", "positive is proponent"])
def test_the_ends_against_a_loop(sign, count):
    source, estimand = torch.Generator().manual_seed(0), Estimand("loss", "weight", "run", "none", "example")
    names = tuple(map(str, range(10)))
    methods = [
        Scores(torch.randn(4, 10, generator=source), tuple("abcd"), names, (("u",),) * 10, "m", estimand, sign, "sum")
        for _ in range(2)
    ]
    expected = set()
    for scores in methods:
        for query in scores.queries:
            ranked = [name for name, _ in scores.top(query, 10)]
            expected.update(ranked[:count])
            expected.update(ranked[len(ranked) - min(count, 10) :] if sign != "unsigned" else [])
    assert at_the_ends(methods, count) == sorted(map(int, expected))

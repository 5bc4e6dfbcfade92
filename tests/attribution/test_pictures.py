import pytest
import torch

from whence import images
from whence.attribution.pictures import Pictures, extreme_examples
from whence.diffusion.examples import Examples
from whence.errors import ArtefactError, DataError
from whence.scores.scores import Estimand, Scores

SOURCE = torch.Generator().manual_seed(0)
DRAWN = torch.rand(2, 3, 5, 4, generator=SOURCE) * 2 - 1
PIXELS = torch.randint(0, 256, (3, 3, 5, 4), dtype=torch.uint8, generator=SOURCE)


def make(drawn=DRAWN, examples=("a", "b", "c"), units=(("u",), ("v", "w"), ("u",)), pixels=PIXELS) -> Pictures:
    return Pictures(Examples(("0/0", "0/1"), drawn), Examples(examples, pixels), units)


@pytest.mark.parametrize("eight_bit", [True, False])
def test_what_is_written_is_read(tmp_path, eight_bit):
    pictures = make(torch.from_numpy(images.to_pixels(DRAWN)) if eight_bit else DRAWN)
    manifest = pictures.write(tmp_path / "pictures", {"data": "d" * 64}, {"model": "runs/single"})
    read = Pictures.read(tmp_path / "pictures")
    assert (read.queries.ids, read.examples.ids, read.units) == (("0/0", "0/1"), ("a", "b", "c"), pictures.units)
    assert torch.equal(read.queries.values, pictures.queries.values)
    assert torch.equal(read.examples.values, PIXELS)
    assert (read.query("0/1") == images.to_pixels(DRAWN[1])).all()
    assert (read.example("c") == PIXELS[2].numpy()).all()
    assert manifest.facts == {"model": "runs/single"}


def test_new_pictures_take_the_place_of_old_ones(tmp_path):
    make().write(tmp_path / "pictures", {})
    make(examples=("a", "b", "x")).write(tmp_path / "pictures", {})
    assert Pictures.read(tmp_path / "pictures").examples.ids == ("a", "b", "x")


def test_damage_is_told(tmp_path, flip_byte):
    make().write(tmp_path / "pictures", {})
    flip_byte(tmp_path / "pictures" / "examples.safetensors")
    with pytest.raises(ArtefactError, match="damaged"):
        Pictures.read(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"drawn": torch.zeros(1, 3, 5, 4)}, DataError),
        ({"drawn": torch.zeros(2, 5, 4)}, ArtefactError),
        ({"drawn": torch.zeros(2, 3, 5, 4, dtype=torch.float64)}, ArtefactError),
        ({"pixels": torch.zeros(2, 3, 5, 4, dtype=torch.uint8)}, DataError),
        ({"units": (("u",),)}, ArtefactError),
    ],
)
def test_what_does_not_fit_is_refused(changed, error):
    with pytest.raises(error, match="examples|queries|ids"):
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
    assert extreme_examples(methods, count) == sorted(map(int, expected))

import pytest

from whence.report.credit.sentences import estimator_title, tally
from whence.report.credit.share import ShareFormat
from whence.report.credit.statement import file_name
from whence.report.plot import Scale
from whence.report.scores.plots import largest_phrase
from whence.report.template import flat_settings
from whence.report.text import number, ordinal, percent, plural, round_number, shorten, unit_phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (unit_phrase(["17"]), "unit 17"),
        (unit_phrase(["17", "230"]), "units 17 and 230"),
        (unit_phrase(["a", "b", "c", "d"]), "these 4 units"),
        (number(2.3149), "2.31"),
        (number(0.14716), "0.147"),
        (number(0.0002), "less than 0.001"),
        (number(0.0), "0"),
        (round_number(1000), "1,000"),
        (round_number(15_000), "15k"),
        (round_number(1_500_000), "1.5M"),
        (percent(0.213), "21%"),
        (percent(0.0042), "0.4%"),
        (percent(0.00001), "less than 0.1%"),
        (ordinal(1), "1st"),
        (ordinal(12), "12th"),
        (ordinal(23), "23rd"),
        (plural(1, "unit"), "1 unit"),
        (plural(1500, "unit"), "1,500 units"),
        (shorten("a cat", 3), "a c…"),
        (file_name("artist 7"), "artist 7"),
        (file_name("../a"), "-a-524cd4"),
        (estimator_title("leave-one-out"), "Leave one out"),
        (estimator_title("sum-d-trak"), "Sum of scores: d-trak"),
        (tally(["above", "nothing", "nothing", "below"]), "1 above zero, 1 below, 2 could as well be nothing"),
        (largest_phrase(1, 1500), "largest"),
        (largest_phrase(15, 1500), "largest 15 (1%)"),
    ],
)
def test_what_is_written(text, expected):
    assert text == expected


def test_settings_have_dotted_names():
    settings = {"model": {"channels": None, "layers": 1}}
    assert flat_settings(settings) == {"model.channels": "default", "model.layers": "1"}


def test_small_numbers_are_written_with_a_power_of_ten():
    scale = Scale.of([3.2e-7, -1.5e-7])
    assert (scale.power, scale.number(3.2e-7), scale.number(-1.5e-7)) == (-7, "3.20", "−1.50")


def test_shares_have_a_sign_a_unit_and_a_percentage():
    written = ShareFormat(Scale.of([0.12, -0.04]), "bits", 1.4)
    assert written.amount(0.12) == "+0.120 bits"
    assert written.interval(-0.04, 0.12) == "from −0.040 to +0.120 bits"
    assert written.percent(0.12) == "8.6%"

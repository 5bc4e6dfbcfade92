import pytest

from whence.report.ensemble.ablation_card import Comparison

HINT = "One placebo can't tell influence from luck: this is a hint, not a finding."
NOTHING = "this single comparison gives no reason to credit unit 17."

SENTENCES = {
    "nothing moved": (
        (0.0, 0.0),
        "Without unit 17 the picture does not change at all. Leaving out as many members for a code word that "
        f"belongs to nobody does not change it either, and {NOTHING}",
    ),
    "only the placebo moved": (
        (0.0, 0.5),
        "Without unit 17 the picture does not change at all. Leaving out as many members for a code word that "
        f"belongs to nobody moves it by 0.500, and {NOTHING}",
    ),
    "only the counterfactual moved": (
        (0.5, 0.0),
        "Without unit 17 the picture moves by 0.500. Leaving out as many members for a code word that belongs to "
        f"nobody does not change it. {HINT}",
    ),
    "less far": (
        (1.0, 2.0),
        "Without unit 17 the picture moves by 1.00. Leaving out as many members for a code word that belongs to "
        f"nobody moves it by 2.00, so averaging fewer members alone moves it farther, and {NOTHING}",
    ),
    "the same": (
        (2.0, 2.0),
        "Without unit 17 the picture moves by 2.00. Leaving out as many members for a code word that belongs to "
        f"nobody moves it by 2.00, so averaging fewer members alone moves it about as far, and {NOTHING}",
    ),
    "a little farther": (
        (2.31, 2.05),
        "Without unit 17 the picture moves by 2.31. Leaving out as many members for a code word that belongs to "
        f"nobody moves it by 2.05, so most of this change can come from averaging fewer members, and {NOTHING}",
    ),
    "clearly farther": (
        (3.6, 2.0),
        "Without unit 17 the picture moves by 3.60. Leaving out as many members for a code word that belongs to "
        f"nobody moves it by 2.00, so the picture moved 1.8 times as far as the placebo. {HINT}",
    ),
}


@pytest.mark.parametrize(("distances", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_sentence_is_chosen_by_the_two_distances(distances, sentence):
    assert Comparison(("17",), False, *distances).sentence == sentence


KEPT = {
    "nothing moved": (
        (0.0, 0.0),
        "the picture does not change at all. As many members, chosen by a code word that belongs to nobody, do not "
        f"change it either, and {NOTHING}",
    ),
    "the same": (
        (1.0, 1.0),
        "the picture moves by 1.00. As many members, chosen by a code word that belongs to nobody, move it by 1.00, "
        f"so averaging fewer members alone moves it about as far, and {NOTHING}",
    ),
    "clearly farther": (
        (3.0, 1.0),
        "the picture moves by 3.00. As many members, chosen by a code word that belongs to nobody, move it by 1.00, "
        f"so the picture moved 3.0 times as far as the placebo. {HINT}",
    ),
}


@pytest.mark.parametrize(("distances", "sentence"), KEPT.values(), ids=KEPT)
def test_keep_only_is_worded_the_other_way_round(distances, sentence):
    kept = Comparison(("17",), True, *distances)
    assert kept.sentence == f"Drawn only by the members that saw unit 17, {sentence}"
    assert kept.title == "Only members that saw unit 17"


@pytest.mark.parametrize(
    ("units", "title"),
    [
        (("17",), "Without unit 17"),
        (("17", "230"), "Without units 17 and 230"),
        (("a", "b", "c"), "Without units a, b and c"),
        (("a", "b", "c", "d"), "Without these 4 units"),
    ],
)
def test_units_are_named_while_they_can_be_read(units, title):
    one = Comparison(units, False, 1.0, 1.0)
    assert one.title == title
    assert ("code words that belong" if len(units) > 1 else "a code word that belongs") in one.sentence


def test_without_a_placebo_nothing_is_concluded():
    one = Comparison(("17",), False, 2.0, None)
    assert (one.label, one.is_hint) == ("No placebo to compare with", False)
    assert one.sentence == (
        "Without unit 17 the picture moves by 2.00. No placebo could be drawn: no code word was found that leaves "
        "as many members and belongs to no unit. So the effect of unit 17 can't be "
        "told from the effect of averaging fewer members."
    )


LABELS = [
    (0.0, 0.0, "No clear difference from the placebo"),
    (1.0, 1.05, "No clear difference from the placebo"),
    (1.0, 2.0, "Less far than the placebo"),
    (1.49, 1.0, "No clear difference from the placebo"),
    (1.5, 1.0, "Farther than the placebo: a hint"),
    (0.1, 0.0, "Farther than the placebo: a hint"),
]


@pytest.mark.parametrize(("distance", "placebo", "label"), LABELS)
def test_the_label_agrees_with_the_sentence(distance, placebo, label):
    one = Comparison(("17",), False, distance, placebo)
    assert one.label == label
    assert (HINT in one.sentence) == one.is_hint == label.endswith("a hint")
    assert (NOTHING in one.sentence) != one.is_hint

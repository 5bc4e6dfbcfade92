"""The table of all methods: the figures that say most, of every section."""

from __future__ import annotations

from collections.abc import Mapping

from whence.evaluation.leaderboard.page.plots import KINDS
from whence.evaluation.leaderboard.page.tables import NOTHING, escaped, markdown_table, narrow_cells, number
from whence.evaluation.leaderboard.sections import Section

#: Heads of the columns, with section and column that they are from.
COLUMNS = (
    ("LDS, held-out", "lds", "held-out"),
    ("LDS, drawn", "lds", "drawn"),
    ("squared, held-out", "lds", "held-out squared"),
    ("same run, 1% removed", "deterministic", "1%"),
    ("same run, 50% removed", "deterministic", "50%"),
    ("deletion: loss", "deletion", "increase of the loss"),
    ("traced first", "measures", "traced first"),
    ("outliers, AUC", "measures", "outliers AUC"),
    ("seconds", "runtime", "seconds"),
)
#: Head of the column after the LDS.
SHARE = "of the ceiling"
#: Where it stands.
AFTER = 3


def ranked(sections: Mapping[str, Section]) -> list[str]:
    """Return all methods, best first: by the mean of the plain LDS of held-out and drawn queries, of those known.

    Methods without LDS come last, by name; rows of an ablation are no methods.
    """
    lds = sections.get("lds", Section(section="lds"))
    means = {}
    for name, figures in lds.rows.items():
        known = [figures[kind].value for kind in KINDS if kind in figures]
        if known:
            means[name] = sum(known) / len(known)
    others = {name for section, one in sections.items() if section != "ablation" for name in one.rows}
    others |= {name for one in sections.values() for series in one.curves.values() for name in series}
    return [*sorted(means, key=lambda name: (-means[name], name)), *sorted(others - set(means))]


def overall_table(sections: Mapping[str, Section]) -> list[str]:
    """Return the lines of the table: a row for each method of the sections in it, without columns not measured."""
    columns = {
        head: figures
        for head, section, column in COLUMNS
        if section in sections and (figures := sections[section].column(column))
    }
    methods = [name for name in ranked(sections) if any(name in figures for figures in columns.values())]
    cells = {head: narrow_cells(figures, methods) for head, figures in columns.items()}
    shares = [_shares(sections.get("lds"), name) for name in methods]
    if any(share != NOTHING for share in shares):
        before = [head for head, _, _ in COLUMNS[:AFTER] if head in cells]
        cells = {
            **{head: cells[head] for head in before},
            SHARE: shares,
            **{head: own for head, own in cells.items() if head not in before},
        }
    rows = zip(map(escaped, methods), *cells.values(), strict=True)
    return markdown_table(["method", *cells], rows)


def _shares(lds: Section | None, method: str) -> str:
    """The plain LDS of a method in parts of its ceiling, for each kind of query."""
    figures = lds.rows.get(method, {}) if lds else {}
    known = [figures[kind] for kind in KINDS if kind in figures]
    shares = [f"{number(100 * one.value / one.ceiling, 0)}%" for one in known if one.ceiling]
    return ", ".join(shares) or NOTHING

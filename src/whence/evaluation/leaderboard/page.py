"""The page of the leaderboard: values for its template, from what was measured."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from whence import artefacts
from whence.evaluation.leaderboard.measure import SECTIONS, read_sections
from whence.evaluation.leaderboard.plots import FILES, KINDS, Plot, chosen_point, draw_plots
from whence.evaluation.leaderboard.sections import Section
from whence.evaluation.leaderboard.tables import (
    NOTHING,
    curve_table,
    escaped,
    markdown_table,
    narrow_cells,
    number,
    section_table,
)

#: Name of the page.
PAGE = "leaderboard.md"
#: All figures of the page, as they were measured.
FIGURES = Path("figures") / "leaderboard.json"
#: Head of the column of the LDS in parts of its ceiling, in the table of all methods; it stands after the LDS.
SHARE = "of the ceiling"
#: The column that says which methods can't be told from the best.
TO_BEST = "difference to best"
#: Stands for a space where a line must not break.
HELD = "\0"


class Part(NamedTuple):
    """The part of the page for a section: its title, and its paragraphs, tables, plot and notes in Markdown."""

    title: str
    blocks: list[str]


def write_page(work: Path, out: Path, command: str = "whence leaderboard digits") -> Path:
    """Return the page, OUT/leaderboard.md, written from what was measured in `work`, with its plots beside it.

    OUT/figures/leaderboard.json has all figures, for pages that quote them. The same sections give the same files to
    the last byte. Plots of sections that are no longer there are removed. If a section is damaged, nothing is written.
    The page names the command that measures it all again.
    """
    sections = read_sections(work)
    plots = draw_plots(sections, rank_methods(sections))
    text = page_text(sections, plots, command)
    for name, file in FILES.items():
        if name in plots:
            artefacts.write_bytes(out / file, plots[name].svg())
        else:
            (out / file).unlink(missing_ok=True)
    artefacts.write_bytes(out / PAGE, text.encode())
    figures = {name: section.model_dump(exclude_none=True) for name, section in sections.items()}
    artefacts.write_json(out / FIGURES, figures)
    return out / PAGE


def page_text(sections: Mapping[str, Section], plots: Mapping[str, Plot], command: str) -> str:
    """Return the page as Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("whence.evaluation", "leaderboard"), trim_blocks=True, lstrip_blocks=True
    )
    methods, overview = rank_methods(sections), overview_table(sections)
    text = environment.get_template(f"{PAGE}.j2").render(
        command=command,
        repetition=_wrapped(_repetition(sections)),
        overview=["\n".join(overview), *_images("lds", plots)] if overview else [],
        parts=[part for name in SECTIONS if (part := _part(name, sections, methods, plots, command))],
    )
    return text.rstrip() + "\n"


def rank_methods(sections: Mapping[str, Section]) -> list[str]:
    """Return all methods by their mean plain LDS, best first, and then those without LDS by name.

    The mean is over held-out and drawn queries, as far as they are known. The steps of an ablation are no methods.
    """
    lds = sections.get("lds", Section(section="lds"))
    means = {}
    for name, figures in lds.rows.items():
        values = [figures[kind].value for kind in KINDS if kind in figures]
        if values:
            means[name] = sum(values) / len(values)
    others = {name for title, section in sections.items() if title != "ablation" for name in section.rows}
    others |= {name for section in sections.values() for series in section.curves.values() for name in series}
    return [*sorted(means, key=lambda name: (-means[name], name)), *sorted(others - set(means))]


def overview_table(sections: Mapping[str, Section]) -> list[str]:
    """Return the lines of the table of all methods, with a figure of some section; none without any figure."""
    columns = {
        head: figures
        for name, spec in SECTIONS.items()
        for head, column in spec.overview.items()
        if name in sections and (figures := sections[name].column(column))
    }
    methods = [name for name in rank_methods(sections) if any(name in figures for figures in columns.values())]
    if not methods:
        return []
    cells = {head: narrow_cells(figures, methods) for head, figures in columns.items()}
    shares = [_share_of_ceiling(sections.get("lds"), name) for name in methods]
    if any(share != NOTHING for share in shares):
        lds = {head: cells.pop(head) for head in SECTIONS["lds"].overview if head in cells}
        cells = {**lds, SHARE: shares, **cells}
    return markdown_table(["method", *cells], zip(map(escaped, methods), *cells.values(), strict=True))


def _share_of_ceiling(lds: Section | None, method: str) -> str:
    """The plain LDS of a method in parts of its ceiling, for each kind of query."""
    row = lds.rows.get(method, {}) if lds else {}
    figures = [row[kind] for kind in KINDS if kind in row]
    shares = [f"{number(100 * figure.value / figure.ceiling, 0)}%" for figure in figures if figure.ceiling]
    return ", ".join(shares) or NOTHING


def _repetition(sections: Mapping[str, Section]) -> str:
    """What the command does, and how long that took."""
    seconds = [s.seconds for name, s in sections.items() if name != "ablation" and s.seconds is not None]
    total = sum(seconds)
    duration = f"{number(total / 60)} minutes" if total >= 100 else f"{number(total)} seconds"
    measured = f" Measuring what is shown here took {duration}." if seconds else ""
    return (
        "measures it all again and writes this page and its plots; interrupted, it continues. No figure of the page is "
        f"from anywhere else.{measured} Scores of your own are measured in the same ways by `whence evaluate`."
    )


def _part(
    name: str, sections: Mapping[str, Section], methods: Sequence[str], plots: Mapping[str, Plot], command: str
) -> Part | None:
    """The part of a section; it says so if the section was not measured."""
    spec, section = SECTIONS[name], sections.get(name)
    if section is not None:
        return Part(spec.title, [_wrapped(spec.question), *_blocks(section, methods, plots)])
    if spec.measure is None:
        return None
    return Part(spec.title, [_wrapped(f"{spec.question} Not measured yet: `{command} --only {name}` does.")])


def _blocks(section: Section, methods: Sequence[str], plots: Mapping[str, Plot]) -> Iterator[str]:
    """Yield the tables of a section, its plot and its notes."""
    name = section.section
    order = list(section.rows) if name == "ablation" else methods
    if any(section.rows.values()):
        yield "\n".join(section_table(section, order, "step" if name == "ablation" else "method"))
    for curve, every in section.curves.items():
        if len(section.curves) > 1:
            yield f"*{escaped(curve)}*"
        series = {method: points for method, points in every.items() if points}
        chosen = {method: chosen_point(section, method, points) for method, points in series.items()}
        head = SECTIONS[name].curve_head or escaped(curve)
        yield "\n".join(curve_table(series, order, head, chosen if name == "choices" else None))
    yield from _images(name, plots) if name != "lds" else ()
    notes = [*_undecided(section), *section.notes]
    if notes:
        yield "\n".join(_wrapped(f"- {' '.join(note.split()).replace('<', '&lt;')}", "  ") for note in notes)


def _undecided(section: Section) -> Iterator[str]:
    """Yield a sentence that says which methods can't be told from the best."""
    differences = section.column(TO_BEST).items()
    ends = {name: (f.low, f.high) for name, f in differences if f.low is not None and f.high is not None}
    tied = [name for name, (low, high) in ends.items() if low <= 0 <= high]
    if tied:
        yield f"These subsets are too few to tell the best method from {', '.join(map(escaped, tied))}."
    elif ends:
        yield "All methods can be told from the best by these subsets."


def _images(name: str, plots: Mapping[str, Plot]) -> Iterator[str]:
    """Yield the plot of a section, if it has one."""
    if name in plots:
        yield f"![{escaped(f'{plots[name].title}. {plots[name].description}')}]({FILES[name]})"


def _wrapped(text: str, indent: str = "") -> str:
    """Text in lines of at most 120 letters; a line never breaks inside a word or backticks."""
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", HELD), text)
    lines = textwrap.wrap(whole, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(HELD, " ")

"""The page: head, the table of all methods, how to read it, and a part for each section."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from whence import artefacts
from whence.evaluation.leaderboard.page.overall import overall_table, ranked
from whence.evaluation.leaderboard.page.plots import FILES, Plot, chosen_point, plots
from whence.evaluation.leaderboard.page.tables import curve_table, escaped, number, section_table
from whence.evaluation.leaderboard.page.words import ALONG, HEAD, READING, TITLES
from whence.evaluation.leaderboard.sections import SECTIONS, Section, read_sections

#: Name of the page.
PAGE = "leaderboard.md"
#: The column that says which methods can't be told from the best.
TO_BEST = "difference to best"
#: Stands for a space where a line must not break.
HELD = "\0"


def write_page(work: Path, out: Path, command: str = "whence leaderboard digits") -> Path:
    """Write the page of what was measured, and its plots beside it.

    The same sections give the same files to the last byte. Plots of sections that are no longer there are removed;
    where a section is damaged nothing is written at all.

    Args:
        work: Folder of the sections, WORK/lds.json and so on; see `whence.evaluation.leaderboard.sections`.
        out: Folder of the page, which is replaced.
        command: What measures it all again.

    Returns:
        The page, OUT/leaderboard.md.

    Raises:
        ArtefactError: Nothing was measured, or a file of a section is damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from whence import artefacts
        >>> with TemporaryDirectory() as folder:
        ...     rows = {"trak": {"seconds": {"value": 12.0}}}
        ...     artefacts.write_json(Path(folder) / "runtime.json", {"section": "runtime", "rows": rows})
        ...     text = write_page(Path(folder), Path(folder) / "docs").read_text()
        >>> "| trak | 12 |" in text
        True
    """
    sections = read_sections(work)
    drawn = plots(sections, ranked(sections))
    text = page(sections, drawn, command)
    for name, file in FILES.items():
        if name in drawn:
            artefacts.write_bytes(out / file, str(drawn[name].content).encode())
        else:
            (out / file).unlink(missing_ok=True)
    artefacts.write_bytes(out / PAGE, text.encode())
    return out / PAGE


def page(sections: Mapping[str, Section], drawn: Mapping[str, Plot], command: str) -> str:
    """Return the page as Markdown.

    Args:
        sections: What was measured.
        drawn: Plots by section.
        command: What measures it all again.
    """
    lines = ["# Leaderboard", "", *_wrapped(HEAD), "", "```", command, "```", "", *_wrapped(_again(sections)), ""]
    table = overall_table(sections)
    if len(table) > 2:
        order = (
            "Best first, by the mean plain LDS of held-out and drawn queries, or by one of them where a method has no "
            "other."
        )
        lines += ["## All methods", "", *_wrapped(order), "", *table, "", *_image("lds", drawn)]
    lines += ["## How to read it", ""]
    for name, words in READING:
        lines += [*_wrapped(f"**{name}.** {words}"), ""]
    methods = ranked(sections)
    for name in SECTIONS:
        lines += _part(name, sections.get(name), methods, drawn, command)
    return "\n".join(lines).rstrip() + "\n"


def _again(sections: Mapping[str, Section]) -> str:
    """What the command does, and how long that took."""
    seconds = [one.seconds for name, one in sections.items() if name != "ablation" and one.seconds is not None]
    took = f" Measuring what is shown here took {_duration(sum(seconds))}." if seconds else ""
    return (
        "measures it all again and writes this page and its plots; interrupted, it continues. No figure of the page is "
        f"from anywhere else.{took} Scores of your own are measured in the same ways by `whence evaluate`."
    )


def _part(
    name: str, section: Section | None, methods: Sequence[str], drawn: Mapping[str, Plot], command: str
) -> list[str]:
    """A section: what is asked, its tables, its plot and its notes; or that it was not measured."""
    title, asked = TITLES[name]
    if section is None:
        if name == "ablation":
            return []
        return [f"## {title}", "", *_wrapped(f"{asked} Not measured yet: `{command} --only {name}` does."), ""]
    order = list(section.rows) if name == "ablation" else methods
    lines = [f"## {title}", "", *_wrapped(asked), ""]
    if any(section.rows.values()):
        lines += [*section_table(section, order, "step" if name == "ablation" else "method"), ""]
    for curve, series in section.curves.items():
        lines += [f"*{escaped(curve)}*", ""] if len(section.curves) > 1 else []
        kept = {method: points for method, points in series.items() if points}
        chosen = {method: chosen_point(section, method, points) for method, points in kept.items()}
        marked = chosen if name == "choices" else None
        lines += [*curve_table(kept, order, ALONG.get(name, escaped(curve)), marked), ""]
    lines += [] if name == "lds" else _image(name, drawn)
    for note in [*_too_few(section), *section.notes]:
        lines += _wrapped(f"- {' '.join(note.split()).replace('<', '&lt;')}", "  ")
    return [*lines, ""] if lines[-1] else lines


def _too_few(section: Section) -> list[str]:
    """Which methods can't be told from the best."""
    differences = section.column(TO_BEST)
    known = {name: one for name, one in differences.items() if one.low is not None and one.high is not None}
    same = [name for name, one in known.items() if one.low <= 0 <= one.high]  # type: ignore[operator]
    if not known:
        return []
    if not same:
        return ["All methods can be told from the best by these subsets."]
    return [f"These subsets are too few to tell the best method from {', '.join(map(escaped, same))}."]


def _image(name: str, drawn: Mapping[str, Plot]) -> list[str]:
    """The plot of a section, if it has one."""
    if name not in drawn:
        return []
    plot = drawn[name]
    return [f"![{escaped(f'{plot.title}. {plot.description}')}]({FILES[name]})", ""]


def _duration(seconds: float) -> str:
    """How long something took."""
    return f"{number(seconds / 60)} minutes" if seconds >= 100 else f"{number(seconds)} seconds"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of at most 120 letters; words and what is between backticks are never broken."""
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", HELD), text)
    lines = textwrap.wrap(whole, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(HELD, " ") for line in lines]

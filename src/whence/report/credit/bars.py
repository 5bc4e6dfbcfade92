"""Shares as small drawings: a bar with its interval, and a line with all contributors on it."""

from __future__ import annotations

from markupsafe import Markup

from whence.report.credit.figures import Share, Shared
from whence.report.credit.words import LABELS
from whence.report.scores.bars import Scale

#: Numbers below a line that stand closer than this, in percent of its width, would touch.
APART = 22


def share_bar(scale: Scale, share: Share) -> Markup:
    """A bar from 0 to a share with its interval: an outline where zero lies inside the interval, grey without one.

    Args:
        scale: The scale of all that stand beside it.
        share: The share.

    Returns:
        An SVG image as wide as there is room.
    """
    zero, end = scale.place(0.0), scale.place(share.value)
    style = {"nothing": " within", "unknown": " untested"}.get(share.verdict, "")
    parts = [
        Markup('<rect class="{}{}" x="{:.2f}%" y="4" width="{:.2f}%" height="8"/>').format(
            "opponent" if share.value < 0 else "proponent", style, min(zero, end), abs(end - zero)
        ),
        Markup('<line class="zero" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="16"/>').format(zero),
    ]
    if share.interval is not None:
        low, high = map(scale.place, share.interval)
        parts.append(Markup('<line class="error" x1="{:.2f}%" x2="{:.2f}%" y1="8" y2="8"/>').format(low, high))
        cap = Markup('<line class="error" x1="{0:.2f}%" x2="{0:.2f}%" y1="5" y2="11"/>')
        parts += [cap.format(low), cap.format(high)]
    return Markup('<svg class="score" role="img" aria-label="{}">{}</svg>').format(
        LABELS[share.verdict], Markup("").join(parts)
    )


def line_of_all(shared: Shared, unit: str) -> Markup:
    """A line on which every contributor has a mark, one of them with its interval.

    Args:
        shared: The shares.
        unit: The contributor that stands out.

    Returns:
        An SVG image as wide as there is room.
    """
    scale, own = shared.scale, shared.of_unit(unit)
    others = [scale.place(one.value) for one in shared.shares if one.unit != unit]
    mark = Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="{2}" y2="{3}"/>')
    parts = [Markup('<line class="base" x2="100%" y1="22" y2="22"/>')]
    parts += [mark.format("other", place, 15, 29) for place in sorted(set(others))]
    parts.append(mark.format("zero", scale.place(0.0), 4, 40))
    if own.interval is not None:
        low, high = map(scale.place, own.interval)
        parts.append(Markup('<line class="error" x1="{:.2f}%" x2="{:.2f}%" y1="22" y2="22"/>').format(low, high))
    style = {"nothing": "nothing", "unknown": "unknown", "below": "below"}.get(own.verdict, "above")
    parts.append(Markup('<circle class="{}" cx="{:.2f}%" cy="22" r="6"/>').format(style, scale.place(own.value)))
    parts += _numbers(shared)
    words = Markup("Shares of all {} contributors on a line; that of {} is {}.").format(
        len(shared.shares), unit, shared.measure.amount(own.value)
    )
    return Markup('<svg class="strip" role="img" aria-label="{}">{}</svg>').format(words, Markup("").join(parts))


def _numbers(shared: Shared) -> list[Markup]:
    """Zero and the two ends below the line, those that have room."""
    scale, zero = shared.scale, shared.scale.place(0.0)
    text = Markup('<text class="{}" x="{:.2f}%" y="54">{}</text>')
    style = "end" if zero > 100 - APART / 4 else "start" if zero < APART / 4 else "middle"
    found = [text.format(style, zero, "0")]
    if zero > APART:
        found.append(text.format("start", 0.0, shared.measure.signed(scale.low)))
    if zero < 100 - APART:
        found.append(text.format("end", 100.0, shared.measure.signed(scale.high)))
    return found

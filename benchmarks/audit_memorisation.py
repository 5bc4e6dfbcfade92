"""Are planted copies found, and none in a set without? A chequerboard is 20 of 500 training images of digits.

python benchmarks/audit_memorisation.py --out runs/audit

200 pictures are drawn by the network that was trained with the copies, and by one that was trained on 500 digits
without any. The threshold is that of the 297 held-out digits. Intervals are exact (Clopper & Pearson).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from audit_models import digits, planted, train
from figures import interval, write_figures

import whence
from whence.attribution.target import Target
from whence.engine import one_thread

COUNT, SEED = 200, 3


def main() -> None:
    """Train, draw, compare, print and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    figures: dict[str, Any] = {"drawn": COUNT}
    for name, data in {"planted": planted(), "digits": digits()[0]}.items():
        target = Target.open(train(name, given.out))
        drawn = target.queries(f"sample:{COUNT}@{SEED}")
        held_out, out = whence.load("digits:test"), given.out / f"audit-memorisation-{name}"
        audit = whence.audit_memorisation(target, data, drawn, out, held_out=held_out)
        copied = sum(hit.image == "copy 0" for hit in audit.hits)
        figures[name] = {"rate": interval(audit.rate), "hits": len(audit.hits), "of the planted picture": copied}
        figures[name]["nearest to it"] = audit.drawn["image"].count("copy 0")
        figures[name] |= {"threshold": audit.threshold, "compared": audit.compared, "clusters": audit.clusters}
        closest = sorted(audit.drawn["closeness"])[:5]
        figures[name]["closest"] = closest[0]
        print(name, figures[name], [round(value, 3) for value in closest], flush=True)
    write_figures("audit-memorisation", figures)


if __name__ == "__main__":
    with one_thread():
        main()

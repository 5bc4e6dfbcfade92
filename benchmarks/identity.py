"""Whether two versions of Whence make the same bytes: every kind of artefact, by the commands alone.

python benchmarks/identity.py write old.json --work runs/identity-old      # with the old version installed
python benchmarks/identity.py compare old.json --work runs/identity-new    # with the new one

The commands are those of the README, on few images and few steps. Hashes are of every file that they write, but for
pages, which hold wording, and of manifests without their environment and facts, which hold versions and times. It takes
about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import whence

METHODS = (
    *("tangent", "d-trak", "trak", "journey-trak", "journey-trak-steps", "das", "das-squared", "relative-if"),
    *("renormalised-if", "gradient-dot", "gradient-cosine", "tracin-cp", "gas", "tracin", "retrac"),
    *("d-trak-checkpoints", "pixel", "pixel-dot", "pixel-cosine", "pixel-kernel", "pixel-flips"),
)
#: Pages and pictures of pages; their wording and layout may change.
PAGES = (".html", ".svg", ".md", ".lock")


def commands(work: Path, bank: Path) -> list[list[str]]:
    """The commands, in order; each is a list of arguments of `whence`."""
    data, single, ensemble = str(bank / "data"), work / "single", work / "ens"
    methods = [argument for name in METHODS for argument in ("--method", name)]
    (work / "flip.toml").write_text("[training]\nflip = true\nbatch_size = 32\n[sampler]\nsteps = 10\n")
    steps = ["--steps", "100", "--config", str(work / "flip.toml")]
    few = ["--queries", "sample:3", "--draws", "16", "--width", "256"]
    subsets = ["--subsets", "4", "--seeds", "2", "--development", "2", "--deterministic", "2"]
    sizes = ["--held-out", "digits:test", "--held-out-count", "4", "--drawn", "4", "--draws", "8", "--models", "2"]
    study = ["--unit-column", "contributor", "--coalitions", "80", "--pictures", "8", "--steps", "2"]
    behaviours = [argument for name in ("diversity", "held-out-fit", "coverage") for argument in ("--behaviour", name)]
    rows = [
        ["train", "digits", "--out", single, "--unit-column", "contributor", *steps],
        ["attribute", bank / "models/0", data, "--out", work / "scores-bank", *few, *methods],
        ["attribute", single, "digits", "--unit-column", "contributor", "--out", work / "scores", *few, *methods],
        ["export", work / "scores/d-trak", "--to", work / "d-trak.csv", "--top", "10"],
        ["ensemble", "codebook", "--units", "20", "--remove", "1"],
        ["ensemble", "train", data, "--members", "12", "--out", ensemble, *steps],
        ["ensemble", "sample", ensemble, "--count", "4"],
        ["ensemble", "sample", ensemble, "--count", "4", "--without", "17", "--method", "ddim", "--steps", "10"],
        ["ensemble", "ablate", ensemble, "--sample", "0/1", "--unit", "17"],
        ["ensemble", "losses", ensemble, "--queries", "0/0-2", "--draws", "8"],
        ["ensemble", "losses", ensemble, "--queries", str(bank / "queries"), "--draws", "8"],
        ["ensemble", "screen", ensemble, "--sample", "0/1"],
        ["ensemble", "landscape", ensemble, "--samples", "0/0-1", "--placebos", "5"],
        ["ensemble", "root", ensemble],
        ["ensemble", "certify", ensemble, "--sample", "0/1", "--without", "17", "--out", work / "cert.json"],
        ["verify", work / "cert.json", "--run", ensemble],
        ["ensemble", "export", ensemble, work / "ens.ctf"],
        ["attribute", ensemble, data, "--out", work / "scores-ens", *few, "--method", "d-trak"],
        ["bank", "build", data, "--examples", "60", "--out", work / "bank", "--steps", "20", *subsets, *sizes],
        ["attribute", work / "bank/models/0", work / "bank/data", "--queries", work / "bank/queries"]
        + ["--out", work / "scores-small", "--draws", "16", "--method", "trak", "--method", "pixel"],
        ["evaluate", "lds", work / "scores-small", "--bank", work / "bank", "--out", work / "lds.json"],
        ["evaluate", "deletion", work / "scores-small/trak", "--bank", work / "bank", "--top", "5", "--count", "2"],
        ["credit", "compute", single, "digits", *study, "--held-out", work / "bank/queries", *behaviours]
        + ["--estimator", "shapley", "--estimator", "leave-one-out", "--estimator", "owen", "--out", work / "credit"],
        ["credit", "audit", work / "credit", "--names", "3"],
        ["credit", "compute", work / "scores", "--out", work / "credit-scores"],
        ["ensemble", "train", "digits", "--unit-column", "contributor", "--members", "8", "--out", work / "ens-credit"]
        + steps,
        [
            "credit",
            "compute",
            work / "ens-credit",
            "--queries",
            "sample:2",
            "--draws",
            "8",
            "--out",
            work / "credit-ens",
        ],
    ]
    return [[str(argument) for argument in row] for row in rows]


def run(work: Path) -> None:
    """Run all commands in a new folder.

    Raises:
        SystemExit: One of them failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    bank = next(Path(whence.__file__).parent.glob("**/shipped/digits"))
    for row in commands(work, bank):
        print("whence", *row[:3], "...", flush=True)
        program = [sys.executable, "-c", "from whence.cli.app import main; main()", *row]
        ended = subprocess.run(program, check=False, capture_output=True, text=True, env=dict(os.environ))
        if ended.returncode:
            sys.exit(f"{ended.stdout}\n{ended.stderr}\nfailed: whence {' '.join(row)}")


def hashes(work: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path; of a manifest without environment and facts."""
    found = {}
    for file in sorted(work.rglob("*")):
        if not file.is_file() or file.suffix in PAGES or file.name.endswith(".lock"):
            continue
        content = file.read_bytes()
        if file.name == "manifest.json":
            raw = json.loads(content)
            kept = {name: value for name, value in raw.items() if name not in ("environment", "facts")}
            content = json.dumps(kept, sort_keys=True).encode()
        found[str(file.relative_to(work))] = hashlib.sha256(content).hexdigest()
    return found


def main() -> None:
    """Write the hashes, or compare them with those that were written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    run(given.work)
    now = hashes(given.work)
    if given.action == "write":
        given.file.write_text(json.dumps(now, indent=1) + "\n")
        print(f"{len(now)} files.")
        return
    before = json.loads(given.file.read_text())
    different = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    for name in different[:40]:
        state = "changed" if name in before and name in now else "missing" if name in before else "new"
        print(f"{state}: {name}")
    print(f"{len(before)} files before, {len(now)} now, {len(different)} differ.")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()

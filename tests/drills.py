"""Drills: long commands are killed, run out of disk, meet a read-only folder and a second writer; nothing may be lost.

python tests/drills.py --kills 20 --table drills.md       # about an hour on two cores

Each command of `COMMANDS` runs once undisturbed. Then it is killed with SIGKILL, all its processes at once, at random
moments, and continued by the same command. It must end with the bytes of the undisturbed run, and no attempt may print
a traceback.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

CONFIG = """[model]
channels = [8]
groups = 4
attention = 0
[training]
steps = 6
batch_size = 8
warmup = 1
save_every = 1
checkpoints = 2
[sampler]
method = "ddim"
steps = 3
batch_size = 4
"""
#: Settings of adapters.
ADAPTERS = """[adapter]
rank = 2
[training]
steps = 6
batch_size = 3
warmup = 1
save_every = 1
checkpoints = 2
[sampler]
method = "ddim"
steps = 3
batch_size = 4
clip = false
"""
#: Settings of networks of latents that take captions.
WIDER = ("channels = [8]\ngroups = 4\nattention = 0", "channels = [8, 16]\nattention = 8")
LATENTS = CONFIG.replace(*WIDER) + "clip = false\n"
DRAWN = "--prompt picture --prompt paint --guidance 2"
#: What the commands need, made once: name and arguments. DATA, CONFIG and paths are in the working folder.
NEEDED = (
    "train data --config c.toml --unit-column label --out run",
    "ensemble train data --config c.toml --unit-column label --members 6 --out ens",
    "ensemble sample ens --count 4",
    "bank build data --config c.toml --examples 20 --subsets 3 --seeds 1 --development 1 --deterministic 0 --models 1 "
    "--held-out other --held-out-count 2 --drawn 2 --draws 4 --out bank",
    "attribute bank/models/0 bank/data --queries bank/queries --draws 8 --method trak --out scores-bank",
    "train colour --base sd --config a.toml --unit-column artist --out lora",
    "ensemble train colour --base sd --config a.toml --unit-column artist --members 4 --out adapters",
    f"ensemble sample adapters --count 4 {DRAWN}",
)
#: The long commands of the README and of text-to-image models: a name, the arguments, and what they write.
COMMANDS = {
    "train": ("train data --config c.toml --unit-column label --out new", ("new",)),
    "ensemble train": ("ensemble train data --config c.toml --unit-column label --members 6 --out new", ("new",)),
    "ensemble sample": ("ensemble sample ens --count 8 --seed 1", ("ens",)),
    "ensemble ablate": ("ensemble ablate ens --sample 0/1 --unit 3", ("ens",)),
    "ensemble losses": ("ensemble losses ens --queries 0/0-3 --draws 8", ("ens",)),
    "ensemble landscape": ("ensemble landscape ens --samples 0/0-1 --placebos 4", ("ens",)),
    "attribute": ("attribute run data --unit-column label --queries sample:2 --draws 8 --out new", ("new",)),
    "attribute --method ek-fac": (
        "attribute run data --unit-column label --queries sample:2 --draws 8 --method ek-fac --out new",
        ("new",),
    ),
    "attribute --method metagradient": (
        "attribute run data --unit-column label --queries sample:2 --draws 8 --method metagradient --out new",
        ("new",),
    ),
    "index": ("index scores-bank/trak --out new", ("new",)),
    "bank build": (NEEDED[3].replace("--out bank", "--out new"), ("new",)),
    "evaluate deletion": ("evaluate deletion scores-bank/trak --bank bank --top 3 --count 2", ("bank",)),
    "credit compute": (
        "credit compute run data --unit-column label --coalitions 24 --pictures 6 --steps 2 --out new",
        ("new",),
    ),
    "train --base": ("train colour --base sd --config a.toml --unit-column artist --out new", ("new",)),
    "attribute --adapter": (
        f"attribute sd colour --adapter lora --queries sample:2 --sampler-steps 3 {DRAWN} --draws 8 --out new",
        ("new",),
    ),
    "ensemble train --base": (
        "ensemble train colour --base sd --config a.toml --unit-column artist --members 4 --out new",
        ("new",),
    ),
    "ensemble sample --prompt": (f"ensemble sample adapters --count 8 --seed 1 {DRAWN}", ("adapters",)),
    "ensemble losses of adapters": ("ensemble losses adapters --queries 0/0-3 --draws 8", ("adapters",)),
    "bank build --base": (
        "bank build colour --base sd --config a.toml --subsets 3 --seeds 1 --development 1 --models 1 --held-out odd "
        f"--held-out-count 2 --drawn 2 --draws 4 {DRAWN} --out new",
        ("new",),
    ),
    "ensemble losses --combine weights": (
        "ensemble losses adapters --queries 0/0-1 --draws 4 --combine weights",
        ("adapters",),
    ),
    "train --autoencoder --text-encoder": (
        "train colour --autoencoder sd --text-encoder sd --config t.toml --out new",
        ("new",),
    ),
    "train --base, sampled latents": ("train colour --base sd --config s.toml --out new", ("new",)),
    "credit compute of an adapter": (
        f"credit compute lora colour --unit-column artist --queries sample:2 --draws 8 {DRAWN} --out new",
        ("new",),
    ),
    "ensemble export --format lora": (
        "ensemble export adapters --without anna --format lora new/opt-out.safetensors",
        ("new",),
    ),
}


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: its exit code (negative: the signal), what it printed, and its seconds."""

    code: int
    text: str
    seconds: float


def start(work: Path, command: str, limit: int | None = None, bound: bool = False) -> tuple[int, Path]:
    """Start `whence COMMAND` in a process group of its own, forked after the slow imports; its id and its output."""
    output = work.parent / f"{work.name}.{random.random()}.log"
    child = os.fork()
    if child:
        return child, output
    code = 1
    try:
        os.setsid()
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        # pytest has put files of its own in their place, into which the child's words would go.
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        warnings.resetwarnings()  # under pytest a warning is an error
        os.chdir(work)
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if bound:
            _obey_permissions()
        sys.argv = ["whence", *command.split()]
        from whence.cli.app import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _obey_permissions() -> None:
    """Give up the right of root to write where permissions forbid it (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert libc.capset(header, sets) == 0


def wait(child: int, output: Path, seconds: float | None = None) -> Ended:
    """Wait for the end of an attempt; after `seconds`, kill all its processes."""
    begun = time.perf_counter()
    status = None
    while status is None:
        ended, found = os.waitpid(child, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(found)
        elif seconds is not None and time.perf_counter() - begun > seconds:
            os.killpg(child, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        else:
            time.sleep(0.005)
    return Ended(status, output.read_text(errors="replace"), time.perf_counter() - begun)


def run(work: Path, command: str, seconds: float | None = None, limit: int | None = None, bound: bool = False) -> Ended:
    """Run a command to its end, or kill it after `seconds`."""
    return wait(*start(work, command, limit, bound), seconds)


def made(work: Path, folders: tuple[str, ...]) -> dict[str, str]:
    """Hashes of all files below some folders."""
    from identity import hashes

    return {f"{name}/{file}": value for name in folders for file, value in hashes(work / name).items()}


@dataclass(frozen=True)
class Drill:
    """A command with the folder of what it needs, and what it makes undisturbed.

    Attributes:
        needed: The folder of what the commands need.
        name: The name of the command.
    """

    needed: Path
    name: str

    @property
    def command(self) -> str:
        """The arguments."""
        return COMMANDS[self.name][0]

    @contextmanager
    def work(self) -> Iterator[Path]:
        """A new working folder."""
        path = self.needed.parent / f"work-{self.name.replace(' ', '-')}"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.needed, path)
        yield path
        shutil.rmtree(path)

    def undisturbed(self) -> tuple[dict[str, str], float]:
        """Hashes of what the command makes, and its seconds."""
        with self.work() as work:
            ended = run(work, self.command)
            assert ended.code == 0, ended.text
            return made(work, COMMANDS[self.name][1]), ended.seconds

    def same(self, work: Path, expected: dict[str, str]) -> int:
        """Continue to the end, and count the files that are not those of the undisturbed run."""
        ended = run(work, self.command)
        assert ended.code == 0, ended.text
        files = made(work, COMMANDS[self.name][1])
        return sum(files.get(name) != expected.get(name) for name in {*files, *expected})


@dataclass
class Result:
    """What a drill found."""

    attempts: int = 0
    changed: int = 0
    tracebacks: int = 0

    def add(self, ended: Ended) -> None:
        """Count an attempt."""
        self.attempts += 1
        self.tracebacks += "Traceback" in ended.text


def kills(drill: Drill, count: int, seed: int = 0) -> Result:
    """Kill the command `count` times at random moments; where it comes to its end, begin anew."""
    expected, seconds = drill.undisturbed()
    source, result = random.Random(seed), Result()
    while result.attempts < count:
        with drill.work() as work:
            while result.attempts < count:
                ended = run(work, drill.command, source.uniform(0, seconds))
                if ended.code == 0:
                    break
                assert ended.code == -signal.SIGKILL, ended.text
                result.add(ended)
            result.changed += drill.same(work, expected)
    return result


def full_disk(drill: Drill) -> Result:
    """Let no file grow beyond a limit, from small to large; then continue without a limit."""
    expected, _ = drill.undisturbed()
    result = Result()
    with drill.work() as work:
        for limit in (0, 200, 2_000, 20_000):
            ended = run(work, drill.command, limit=limit)
            result.add(ended)
            assert ended.code in (0, 1), ended.text
        result.changed += drill.same(work, expected)
    return result


def read_only(drill: Drill) -> Result:
    """Run in a folder where nothing can be written; then continue where it can."""
    expected, _ = drill.undisturbed()
    result = Result()
    with drill.work() as work:
        for path in (work, *work.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        ended = run(work, drill.command, bound=True)
        for path in (work, *work.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        result.add(ended)
        assert ended.code == 1, ended.text
        result.changed += drill.same(work, expected)
    return result


def two_writers(drill: Drill) -> Result:
    """Start the command twice at once."""
    expected, _ = drill.undisturbed()
    result = Result()
    with drill.work() as work:
        for ended in [wait(*attempt) for attempt in [start(work, drill.command) for _ in range(2)]]:
            result.add(ended)
            assert ended.code == 0 or "Error: " in ended.text, ended.text
        result.changed += drill.same(work, expected)
    return result


OTHERS: dict[str, Callable[[Drill], Result]] = {
    "disk full": full_disk,
    "read-only": read_only,
    "two writers": two_writers,
}


def preload() -> None:
    """Import what the commands import, once, before they are forked."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    import whence.diffusion.model  # noqa: F401

    torch.set_num_threads(1)


def prepare(folder: Path) -> Path:
    """Make what the commands need."""
    import numpy as np
    from PIL import Image

    needed = folder / "needed"
    for n in range(28):
        path = needed / ("data" if n < 24 else "other") / str(n % 6) / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    (needed / "c.toml").write_text(CONFIG)
    prepare_adapters(needed)
    for command in NEEDED:
        ended = run(needed, command)
        assert ended.code == 0, f"whence {command}\n{ended.text}"
    return needed


def prepare_adapters(needed: Path) -> None:
    """Make a small Stable Diffusion pipeline, and captioned pictures of three artists and of none."""
    import numpy as np
    from PIL import Image

    sys.path.insert(0, str(Path(__file__).parent))
    from pipelines import stable_diffusion

    stable_diffusion(needed / "sd")
    sampled = ADAPTERS.replace("save_every = 1", 'save_every = 1\nflip = true\nlatents = "sample"')
    for file, text in {"a.toml": ADAPTERS, "s.toml": sampled, "t.toml": LATENTS}.items():
        (needed / file).write_text(text)
    for name, numbers in {"colour": range(12), "odd": range(12, 14)}.items():
        (needed / name).mkdir()
        rows = ["file_name,text,artist"]
        for n in numbers:
            pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(needed / name / f"{n}.png")
            rows.append(f"{n}.png,picture {n % 3},{('anna', 'ben', 'cleo', 'dora')[n % 4]}")
        (needed / name / "metadata.csv").write_text("\n".join(rows) + "\n")


def main() -> None:
    """Run all drills and write their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--only", choices=COMMANDS, action="append")
    given = parser.parse_args()
    preload()

    needed = given.work / "needed" if (given.work / "needed").exists() else prepare(given.work)
    lines = ["| Command | Drill | Attempts | Files that changed | Tracebacks |", "|---|---|---|---|---|"]
    for name in given.only or COMMANDS:
        drill = Drill(needed, name)
        results = {"kill -9": kills(drill, given.kills), **{other: test(drill) for other, test in OTHERS.items()}}
        for kind, result in results.items():
            lines.append(f"| `{name}` | {kind} | {result.attempts} | {result.changed} | {result.tracebacks} |")
            print(lines[-1], flush=True)
        given.table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""What a landscape costs, against the largest batch of the same member and against one ablation after another.

All in one process with one thread, in one run, interleaved and repeated; figures are medians of the repeats. Every call
of a denoiser on one picture counts as one, padding does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import recipes
import torch
from figures import write_figures

from whence.diffusion.sampling import draw
from whence.engine import Engine, one_thread
from whence.ensemble.make_landscape import drawing_tasks, plan_landscapes
from whence.ensemble.model import MeanPrediction

LARGE = 1024


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    given.add_argument("--units", type=int, default=1500, choices=recipes.SIZES)
    given.add_argument("--steps", type=int, default=5, help="sampling steps of a repeat; a call costs the same in each")
    given.add_argument("--repeats", type=int, default=5)
    asked = given.parse_args()
    ensemble = recipes.law(asked.units)
    plans = plan_landscapes(ensemble, "0/0-1", 200)
    rows = drawing_tasks(ensemble, {plan.path: plan for plan in plans}, engine=Engine(1))[0].arguments["files"]
    trajectories = [one for _, inside in rows for one in inside]
    sampler = plans[0].sampler.model_copy(update={"steps": asked.steps})
    members, model = ensemble.open_members(), ensemble.reference_model
    x, t = torch.randn(LARGE, *model.size), torch.full((LARGE,), 500)

    def landscape() -> float:
        predict = MeanPrediction(members, [one.members for one in trajectories], sampler.batch_size)
        names = [(one.seed, one.index) for one in trajectories]
        calls = asked.steps * sum(len(one.members) for one in trajectories)
        return timed(lambda: draw(predict, model, sampler, names)) / calls

    def large() -> float:
        with torch.inference_mode():
            return timed(lambda: members.networks[0](x, t)) / LARGE

    def alone() -> float:
        one = trajectories[1]
        predict = MeanPrediction(members, [one.members], 1)
        return timed(lambda: draw(predict, model, sampler, [(one.seed, one.index)])) / (asked.steps * len(one.members))

    times: dict[str, list[float]] = {"landscape": [], "large": [], "alone": []}
    with one_thread():
        for repeat in range(asked.repeats + 1):
            for name, work in (("landscape", landscape), ("large", large), ("alone", alone)):
                seconds = work()
                if repeat:
                    times[name].append(seconds)
    each = {name: statistics.median(seconds) * 1e6 for name, seconds in times.items()}
    throughput, faster = each["large"] / each["landscape"], each["alone"] / each["landscape"]
    print(f"{len(trajectories):,} trajectories together, canonical batch {sampler.batch_size}, per call of a denoiser:")
    print(f"  landscape                   {each['landscape']:7.1f} us")
    print(f"  one batch of {LARGE:,}          {each['large']:7.1f} us: throughput {throughput:.3f} of it")
    print(f"  one ablation after another  {each['alone']:7.1f} us: the landscape is {faster:.1f} times faster")
    write_figures("landscape-cost", {"microseconds": each, "throughput": throughput, "faster": faster})


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

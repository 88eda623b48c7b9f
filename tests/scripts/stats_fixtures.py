"""Golden numbers for spar_stats, written to tests/fixtures/stats/stats.json.

Run from the repository's root in a private environment with
    numpy==2.4.6 scipy==1.17.1 rliable==1.2.0 pandas<3   (arch 7.2 wants the last)

Four kinds of numbers:
- numpy's own mean, std and quantile, scipy's trimmed mean;
- everything rliable computes on resamples it shares with the Rust code: its
  bootstraps get their indices from an independent implementation of spar's
  random stream, so that the two must agree up to rounding;
- rliable's stratified bootstrap as it is. It draws from numpy's generator, so
  ends of intervals agree only up to Monte Carlo error; the test's tolerance
  says so;
- the hierarchical paired bootstrap written a second time, on the same stream.
"""

import contextlib
import hashlib
import json
import pathlib

import numpy as np
import scipy.stats
from rliable import library, metrics

MASK = (1 << 64) - 1


class Stream:
    """spar_core::Stream: SHA-256("spar" | seed, little-endian | name) seeds xoshiro256++."""

    def __init__(self, seed, name):
        digest = hashlib.sha256(b"spar" + seed.to_bytes(8, "little") + name.encode()).digest()
        self.s = [int.from_bytes(digest[i : i + 8], "little") for i in range(0, 32, 8)]

    def next(self):
        def rotl(x, k):
            return ((x << k) | (x >> (64 - k))) & MASK

        s = self.s
        out = (rotl((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        return out

    def index(self, n):
        return (self.next() * n) >> 64


def quantiles(values, confidence):
    tail = (1 - confidence) / 2
    return [float(x) for x in np.quantile(values, [tail, 1 - tail])]


def hierarchical(tasks, seed, resamples, confidence):
    """tasks[t][s] = (method scores, anchor scores), one score per episode."""
    stream = Stream(seed, "bootstrap")
    diffs = [[np.subtract(*pair) for pair in pairs] for pairs in tasks]
    found = np.empty((resamples, len(tasks)))
    for b in range(resamples):
        for t, runs in enumerate(diffs):
            drawn = []
            for _ in runs:
                run = runs[stream.index(len(runs))]
                drawn.append(np.mean([run[stream.index(len(run))] for _ in run]))
            found[b, t] = np.mean(drawn)
    point = [float(np.mean([run.mean() for run in runs])) for runs in diffs]
    return {
        "seed": seed,
        "resamples": resamples,
        "confidence": confidence,
        "tasks": [[{"method": m, "anchor": a} for m, a in pairs] for pairs in tasks],
        "value": float(np.mean(point)),
        "interval": quantiles(found.mean(axis=1), confidence),
        "task_values": point,
        "task_intervals": [quantiles(found[:, t], confidence) for t in range(len(tasks))],
    }


@contextlib.contextmanager
def sharing(seed):
    """rliable draws from spar's stream: one method after the other, each task after task."""
    stream = Stream(seed, "bootstrap")

    def draw(shape):
        runs, tasks = shape
        return np.array([[stream.index(runs) for _ in range(runs)] for _ in range(tasks)]).T

    def one(self):
        return (draw(self._args_shape), *self._strata_indices)

    def several(self):
        shapes = zip(self._args_shapes, self._args_strata_indices)
        return [(draw(shape), *strata) for shape, strata in shapes], {}

    kinds = [library.StratifiedBootstrap, library.StratifiedIndependentBootstrap]
    own = [kind.update_indices for kind in kinds]
    for kind, update in zip(kinds, [one, several]):
        kind.update_indices = update
    try:
        yield
    finally:
        for kind, update in zip(kinds, own):
            kind.update_indices = update


AGGREGATES = {
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "iqm": metrics.aggregate_iqm,
    "optimality_gap": lambda x: metrics.aggregate_optimality_gap(x, gamma=GAMMA),
}
GAMMA = 60.0  # cuts into the scores below


def estimate(point, interval):
    return {"value": float(point), "interval": [float(x) for x in interval]}


def rliables(x, y, levels, resamples, seed):
    """All that rliable has to say of two methods, runs x tasks each."""
    found = {}
    names = list(AGGREGATES)
    with sharing(seed) if seed is not None else contextlib.nullcontext():
        point, interval = library.get_interval_estimates(
            {"x": x}, lambda x: np.array([AGGREGATES[n](x) for n in names]), reps=resamples["all"]
        )
    for i, name in enumerate(names):
        found[name] = estimate(point["x"][i], interval["x"][:, i])
    with sharing(seed) if seed is not None else contextlib.nullcontext():
        point, interval = library.get_interval_estimates(
            {"x,y": (x, y)},
            lambda x, y: np.array([metrics.probability_of_improvement(x, y)]),
            reps=resamples["pairs"],
        )
    found["improvement"] = estimate(point["x,y"][0], interval["x,y"][:, 0])
    with sharing(seed) if seed is not None else contextlib.nullcontext():
        point, interval = library.create_performance_profile(
            {"x": x}, np.array(levels), reps=resamples["all"]
        )
    found["profile"] = [estimate(p, interval["x"][:, i]) for i, p in enumerate(point["x"])]
    average = library.average_score_distributions(x, np.array(levels))
    found["average_profile"] = [float(p) for p in average]
    return found


def main():
    rng = np.random.default_rng(20_260_527)
    sample = np.round(rng.normal(40, 25, 23), 4)
    levels = [0.0, 0.025, 0.1, 0.33, 0.5, 0.75, 0.975, 1.0]
    basics = {
        "values": sample.tolist(),
        "mean": float(np.mean(sample)),
        "std0": float(np.std(sample)),
        "std1": float(np.std(sample, ddof=1)),
        "levels": levels,
        "quantiles": [float(np.quantile(sample, q)) for q in levels],
        "iqm": float(scipy.stats.trim_mean(sample, 0.25)),
    }

    def draw(bias, runs, episodes):
        pairs = []
        for _ in range(runs):
            state = rng.normal(0, 10, episodes)
            anchor = 30 + state + rng.normal(0, 5, episodes)
            method = 30 + bias + state + rng.normal(0, 8) + rng.normal(0, 5, episodes)
            pairs.append((np.round(method, 4).tolist(), np.round(anchor, 4).tolist()))
        return pairs

    paired = hierarchical(
        [draw(12, 3, 5), draw(-2, 1, 7), draw(4, 2, 4)], seed=11, resamples=2000, confidence=0.95
    )

    scores = np.round(rng.normal(50, 20, (5, 9)) + np.arange(9) * 4, 4)  # runs x tasks
    # Ties within and between the methods, unequal numbers of runs.
    other = np.round(rng.normal(55, 20, (3, 9)) + np.arange(9) * 3, 4)
    other[0, :3] = scores[1, :3]
    other[:, 4] = scores[:3, 4]
    levels = [-5.0, 20.0, 45.5, float(scores[2, 2]), 60.0, 77.25, 120.0]
    shared = {"all": 2000, "pairs": 500}
    many = {"all": 200_000, "pairs": 20_000}
    np.random.seed(1)  # what rliable draws from when it is left alone
    rliable = {
        "x_by_task": scores.T.tolist(),
        "y_by_task": other.T.tolist(),
        "levels": levels,
        "gamma": GAMMA,
        "seed": 7,
        "resamples": shared,
        "shared": rliables(scores, other, levels, shared, 7),
        "alone": rliables(scores, other, levels, many, None),
    }

    out = pathlib.Path("tests/fixtures/stats/stats.json")
    fixture = {"basics": basics, "paired": paired, "rliable": rliable}
    out.write_text(json.dumps(fixture, indent=1) + "\n")


if __name__ == "__main__":
    main()

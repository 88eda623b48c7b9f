"""Golden numbers for spar_eval::stats, written to tests/fixtures/stats/stats.json.

Run from the repository's root in a private environment with
    numpy==2.4.6 scipy==1.17.1 rliable==1.2.0 pandas<3   (arch 7.2 wants the last)

Three kinds of numbers:
- numpy's own mean, std and quantile, scipy's trimmed mean;
- rliable's stratified bootstrap. It draws from numpy's generator, so ends of
  intervals agree only up to Monte Carlo error; the test's tolerance says so;
- the hierarchical paired bootstrap written a second time, on an independent
  implementation of spar's random stream (xoshiro256++ seeded by SHA-256), so
  that the Rust one must agree draw for draw.
"""

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
    rliable = {"scores_by_task": scores.T.tolist(), "resamples": 200_000}
    for name, func in [("mean", metrics.aggregate_mean), ("iqm", metrics.aggregate_iqm)]:
        np.random.seed(1)  # rliable draws from numpy's global generator
        point, interval = library.get_interval_estimates(
            {"x": scores}, lambda x: np.array([func(x)]), reps=200_000
        )
        rliable[name] = {
            "value": float(point["x"][0]),
            "interval": [float(x) for x in interval["x"][:, 0]],
        }

    out = pathlib.Path("tests/fixtures/stats/stats.json")
    fixture = {"basics": basics, "paired": paired, "rliable": rliable}
    out.write_text(json.dumps(fixture, indent=1) + "\n")


if __name__ == "__main__":
    main()

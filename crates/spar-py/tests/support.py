"""What the scripts of checks share: a small data set, and how checks are run."""

import sys
import tempfile
import time
import warnings
from pathlib import Path

import h5py
import numpy as np

import spar

BOUNDS = [(-40.0, 40.0), (-1.0, 2.0)]


def raises(kind, facts, call):
    """The error of ``call``: one line with all of ``facts``."""
    try:
        got = call()
    except kind as error:
        said = str(error)
        assert "\n" not in said and all(fact in said for fact in facts), (facts, said)
        return
    raise AssertionError(f"{facts}: no {kind.__name__}, but {got!r}")


def arrays(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(rows, 3)).astype(np.float32)
    ends = np.arange(rows) % 50 == 49
    return {
        "observations": obs,
        "actions": np.tanh(obs[:, :2] + 0.1 * rng.normal(size=(rows, 2))).astype(np.float32),
        "rewards": (-np.abs(obs[:, 0])).astype(np.float32),
        "terminals": ends & (rng.random(rows) < 0.5),
        "timeouts": ends,
    }


def data(**changes):
    return spar.Dataset.from_arrays(**(arrays() | changes))


def trained(method="td3bc", updates=15, dataset=None, **settings):
    return spar.train(dataset or data(), method, updates=updates, **settings)


def h5(path, columns, **metadata):
    with h5py.File(path, "w") as out:
        for name, values in columns.items():
            out[name] = values
        for name, value in metadata.items():
            out["metadata/" + name] = value
    return path


def run(checks):
    """Runs the functions of a script that begin with no ``_``, each with what it asks for: a
    folder of its own, or the first argument of the script. A note on data that nobody asked
    for is an error.
    """
    warnings.simplefilter("error", UserWarning)
    for name, check in list(checks.items()):
        if name.startswith("_") or getattr(check, "__module__", None) != "__main__":
            continue
        began = time.monotonic()
        names = check.__code__.co_varnames[: check.__code__.co_argcount]
        with tempfile.TemporaryDirectory() as folder:
            given = {"folder": Path(folder), "file": sys.argv[-1]}
            check(*(given[name] for name in names))
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)

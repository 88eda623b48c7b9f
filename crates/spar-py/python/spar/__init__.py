"""Train, evaluate and deploy offline-RL policies from logged data.

>>> import numpy as np, spar
>>> rng = np.random.default_rng(0)
>>> obs = rng.normal(size=(400, 3))
>>> actions = np.tanh(-obs[:, :2])
>>> ends = np.arange(400) % 50 == 49
>>> data = spar.Dataset.from_arrays(obs, actions, -np.abs(obs[:, 0]), np.zeros(400), timeouts=ends)
>>> data
<spar.Dataset arrays: 400 rows, observations of 3 numbers, actions of 2>
>>> policy = spar.train(data, "td3bc", updates=20, seed=0)
>>> policy
<spar.Policy of td3bc: 3 numbers in, 2 out>
>>> policy.act(obs[:5]).shape
(5, 2)

``spar.load`` reads the file of a policy, ``spar.evaluate`` plays it in a gymnasium
environment, ``spar.stats`` has rliable's statistics, ``spar.methods`` and ``spar.settings``
say what ``spar.train`` takes.

One training is one thread: several go side by side in processes. For that, this package sets
``RAYON_NUM_THREADS`` to 1 if nobody has set it, as the program ``spar`` does for itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Sequence

# Read when the first tensor is computed with; more threads than one spin while they wait.
os.environ.setdefault("RAYON_NUM_THREADS", "1")

from spar import _spar, stats
from spar._evaluate import evaluate
from spar._spar import Dataset, Policy, Stopped, load, methods, settings

if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "Dataset",
    "Policy",
    "Stopped",
    "evaluate",
    "load",
    "methods",
    "settings",
    "stats",
    "train",
]

# Data files are opened by another process first: no file need be trusted.
if sys.executable and _spar.__file__:
    _spar.rehearse_in(sys.executable, _spar.__file__)


def train(
    dataset: Dataset,
    method: str,
    *,
    out: str | PathLike[str] | None = None,
    seed: int = 0,
    updates: int | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    every: int = 500,
    held_out: float | None = None,
    horizon: int | None = None,
    action_bounds: Sequence[tuple[float, float]] | None = None,
    final_episodes: int = 10,
    eval_seed: int = 42,
    **settings: Any,
) -> Policy:
    """Train a policy; a function of the data, the method, the settings and ``seed``, bit for
    bit on one machine.

    ``method`` is one of ``spar.methods()``. ``updates`` is how many its own networks get,
    ``settings`` are its hyper-parameters by the names of ``spar.settings(method)``, which are
    those of ``spar train --set``. One with a dot is an entry of a dict, two underscores, or
    a dict: ``critic={"expectile": 0.9}`` and ``critic__expectile=0.9`` are the same.

    Without ``out`` everything happens in memory. With it, that folder becomes a run as
    ``spar train`` makes one: log, TensorBoard events, learning curve, checkpoints, policy; if
    it holds an unfinished run of the same data, method, settings and seed, that is resumed, to
    the bit, and a finished one is read.

    ``callback`` is called after every ``every`` updates of a phase and after its last, with a
    dict: ``phase``, ``done`` and ``total`` updates, ``updates_per_s``, and the method's losses.
    If it returns False, training stops: in memory the policy of that moment is returned, in a
    folder the checkpoint is written and ``spar.Stopped`` raised. What it raises stops training
    too, as Ctrl-C does. Other threads of Python go on meanwhile.

    Data that name an environment (``spar.Dataset(..., env="hopper")``) give a policy for it; in
    a folder, the last policy plays ``final_episodes`` of it, which needs MuJoCo (``spar
    setup``). From other data, ``held_out`` is the part of the episodes that is kept from
    training (0; ``spar train`` keeps 0.1), ``horizon`` the steps after which an episode without
    flags counts as cut (the data's own ``horizon``, if it is not given), and ``action_bounds``
    what actions are scaled by. ``eval_seed`` decides
    the episodes that are played, or held out.

    >>> import numpy as np, spar
    >>> obs = np.random.default_rng(1).normal(size=(300, 2))
    >>> data = spar.Dataset.from_arrays(obs, np.tanh(obs), obs[:, 0], np.zeros(300))
    >>> seen = []
    >>> def look(row):
    ...     seen.append((row["phase"], row["done"], row["total"]))
    ...     return row["done"] < 20
    >>> policy = spar.train(data, "iql", updates=1000, callback=look, every=10, beta=10)
    >>> seen
    [('method', 10, 1000), ('method', 20, 1000)]
    >>> policy.updates
    20
    >>> spar.train(data, "iql", updates=1000, bata=10)
    Traceback (most recent call last):
    ...
    ValueError: hyper-parameters: ...
    """
    return _spar.train(
        dataset,
        method,
        out,
        seed,
        updates,
        settings,
        callback,
        every,
        held_out,
        horizon,
        action_bounds,
        final_episodes,
        eval_seed,
    )

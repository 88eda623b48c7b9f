"""Statistics of scores over tasks and training runs: rliable's (Agarwal et al., 2021).

Scores are an array ``[runs, tasks]``, as rliable has them; or a mapping from a task to the
scores of its runs, of which there may be unequally many; or the scores of one task.

>>> from spar import stats
>>> ours = {"hopper": [96.6, 93.1, 99.0], "walker2d": [48.0, 70.2, 71.9]}
>>> stats.iqm(ours)
82.95
>>> found = stats.interval(ours, "mean", resamples=2000)
>>> found.low <= found.value <= found.high
True
>>> stats.probability_of_improvement(ours, {"hopper": [90, 91], "walker2d": [70, 71]})
0.75

Intervals are stratified percentile bootstraps: runs are drawn within their task. They are a
function of the scores and of ``seed``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence, Union

import numpy as np

from spar import _spar

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate",
    "improvement_interval",
    "interval",
    "iqm",
    "mean",
    "median",
    "optimality_gap",
    "paired_difference",
    "probability_of_improvement",
    "profile",
    "profile_band",
]

Scores = Union["ArrayLike", Mapping[Any, Sequence[float]]]


class Estimate(NamedTuple):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


def iqm(scores: Scores) -> float:
    """Interquartile mean: the mean of all scores without the lowest and the highest quarter.

    >>> iqm([[1, 2], [3, 4], [5, 6], [7, 8]])
    4.5
    """
    return _spar.aggregate(_tasks(scores), "iqm", 1.0)


def mean(scores: Scores) -> float:
    """Mean over tasks of the task's mean.

    >>> mean({"a": [1, 3], "b": [10]})
    6.0
    """
    return _spar.aggregate(_tasks(scores), "mean", 1.0)


def median(scores: Scores) -> float:
    """Median over tasks of the task's mean.

    >>> median({"a": [1, 3], "b": [10], "c": [4, 5]})
    4.5
    """
    return _spar.aggregate(_tasks(scores), "median", 1.0)


def optimality_gap(scores: Scores, gamma: float = 1.0) -> float:
    """By how much scores fall short of ``gamma`` in the mean, what lies above counted as
    ``gamma``: 1 for scores in parts of an expert's, 100 for D4RL's.

    >>> optimality_gap([[50.0], [120.0]], gamma=100.0)
    25.0
    """
    return _spar.aggregate(_tasks(scores), "optimality_gap", _number(gamma, "gamma"))


def interval(
    scores: Scores,
    statistic: str = "iqm",
    *,
    gamma: float = 1.0,
    resamples: int = 50_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """A statistic, ``"iqm"``, ``"mean"``, ``"median"`` or ``"optimality_gap"``, with its
    interval.

    >>> interval([5.0, 5.0, 5.0])
    Estimate(value=5.0, low=5.0, high=5.0)
    """
    tasks, gamma = _tasks(scores), _number(gamma, "gamma")
    return Estimate(*_spar.interval(tasks, statistic, gamma, resamples, confidence, seed))


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """Mean over tasks of the probability that a run of ``x`` scores above one of ``y``, a tie
    counting half.

    >>> probability_of_improvement([1.0, 3.0], [2.0, 3.0])
    0.375
    """
    return _spar.improvement(*_pair(x, y))


def improvement_interval(
    x: Scores,
    y: Scores,
    *,
    resamples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """:func:`probability_of_improvement` with its interval.

    >>> improvement_interval([3.0, 4.0], [1.0, 2.0])
    Estimate(value=1.0, low=1.0, high=1.0)
    """
    ours, theirs = _pair(x, y)
    return Estimate(*_spar.improvement_interval(ours, theirs, resamples, confidence, seed))


def profile(scores: Scores, levels: ArrayLike, *, of_tasks: bool = False) -> NDArray[np.float64]:
    """Performance profile: which part of all runs scores above each level, ``[levels]``; with
    ``of_tasks`` which part of the tasks, by their means.

    >>> profile([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0])
    array([1. , 0.5, 0. ])
    """
    return np.array(_spar.profile(_tasks(scores), _levels(levels), of_tasks))


def profile_band(
    scores: Scores,
    levels: ArrayLike,
    *,
    of_tasks: bool = False,
    resamples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> NDArray[np.float64]:
    """:func:`profile` with an interval at each level: value, low, high, ``[3, levels]``.

    >>> profile_band([1.0, 1.0], [0.0, 1.0])
    array([[1., 0.],
           [1., 0.],
           [1., 0.]])
    """
    args = _tasks(scores), _levels(levels), of_tasks, resamples, confidence, seed
    return np.array(_spar.profile_band(*args)).reshape(-1, 3).T


def paired_difference(
    method: Mapping[Any, ArrayLike],
    other: Mapping[Any, ArrayLike],
    *,
    resamples: int = 50_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Estimate, dict[Any, Estimate]]:
    """By how much one method's episodes return more than another's: the mean over tasks, and
    each task. It is what the last column of ``spar``'s tables says.

    Both are mappings from a task to returns, ``[runs, episodes]``: the n-th episodes of both
    start in the same state, as :func:`spar.evaluate` with one seed has them. Runs are
    resampled within tasks, then pairs of episodes within runs.

    >>> ours, theirs = {"hopper": [[7.0, 8.0], [9.0, 10.0]]}, {"hopper": [[5.0, 6.0], [7.0, 8.0]]}
    >>> paired_difference(ours, theirs)[0]
    Estimate(value=2.0, low=2.0, high=2.0)
    """
    _same_tasks(method, other)
    tasks = [_runs(method[task], other[task], f"task {task!r}") for task in method]
    overall, each = _spar.paired_difference(tasks, resamples, confidence, seed)
    return Estimate(*overall), {task: Estimate(*found) for task, found in zip(method, each)}


def _runs(x: ArrayLike, y: ArrayLike, where: str) -> list[tuple[list[float], list[float]]]:
    """Pairs of runs."""
    ours, theirs = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if ours.ndim != 2 or ours.shape != theirs.shape:
        raise ValueError(
            f"{where}: returns of shape {ours.shape} and {theirs.shape}, "
            "expected [runs, episodes] of both, equally many"
        )
    return [
        (_finite(a, f"{where}, run {run}"), _finite(b, f"{where}, run {run}"))
        for run, (a, b) in enumerate(zip(ours, theirs))
    ]


def _tasks(scores: Scores) -> list[list[float]]:
    """A list of scores for each task."""
    if isinstance(scores, Mapping):
        return [_finite(runs, f"task {name!r}") for name, runs in scores.items()]
    try:
        array = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "scores: expected numbers, [runs, tasks] or [runs]; "
            "unequally many runs are given by task, as in {'hopper': [...], 'walker2d': [...]}"
        ) from None
    if array.ndim == 1:
        return [_finite(array, "scores")]
    if array.ndim == 2:
        return [_finite(runs, f"task {task}") for task, runs in enumerate(array.T)]
    raise ValueError(f"scores: an array of shape {array.shape}, expected [runs, tasks] or [runs]")


def _finite(runs: Any, where: str) -> list[float]:
    values = np.asarray(runs, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{where}: an array of shape {values.shape}, expected [runs]")
    for run, score in enumerate(values):
        if not np.isfinite(score):
            raise ValueError(f"{where}, run {run}: the score is {score}, expected a finite number")
    return list(map(float, values))


def _pair(x: Scores, y: Scores) -> tuple[list[list[float]], list[list[float]]]:
    """Two methods' scores, task by task."""
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        _same_tasks(x, y)
        y = {task: y[task] for task in x}
    return _tasks(x), _tasks(y)


def _same_tasks(x: Mapping[Any, Any], y: Mapping[Any, Any]) -> None:
    if x.keys() != y.keys():
        other = sorted(map(str, x.keys() ^ y.keys()))
        raise ValueError(f"only one method has the tasks {', '.join(other)}; expected the same")


def _levels(levels: ArrayLike) -> list[float]:
    return _finite(np.atleast_1d(np.asarray(levels, dtype=np.float64)), "levels")


def _number(value: float, what: str) -> float:
    if not np.isfinite(value):
        raise ValueError(f"{what} is {value}, expected a finite number")
    return float(value)

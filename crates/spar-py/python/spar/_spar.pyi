"""The types of the native half."""

from os import PathLike
from typing import Any, Callable, Literal, Sequence, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Path = str | PathLike[str]
_Tasks = Sequence[Sequence[float]]
_Triple = tuple[float, float, float]
_Next = Literal["checked", "recorded", "following"]

__all__ = [
    "Dataset",
    "Policy",
    "Stopped",
    "aggregate",
    "improvement",
    "improvement_interval",
    "interval",
    "load",
    "methods",
    "paired_difference",
    "profile",
    "profile_band",
    "rehearse",
    "rehearse_in",
    "settings",
    "train",
]

class Stopped(RuntimeError): ...

@final
class Policy:
    @property
    def obs_dim(self) -> int: ...
    @property
    def act_dim(self) -> int: ...
    @property
    def action_bounds(self) -> list[tuple[float, float]]: ...
    @property
    def method(self) -> str | None: ...
    @property
    def env(self) -> str | None: ...
    @property
    def task(self) -> str | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def updates(self) -> int | None: ...
    @property
    def draws(self) -> bool: ...
    def act(
        self, obs: ArrayLike, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]: ...
    def save(self, path: _Path, *, overwrite: bool = False) -> None: ...
    def to_onnx(self, path: _Path, *, overwrite: bool = False) -> None: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> Policy: ...

@final
class Dataset:
    def __new__(
        cls,
        path: _Path,
        *,
        env: str | None = None,
        next: _Next = "checked",
        observations: Sequence[str] = ...,
        reward: str | None = None,
        other_env: bool = False,
        horizon: int | None = None,
    ) -> Dataset: ...
    @staticmethod
    def from_arrays(
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        terminals: ArrayLike,
        *,
        timeouts: ArrayLike | None = None,
        next_observations: ArrayLike | None = None,
        next: _Next = "checked",
        action_bounds: Sequence[tuple[float, float]] | None = None,
        env: str | None = None,
        horizon: int | None = None,
        id: str = "arrays",
    ) -> Dataset: ...
    def save(self, path: _Path, *, overwrite: bool = False) -> None: ...
    def returns(self) -> NDArray[np.float64]: ...
    def episodes(self) -> list[tuple[int, int]]: ...
    def stats(self) -> dict[str, Any]: ...
    @property
    def observations(self) -> NDArray[np.float32]: ...
    @property
    def actions(self) -> NDArray[np.float32]: ...
    @property
    def rewards(self) -> NDArray[np.float32]: ...
    @property
    def rewarded(self) -> bool: ...
    @property
    def terminals(self) -> NDArray[np.bool_]: ...
    @property
    def timeouts(self) -> NDArray[np.bool_] | None: ...
    @property
    def next_observations(self) -> NDArray[np.float32] | None: ...
    @property
    def action_bounds(self) -> list[tuple[float, float]]: ...
    @property
    def obs_dim(self) -> int: ...
    @property
    def act_dim(self) -> int: ...
    @property
    def env(self) -> str | None: ...
    @property
    def horizon(self) -> int | None: ...
    @property
    def id(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    def __len__(self) -> int: ...

def load(path: _Path, *, best_of: int = 1, seed: int = 0) -> Policy: ...
def methods() -> list[str]: ...
def settings(method: str, /) -> dict[str, Any]: ...
def train(
    dataset: Dataset,
    method: str,
    out: _Path | None,
    seed: int,
    updates: int | None,
    settings: dict[str, Any],
    callback: Callable[[dict[str, Any]], object] | None,
    every: int,
    held_out: float | None,
    horizon: int | None,
    action_bounds: Sequence[tuple[float, float]] | None,
    final_episodes: int,
    eval_seed: int,
) -> Policy: ...
def rehearse_in(executable: _Path, module: _Path) -> None: ...
def rehearse(path: _Path, observations: Sequence[str]) -> str | None: ...
def aggregate(tasks: _Tasks, statistic: str, gamma: float) -> float: ...
def interval(
    tasks: _Tasks, statistic: str, gamma: float, resamples: int, confidence: float, seed: int
) -> _Triple: ...
def improvement(x: _Tasks, y: _Tasks) -> float: ...
def improvement_interval(
    x: _Tasks, y: _Tasks, resamples: int, confidence: float, seed: int
) -> _Triple: ...
def profile(tasks: _Tasks, levels: Sequence[float], of_tasks: bool) -> list[float]: ...
def profile_band(
    tasks: _Tasks,
    levels: Sequence[float],
    of_tasks: bool,
    resamples: int,
    confidence: float,
    seed: int,
) -> list[_Triple]: ...
def paired_difference(
    tasks: Sequence[Sequence[tuple[Sequence[float], Sequence[float]]]],
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[_Triple, list[_Triple]]: ...

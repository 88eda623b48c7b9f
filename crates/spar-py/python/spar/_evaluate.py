"""Episodes of a policy in any environment of gymnasium's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Acts(Protocol):
    """What acts: ``spar.Policy``, or anything with its ``act``."""

    def act(self, obs: Any, /) -> Any: ...


def evaluate(
    policy: Acts,
    env: Any,
    episodes: int = 10,
    seed: int = 0,
    *,
    max_steps: int | None = None,
) -> NDArray[np.float64]:
    """Play ``episodes`` and return all their undiscounted returns, ``[episodes]``.

    ``env`` is an environment of gymnasium's, or the id of one, with observations and actions
    that are boxes. Episode ``i`` is reset with ``seed + i``, so that policies which are
    evaluated with one seed start in the same states and can be compared in pairs. An episode
    ends when the environment terminates or truncates it, or after ``max_steps``. Actions are
    clipped to the environment's bounds.

    >>> import gymnasium, numpy as np, spar
    >>> class Still:
    ...     def act(self, obs):
    ...         return np.zeros(1, np.float32)
    >>> spar.evaluate(Still(), "Pendulum-v1", episodes=2, seed=0).shape
    (2,)
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}, expected at least 1")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}, expected at least 1")
    own = isinstance(env, str)
    if own:
        env = _make(env)
    try:
        _check(policy, env)
        returns = [_play(policy, env, seed + i, max_steps) for i in range(episodes)]
    finally:
        if own:
            env.close()
    return np.array(returns, dtype=np.float64)


def _make(name: str) -> Any:
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError(
            f"{name}: environments are gymnasium's, which is not installed; "
            "`pip install gymnasium`, or give an environment"
        ) from error
    return gymnasium.make(name)


def _check(policy: Acts, env: Any) -> None:
    if getattr(env, "num_envs", None) is not None:
        raise TypeError("env: a vector of environments, expected a single one")
    spaces = (
        ("observations", env.observation_space, "obs_dim"),
        ("actions", env.action_space, "act_dim"),
    )
    for what, space, _ in spaces:
        if not hasattr(space, "low") or getattr(space, "shape", None) is None:
            raise TypeError(f"env: its {what} are {space}, expected a Box")
    for what, space, width in spaces:
        there, wanted = int(np.prod(space.shape)), getattr(policy, width, None)
        if wanted is not None and there != wanted:
            raise ValueError(
                f"env: its {what} have {there} numbers, the policy's {wanted}; "
                "is this the environment of its data?"
            )


def _play(policy: Acts, env: Any, seed: int, max_steps: int | None) -> float:
    space, total, steps = env.action_space, 0.0, 0
    obs, _ = env.reset(seed=seed)
    while max_steps is None or steps < max_steps:
        action = np.asarray(policy.act(np.asarray(obs, dtype=np.float32).reshape(-1)))
        action = np.clip(action.reshape(space.shape), space.low, space.high)
        obs, reward, terminated, truncated, _ = env.step(action.astype(space.dtype))
        total += float(reward)
        steps += 1
        if terminated or truncated:
            break
    return total

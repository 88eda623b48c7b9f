"""Checks of acting, evaluation and statistics against NumPy, gymnasium and rliable's numbers,
whose file is the argument.
"""

import json
import multiprocessing
import pickle
import resource
from pathlib import Path

import gymnasium
import numpy as np

import spar
import support
from spar import stats
from support import arrays, data, raises, trained


def what_acts_is_an_array_of_any_layout():
    policy = trained()
    obs = np.random.default_rng(5).normal(size=(64, 3)).astype(np.float32)
    rows = policy.act(obs)
    assert rows.shape == (64, 2) and rows.dtype == np.float32
    wide = np.zeros((64, 6), np.float32)
    wide[:, ::2] = obs
    shifted = np.frombuffer(b"x" + obs.tobytes(), np.uint8)[1:].view(np.float32).reshape(64, 3)
    for same in (
        obs.astype(np.float64),
        obs.astype(">f4"),
        np.asfortranarray(obs),
        wide[:, ::2],
        shifted,
        obs.tolist(),
        obs[::-1][::-1],
    ):
        np.testing.assert_array_equal(policy.act(same), rows)
    for i in range(64):
        one = policy.act(obs[i])
        assert one.shape == (2,)
        np.testing.assert_array_equal(one, rows[i])
    whole = np.arange(3)
    np.testing.assert_array_equal(policy.act(whole), policy.act(whole.astype(np.float32)))
    assert policy.act(np.zeros((0, 3), np.float32)).shape == (0, 2)
    locked = obs.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(policy.act(locked), rows)
    place = np.empty((64, 2), np.float32)
    assert policy.act(obs, out=place) is place
    np.testing.assert_array_equal(place, rows)


def what_is_no_observation_gets_no_action():
    policy = trained()
    ok = np.zeros((2, 3), np.float32)
    bad = ok.copy()
    bad[1, 2] = np.nan
    locked = np.zeros((2, 2), np.float32)
    locked.flags.writeable = False
    for kind, facts, obs, out in (
        (ValueError, ["[4]", "[3] or [rows, 3]"], np.zeros(4), None),
        (ValueError, ["[2, 2]", "[3] or [rows, 3]"], np.zeros((2, 2)), None),
        (ValueError, ["[1, 1, 3]"], np.zeros((1, 1, 3)), None),
        (ValueError, ["[]"], 1.0, None),
        (ValueError, ["observation 1: number 2 is NaN"], bad, None),
        (ValueError, ["observation 0: number 1 is inf"], [0.0, 1e300, 0.0], None),
        (TypeError, ["expected numbers"], ["a", "b", "c"], None),
        (TypeError, ["expected numbers"], np.zeros(3, complex), None),
        (TypeError, ["expected numbers"], None, None),
        (TypeError, ["expected numbers"], np.array([1, 2, None]), None),
        (ValueError, ["out:", "shape [2, 3]"], ok, np.zeros((2, 3), np.float32)),
        (ValueError, ["out:", "ndarray"], ok, np.zeros((2, 2))),
        (ValueError, ["out:", "order"], ok, np.zeros((2, 2), np.float32, "F")),
        (ValueError, ["out:"], ok, locked),
        (ValueError, ["out:", "list"], ok, [0.0, 0.0]),
    ):
        raises(kind, facts, lambda: policy.act(obs, out=out))
    # The numbers that are read are not written at the same time.
    square = trained(dataset=data(actions=arrays()["observations"].clip(-1, 1)))
    both = np.zeros((4, 3), np.float32)
    raises(ValueError, ["out:"], lambda: square.act(both, out=both))


def acting_copies_nothing_of_single_precision():
    width, rows = 4096, 2048
    obs = np.zeros((4, width), np.float32)
    wide = spar.Dataset.from_arrays(obs, np.zeros((4, 1)), np.ones(4), np.zeros(4))
    policy = spar.train(wide, "bc", updates=1, batch_size=1, anchor={"hidden": [2]})
    place = np.zeros((rows, 1), np.float32)

    def grows(dtype):
        given = np.ones((rows, width), dtype)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        policy.act(given, out=place)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    own = grows(np.float32)
    assert own < 8, f"{own} MB more for 32 MB of observations"
    # The measure sees a copy where one is made.
    assert grows(np.float64) > 24


def a_policy_says_what_it_is_and_survives(folder):
    policy = trained("iql", updates=7, seed=3)
    assert (policy.obs_dim, policy.act_dim, policy.seed, policy.updates) == (3, 2, 3, 7)
    assert (policy.method, policy.env, policy.task, policy.draws) == ("iql", None, "arrays", False)
    assert policy.action_bounds == [(-1.0, 1.0)] * 2
    path = folder / "policy.safetensors"
    policy.save(path)
    raises(FileExistsError, [str(path), "overwrite"], lambda: policy.save(path))
    policy.save(path, overwrite=True)
    obs = np.ones((5, 3), np.float32)
    for same in (
        spar.load(path),
        spar.load(str(path)),
        spar.load(folder),
        pickle.loads(pickle.dumps(policy)),
        spar.Policy.from_bytes(path.read_bytes()),
    ):
        assert repr(same) == repr(policy)
        np.testing.assert_array_equal(same.act(obs), policy.act(obs))
    policy.to_onnx(folder / "policy.onnx")
    assert (folder / "policy.onnx").stat().st_size > 1000
    raises(FileNotFoundError, ["none"], lambda: spar.load(folder / "none"))
    (folder / "bad").write_bytes(path.read_bytes()[:-8])
    raises(ValueError, ["bad"], lambda: spar.load(folder / "bad"))
    raises(ValueError, ["best_of"], lambda: spar.load(path, best_of=0))
    raises(ValueError, ["best-of"], lambda: spar.load(path, best_of=4))
    raises(TypeError, [], lambda: spar.load(3))
    # Another process, started anew, acts the same.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(policy.act, (obs,)), policy.act(obs))


def evaluation_is_gymnasium_s_loop():
    policy = trained(dataset=data(actions=arrays()["actions"][:, :1]))
    env = gymnasium.make("Pendulum-v1")
    wanted = []
    for episode in range(3):
        obs, _ = env.reset(seed=7 + episode)
        total, done = 0.0, False
        while not done:
            action = np.clip(policy.act(obs), -2, 2)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, done = total + float(reward), terminated or truncated
        wanted.append(total)
    found = spar.evaluate(policy, env, episodes=3, seed=7)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(spar.evaluate(policy, "Pendulum-v1", 3, 7), wanted)
    short = spar.evaluate(policy, env, 1, 7, max_steps=5)
    assert short[0] > wanted[0]
    for kind, facts, call in (
        (TypeError, ["actions", "Discrete"], lambda: spar.evaluate(policy, "CartPole-v1")),
        (ValueError, ["observations have 2", "3"], lambda: spar.evaluate(policy, "MountainCarContinuous-v0")),
        (ValueError, ["episodes"], lambda: spar.evaluate(policy, env, 0)),
        (ValueError, ["max_steps"], lambda: spar.evaluate(policy, env, 1, max_steps=0)),
        (TypeError, ["vector"], lambda: spar.evaluate(policy, gymnasium.make_vec("Pendulum-v1"))),
    ):
        raises(kind, facts, call)
    env.close()


def statistics_are_rliable_s(file):
    golden = json.loads(Path(file).read_text())
    paired, numbers = golden["paired"], golden["rliable"]
    x = np.array(numbers["x_by_task"]).T
    y = {f"task {i}": runs for i, runs in enumerate(numbers["y_by_task"])}
    by_task = {f"task {i}": runs for i, runs in enumerate(numbers["x_by_task"])}
    shared, seed, gamma = numbers["shared"], numbers["seed"], numbers["gamma"]
    many, pairs = numbers["resamples"]["all"], numbers["resamples"]["pairs"]
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-12)
    flat = lambda estimate: [estimate["value"], *estimate["interval"]]
    for scores in (x, x.tolist(), by_task):
        for name, value in (
            ("mean", stats.mean(scores)),
            ("median", stats.median(scores)),
            ("iqm", stats.iqm(scores)),
            ("optimality_gap", stats.optimality_gap(scores, gamma)),
        ):
            close(value, shared[name]["value"])
            found = stats.interval(scores, name, gamma=gamma, resamples=many, seed=seed)
            close(found, flat(shared[name]))
        levels = numbers["levels"]
        wanted = [flat(estimate) for estimate in shared["profile"]]
        close(stats.profile(scores, levels), [value for value, _, _ in wanted])
        close(stats.profile_band(scores, levels, resamples=many, seed=seed).T, wanted)
        close(stats.profile(scores, levels, of_tasks=True), shared["average_profile"])
    close(stats.probability_of_improvement(by_task, y), shared["improvement"]["value"])
    found = stats.improvement_interval(by_task, y, resamples=pairs, seed=seed)
    close(found, flat(shared["improvement"]))
    both = [
        {i: [run[name] for run in runs] for i, runs in enumerate(paired["tasks"])}
        for name in ("method", "anchor")
    ]
    plan = {name: paired[name] for name in ("resamples", "confidence", "seed")}
    overall, each = stats.paired_difference(*both, **plan)
    close(overall, [paired["value"], *paired["interval"]])
    close([found.value for found in each.values()], paired["task_values"])
    close([found[1:] for found in each.values()], paired["task_intervals"])
    ones, twos = np.ones((2, 3)), np.ones((2, 2))
    for kind, facts, call in (
        (ValueError, ["(2, 3) and (2, 2)"], lambda: stats.paired_difference({1: ones}, {1: twos})),
        (ValueError, ["only one"], lambda: stats.paired_difference({1: ones}, {2: ones})),
        (ValueError, ["by task"], lambda: stats.iqm([[1, 2], [3]])),
        (ValueError, ["task 1, run 0", "nan"], lambda: stats.iqm([[1, np.nan]])),
        (ValueError, ["shape"], lambda: stats.iqm(np.zeros((2, 2, 2)))),
        (ValueError, ["no scores"], lambda: stats.iqm({})),
        (ValueError, ["no scores"], lambda: stats.iqm([])),
        (ValueError, ["iqm, mean"], lambda: stats.interval([1.0], "best")),
        (ValueError, ["confidence"], lambda: stats.interval([1.0], confidence=2.0)),
        (ValueError, ["a, b"], lambda: stats.probability_of_improvement({"a": [1]}, {"b": [1]})),
        (ValueError, ["tasks"], lambda: stats.probability_of_improvement([1.0], [[1.0, 2.0]])),
        (ValueError, ["gamma"], lambda: stats.optimality_gap([1.0], np.inf)),
    ):
        raises(kind, facts, call)


if __name__ == "__main__":
    support.run(globals())

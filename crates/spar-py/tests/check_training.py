"""Checks of training: settings, callbacks, folders, signals and threads."""

import os
import signal
import threading
import time

import numpy as np

import spar
import support
from support import BOUNDS, arrays, data, raises, trained


def every_method_trains_and_acts():
    names = spar.methods()
    assert len(names) >= 29 and {"bc", "spar", "iql", "td3bc", "fql"} <= set(names)
    arguments = set(spar.train.__kwdefaults__) - {"updates"}
    for name in names:
        known = spar.settings(name)
        assert not arguments & {key.split(".")[0] for key in known}, name
        batch = next(key for key in ("data.batch_size", "batch_size") if key in known)
        small = {batch: 4} | ({"anchor.updates": 2} if "anchor.updates" in known else {})
        seen = []
        policy = spar.train(data(), name, updates=2, callback=seen.append, every=1, **small)
        assert policy.method == name and np.isfinite(policy.act(np.zeros(3))).all(), name
        assert [row["done"] for row in seen] == list(range(1, seen[-1]["total"] + 1)), seen
        assert all(len(row) > 4 and np.isfinite(list(row.values())[4:]).all() for row in seen)


def settings_are_taken_by_all_their_spellings():
    def acts(**settings):
        return trained("spar", updates=3, **settings).act(np.ones(3))

    small = {"anchor.updates": 3, "rectify.warmup": 1}
    default = acts(**small)
    sharp = acts(**small, **{"rectify.lr": 0.01})
    np.testing.assert_array_equal(sharp, acts(**{"anchor.updates": 3}, rectify={"lr": 0.01, "warmup": 1}))
    np.testing.assert_array_equal(sharp, acts(**small, rectify__lr=np.float64(0.01)))
    np.testing.assert_array_equal(default, acts(anchor__updates=3.0, rectify__warmup=np.int64(1)))
    assert (default != sharp).any()
    for kind, facts, method, settings in (
        (ValueError, ["bata"], "iql", {"bata": 1}),
        (ValueError, ["beta"], "iql", {"beta": "much"}),
        (ValueError, ["critic.expectile"], "spar", {"critic__expectile": 1.5}),
        (ValueError, ["unknown method `ddpg`", "td3bc"], "ddpg", {}),
        (ValueError, ["anchor.method", "first"], "spar", {"anchor": {"method": "bc-flow"}}),
        (TypeError, ["setting beta"], "iql", {"beta": None}),
        (ValueError, ["every"], "iql", {"every": 0}),
        (ValueError, ["held_out"], "iql", {"held_out": 1.0}),
        (ValueError, ["action_bounds"], "iql", {"action_bounds": [(1.0, 0.0)]}),
        (ValueError, ["bounds of actions"], "iql", {"action_bounds": [(0.0, 1.0)]}),
        (ValueError, ["updates"], "iql", {"updates": 10**15}),
        (ValueError, ["final_episodes"], "iql", {"final_episodes": 0}),
        (OverflowError, [], "iql", {"seed": -1}),
    ):
        raises(kind, facts, lambda: spar.train(data(), method, **settings))
    raises(TypeError, [], lambda: spar.train("file.hdf5", "iql"))


def actions_are_in_the_units_of_the_data():
    columns = arrays()
    low, high = np.array(BOUNDS, np.float32).T
    scaled = (low + (columns["actions"] + 1) / 2 * (high - low)).astype(np.float32)
    policy = trained("bc", updates=300, dataset=data(actions=scaled, action_bounds=BOUNDS))
    assert policy.action_bounds == BOUNDS
    got = policy.act(columns["observations"])
    assert np.corrcoef(got[:, 0], scaled[:, 0])[0, 1] > 0.9
    assert (got >= low).all() and (got <= high).all() and got[:, 0].max() > 5


def a_callback_watches_stops_and_raises(folder):
    class Mine(Exception):
        pass

    seen = []

    def stop(row):
        seen.append(row)
        return len(seen) < 3

    policy = spar.train(data(), "td3bc", updates=10**6, callback=stop, every=4)
    assert policy.updates == 12 and seen[-1]["done"] == 12 and seen[-1]["updates_per_s"] > 0
    short = spar.train(data(), "td3bc", updates=12)
    np.testing.assert_array_equal(policy.act(np.ones(3)), short.act(np.ones(3)))

    def fail(row):
        raise Mine("enough\nof it")

    for out in (None, folder / "raised"):
        try:
            spar.train(data(), "td3bc", updates=10**6, callback=fail, every=4, out=out)
            raise AssertionError("nothing was raised")
        except Mine as error:
            assert str(error) == "enough\nof it"
    raises(TypeError, [], lambda: spar.train(data(), "bc", updates=9, callback=3, every=1))
    # None is no "no".
    assert spar.train(data(), "bc", updates=3, callback=lambda row: None, every=1).updates == 3


def a_run_in_a_folder_is_resumed_to_the_bit(folder):
    def run(name, **more):
        options = {"updates": 60, "every": 10, "checkpoint_every": 25, "held_out": 0.2}
        return spar.train(data(), "iql", out=folder / name, **options | more)

    whole = run("whole")
    assert (folder / "whole/DONE").exists() and (folder / "whole/validation.csv").exists()
    stops = iter([True, False])
    raises(
        spar.Stopped,
        ["stopped at update 21", "part"],
        lambda: run("part", callback=lambda row: next(stops)),
    )
    assert not (folder / "part/DONE").exists()
    seen = []
    again = run("part", callback=lambda row: seen.append(row["done"]))
    assert seen == [30, 40, 50, 60], seen
    obs = np.random.default_rng(2).normal(size=(50, 3))
    np.testing.assert_array_equal(again.act(obs), whole.act(obs))
    # A finished one is read, another one refused.
    np.testing.assert_array_equal(run("part").act(obs), whole.act(obs))
    raises(ValueError, ["part", "seed"], lambda: run("part", seed=1))
    raises(ValueError, ["part"], lambda: run("part", beta=9))
    other = data(rewards=arrays()["rewards"] + 1)
    raises(
        ValueError,
        ["part", "sha256"],
        lambda: spar.train(other, "iql", out=folder / "part", updates=60, held_out=0.2),
    )


def ctrl_c_ends_training_and_loses_nothing(folder):
    for out in (None, folder / "interrupted"):
        timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
        began = time.monotonic()
        try:
            timer.start()
            spar.train(data(), "td3bc", updates=10**7, out=out)
            raise AssertionError("nothing was raised")
        except KeyboardInterrupt:
            took = time.monotonic() - began
        assert 0.6 < took < 20, took
    assert list((folder / "interrupted/checkpoints").iterdir())


def other_threads_run_meanwhile():
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.001)

    other = threading.Thread(target=count)
    other.start()
    began = time.monotonic()
    spar.train(data(), "td3bc", updates=100)
    took = time.monotonic() - began
    stop.set()
    other.join()
    # A thread that had to wait for the training would not have come to it.
    assert counted[0] > 20 * took, (counted[0], took)


def trainings_side_by_side_are_the_same():
    alone, found = trained(updates=60).act(np.ones(3)), {}

    def one(i):
        found[i] = trained(updates=60).act(np.ones(3))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        np.testing.assert_array_equal(found[i], alone)


if __name__ == "__main__":
    # A shell starts what runs in its background with this ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    support.run(globals())

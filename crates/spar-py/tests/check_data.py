"""Checks of data sets against h5py and Minari."""

import os
import warnings

import gymnasium
import h5py
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

import spar
import support
from support import BOUNDS, arrays, data, h5, raises, trained


def data_are_those_of_h5py_both_ways(folder):
    columns = arrays()
    following = np.roll(columns["observations"], -1, 0)
    following[49::50] += 0.25
    all_of_it = columns | {"next_observations": following}
    low, high = np.array(BOUNDS, np.float32).T
    for name, given in (("plain", columns), ("next", all_of_it)):
        path = h5(folder / f"{name}.hdf5", given, action_low=low, action_high=high)
        read = spar.Dataset(path)
        own = spar.Dataset.from_arrays(**given, action_bounds=BOUNDS)
        again = folder / f"{name}-again.hdf5"
        own.save(again)
        for one in (read, own, spar.Dataset(again)):
            assert len(one) == 600 and (one.obs_dim, one.act_dim) == (3, 2)
            for key, values in given.items():
                got = getattr(one, key)
                np.testing.assert_array_equal(got, values, err_msg=key)
                assert got.dtype == (bool if key in ("terminals", "timeouts") else np.float32)
            assert one.action_bounds == BOUNDS
            assert (one.next_observations is None) == (name == "plain")
            sums = [given["rewards"][i : i + 50].astype(float).sum() for i in range(0, 600, 50)]
            np.testing.assert_allclose(one.returns(), sums)
            assert one.episodes() == [(i, i + 50) for i in range(0, 600, 50)]
        with h5py.File(again) as written:
            for key, values in given.items():
                np.testing.assert_array_equal(written[key], values, err_msg=key)
            assert ("next_observations" in written) == (name == "next")
        # The same numbers are learned from in the same way.
        obs = columns["observations"][:9]
        actions = [trained(dataset=one).act(obs) for one in (read, own)]
        np.testing.assert_array_equal(*actions)
        raises(FileExistsError, [str(again)], lambda: own.save(again))
        own.save(again, overwrite=True)
    told = own.stats()
    assert told["rows"] == 600 and told["episodes"] == 12
    np.testing.assert_allclose(told["returns"]["mean"], np.mean(own.returns()))
    np.testing.assert_allclose(told["observations"][0]["max"], columns["observations"][:, 0].max())
    uncut = data(timeouts=None)
    uncut.save(folder / "uncut.hdf5")
    assert uncut.timeouts is None and spar.Dataset(folder / "uncut.hdf5").timeouts is None
    assert uncut.sha256 != data().sha256 == data().sha256


def minari_s_data_are_read_by_id_file_and_folder(folder):
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    env, buffers = gymnasium.make("Pendulum-v1", max_episode_steps=30), []
    env.action_space.seed(0)
    for episode in range(4):
        seen, done = [[env.reset(seed=episode)[0]], [], [], [], []], False
        while not done:
            action = env.action_space.sample()
            obs, reward, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
            for column, value in zip(seen, (obs, action, reward, terminated, truncated)):
                column.append(value)
        names = "observations", "actions", "rewards", "terminations", "truncations"
        columns = dict(zip(names, map(np.array, seen)))
        buffers.append(EpisodeBuffer(id=episode, **columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = minari.create_dataset_from_buffers(
            "pendulum/random-v0", buffers, env=env, eval_env="Pendulum-v1"
        )
    env.close()
    episodes = list(theirs.iterate_episodes())
    place = folder / "minari/pendulum/random-v0"
    for path in ("pendulum/random-v0", place, place / "data/main_data.hdf5"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = spar.Dataset(path)
        assert ours.origin == "minari" and len(ours) == 120
        joined = np.concatenate([e.observations[:-1] for e in episodes])
        after = np.concatenate([e.observations[1:] for e in episodes])
        np.testing.assert_array_equal(ours.observations, joined.astype(np.float32))
        np.testing.assert_array_equal(ours.next_observations, after.astype(np.float32))
        np.testing.assert_allclose(ours.returns(), [e.rewards.sum() for e in episodes], rtol=1e-6)
        assert ours.action_bounds == [(-2.0, 2.0)]
    ours.save(folder / "flat.hdf5")
    flat = spar.Dataset(folder / "flat.hdf5")
    np.testing.assert_array_equal(flat.next_observations, ours.next_observations)
    assert list(flat.timeouts.nonzero()[0]) == [29, 59, 89, 119]
    assert flat.action_bounds == ours.action_bounds


def an_id_of_d4rl_s_is_its_file_in_the_cache(folder):
    cache = os.environ["D4RL_DATASET_DIR"] = str(folder / "cache")
    os.makedirs(cache)
    os.chdir(folder)
    facts = ["hopper-medium-v2", "hopper_medium-v2.hdf5", cache, "spar data fetch hopper-medium"]
    raises(FileNotFoundError, facts, lambda: spar.Dataset("hopper-medium-v2"))
    # Nobody has counted the bytes of this one, so that any file of its name is a candidate.
    rng = np.random.default_rng(0)
    columns = arrays() | {
        "observations": rng.normal(size=(600, 4)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (600, 2)).astype(np.float32),
    }
    h5(folder / "cache" / "maze2d-umaze-sparse-v1.hdf5", columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = spar.Dataset("maze2d-umaze-v1")
    np.testing.assert_array_equal(read.actions, columns["actions"])
    assert read.env == "maze2d-umaze"
    # What lies here under the id goes first, as any file does.
    h5(folder / "hopper-medium-v2", arrays())
    assert spar.Dataset("hopper-medium-v2").obs_dim == 3


def a_horizon_cuts_what_flags_no_cuts(folder):
    columns = arrays()
    del columns["timeouts"]
    # A table with no column of cuts is read with a horizon alone.
    path = folder / "log.csv"
    rows = [
        [*obs, *action, reward]
        for obs, action, reward in zip(*(columns[k] for k in ("observations", "actions", "rewards")))
    ]
    names = ["observation_0", "observation_1", "observation_2", "action_0", "action_1", "reward"]
    lines = [",".join(names), *(",".join(f"{x!r}" for x in map(float, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    raises(ValueError, ["log.csv"], lambda: spar.Dataset(path))
    columns["terminals"] = np.zeros(600, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = spar.Dataset(path, horizon=40)
    own = spar.Dataset.from_arrays(**columns, horizon=40)
    uncut = spar.Dataset.from_arrays(**columns)
    for one in (read, own):
        assert one.horizon == 40 and one.timeouts is None
        assert one.episodes() == [(i, i + 40) for i in range(0, 600, 40)]
        sums = [columns["rewards"][i : i + 40].astype(float).sum() for i in range(0, 600, 40)]
        np.testing.assert_allclose(one.returns(), sums, rtol=1e-6)
        assert one.stats()["lengths"]["max"] == 40
    assert uncut.horizon is None and uncut.episodes() == [(0, 600)]
    # `train` takes it from the data, unless it has one of its own.
    obs = columns["observations"][:9]
    of_data = trained(dataset=own).act(obs)
    np.testing.assert_array_equal(of_data, trained(dataset=uncut, horizon=40).act(obs))
    assert (of_data != trained(dataset=own, horizon=30).act(obs)).any()
    assert (of_data != trained(dataset=uncut).act(obs)).any()
    raises(ValueError, ["horizon is 0"], lambda: spar.Dataset(path, horizon=0))
    hopper = dict(observations=np.zeros((60, 11)), actions=np.zeros((60, 3)))
    hopper |= dict(rewards=np.zeros(60), terminals=np.zeros(60), env="hopper", horizon=40)
    raises(ValueError, ["horizon", "hopper"], lambda: spar.Dataset.from_arrays(**hopper))


def data_that_are_none_are_refused(folder):
    for facts, changes in (
        (["observations", "[600]"], {"observations": np.zeros(600)}),
        (["actions", "[600, 0]"], {"actions": np.zeros((600, 0))}),
        (["rewards", "[2, 2, 2]"], {"rewards": np.zeros((2, 2, 2))}),
        (["actions", "expected 1200"], {"actions": np.zeros((5, 2))}),
        (["terminals", "row 7 is 2"], {"terminals": np.where(np.arange(600) == 7, 2, 0)}),
        (["timeouts", "expected 600"], {"timeouts": np.zeros(5)}),
        (["rewards", "row 3"], {"rewards": np.where(np.arange(600) == 3, np.nan, 0.0)}),
        (["next_observations", "rows of 2"], {"next_observations": np.zeros((600, 2))}),
        (["next_observations"], {"next": "recorded"}),
        (["checked, recorded, following"], {"next": "other"}),
        (["bounds of actions", "1 pairs"], {"action_bounds": [(0.0, 1.0)]}),
        (["bounds of actions"], {"action_bounds": [(1.0, 0.0)] * 2}),
        (["nowhere"], {"env": "nowhere"}),
        (["3 wide", "hopper needs 11"], {"env": "hopper"}),
    ):
        raises(ValueError, facts, lambda: data(**changes))
    raises(TypeError, ["expected numbers"], lambda: data(actions=np.full((600, 2), "x")))
    empty = {key: values[:0] for key, values in arrays().items()}
    raises(ValueError, ["0 rows"], lambda: spar.Dataset.from_arrays(**empty))
    sound = h5(folder / "sound.hdf5", arrays()).read_bytes()
    (folder / "cut.hdf5").write_bytes(sound[:-200])
    (folder / "text.hdf5").write_text("no data")
    raises(FileNotFoundError, ["none.hdf5"], lambda: spar.Dataset(folder / "none.hdf5"))
    raises(ValueError, ["cut.hdf5", "truncated"], lambda: spar.Dataset(folder / "cut.hdf5"))
    raises(ValueError, ["text.hdf5"], lambda: spar.Dataset(folder / "text.hdf5"))
    # Broken bytes in the middle end at worst the process that looks first, or are refused.
    rng = np.random.default_rng(0)
    for attempt in range(20):
        bytes_ = bytearray(sound)
        for at in rng.integers(0, 4096, 8):
            bytes_[at] = rng.integers(256)
        broken = folder / "broken.hdf5"
        broken.write_bytes(bytes_)
        try:
            spar.Dataset(broken)
        except (ValueError, OSError, UserWarning) as error:
            assert "\n" not in str(error), error


if __name__ == "__main__":
    support.run(globals())

"""Checks against the program ``spar``, which is the argument: the same settings, the same
training and the same actions, bit for bit.
"""

import json
import subprocess

import numpy as np

import spar
import support
from support import arrays, h5, raises


def _spar(program, *words, **more):
    done = subprocess.run([program, *map(str, words)], capture_output=True, **more)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def acting_is_spar_act_s(folder, file):
    path = h5(folder / "log.hdf5", arrays())
    obs = np.random.default_rng(3).normal(size=(300, 3)).astype(np.float32)
    for method in ("td3bc", "iql", "plas", "bcq", "fql", "idql", "spar"):
        small = {"anchor.updates": 5} if method == "spar" else {}
        policy = spar.train(spar.Dataset(path), method, updates=5, **small)
        place = folder / f"{method}.safetensors"
        policy.save(place)
        words = "act", "--policy", place, "--format", "f32"
        told = _spar(file, *words, input=obs.tobytes())
        theirs = np.frombuffer(told, np.float32).reshape(300, 2)
        np.testing.assert_array_equal(policy.act(obs), theirs, err_msg=method)
        told = _spar(file, *words, "--seed", 5, input=obs.tobytes())
        theirs = np.frombuffer(told, np.float32).reshape(300, 2)
        np.testing.assert_array_equal(spar.load(place, seed=5).act(obs), theirs, err_msg=method)
    best = spar.load(place, best_of=4)
    told = _spar(file, *words, "--best-of", 4, input=obs.tobytes())
    np.testing.assert_array_equal(best.act(obs), np.frombuffer(told, np.float32).reshape(300, 2))


def settings_are_those_of_the_list(file):
    told = json.loads(_spar(file, "list", "methods", "--json"))
    assert [row["name"] for row in told] == spar.methods()
    for name in spar.methods():
        assert json.loads(_spar(file, "list", "settings", name, "--json")) == spar.settings(name)


def training_is_spar_train_s(folder, file):
    path = h5(folder / "log.hdf5", arrays())
    obs = np.random.default_rng(4).normal(size=(100, 3))
    for method, options, settings in (
        ("iql", ["--set", "beta=10", "--held-out", "0"], {"beta": 10}),
        ("spar", ["--anchor-updates", "30", "--set", "critic.expectile=0.9"],
         {"anchor__updates": 30, "critic__expectile": 0.9, "held_out": 0.1}),
        ("bc", ["--action-bounds=-2,2", "--held-out", "0.25", "--eval-seed", "7"],
         {"action_bounds": [(-2, 2)] * 2, "held_out": 0.25, "eval_seed": 7}),
    ):
        run = folder / method
        _spar(file, "train", "--dataset", path, "--method", method, "--updates", 40,
              "--seed", 3, "--out", run, *options)
        theirs = spar.load(run)
        arguments = {"updates": 40, "seed": 3} | settings
        for out in (None, folder / f"{method}-ours", run):
            ours = spar.train(spar.Dataset(path), method, out=out, **arguments)
            np.testing.assert_array_equal(ours.act(obs), theirs.act(obs), err_msg=method)
        # A run that Python left is resumed by the program.
        left = folder / f"{method}-left"
        raises(
            spar.Stopped,
            ["same call resumes"],
            lambda: spar.train(
                spar.Dataset(path), method, out=left, callback=lambda _: False, every=7, **arguments
            ),
        )
        _spar(file, "train", "--dataset", path, "--method", method, "--updates", 40,
              "--seed", 3, "--out", left, *options)
        np.testing.assert_array_equal(spar.load(left).act(obs), theirs.act(obs), err_msg=method)


if __name__ == "__main__":
    support.run(globals())

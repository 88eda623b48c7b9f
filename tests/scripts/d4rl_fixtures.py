"""Writes the D4RL-layout fixtures under tests/fixtures/d4rl with h5py, and for
each one what `qlearning_dataset` makes of it, as `<name>.json`.

The expectation is computed from D4RL's documented semantics by the code below,
which shares nothing with the Rust reader. With `--check-d4rl FILE`, where FILE
is D4RL's own `d4rl/__init__.py`, it is also compared with D4RL's function.

    python3 -m venv venv && venv/bin/pip install h5py==3.16.0 numpy==2.4.6
    venv/bin/python tests/scripts/d4rl_fixtures.py [--check-d4rl FILE]

With `--read FILE` it prints what h5py sees in a file (the reverse check of our
writer): every data set's type, shape and a digest of its values.
"""

import argparse
import ast
import hashlib
import json
import pathlib

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "d4rl"
OBS, ACT, NQ, NV = 4, 2, 3, 2
HORIZON = 10


def episodes(rng, ends, dtype):
    """Arrays of consecutive episodes; `ends` is a list of (length, how)."""
    rows = sum(length for length, _ in ends)
    data = {
        "observations": rng.normal(size=(rows, OBS)),
        "actions": rng.uniform(-1, 1, size=(rows, ACT)),
        "rewards": rng.normal(size=rows),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.zeros(rows, bool),
    }
    row = 0
    for length, how in ends:
        row += length
        if how:
            data[how][row - 1] = True
    return {k: v if v.dtype == bool else v.astype(dtype) for k, v in data.items()}


def transitions(data, horizon):
    """Rows of the file that become transitions, by the documented rules."""
    rows, length = [], len(data["rewards"])
    flat = {k: np.asarray(data[k]).reshape(length) for k in ("rewards", "terminals")}
    cut_flags = None
    if "timeouts" in data:
        cut_flags = np.asarray(data["timeouts"]).reshape(length)
    # Without flags the count after a terminal row starts at one (it is reset
    # before the increment), after a cut at zero (the increment is skipped).
    count = 0
    for i in range(length - 1):
        if cut_flags[i] if cut_flags is not None else count == horizon - 1:
            count = 0
        else:
            rows.append(i)
            count = 1 if flat["terminals"][i] else count + 1
    rows = np.array(rows, int)
    obs = np.asarray(data["observations"], np.float32)
    return {
        "observations": obs[rows],
        "actions": np.asarray(data["actions"], np.float32)[rows],
        "next_observations": obs[rows + 1],
        "rewards": flat["rewards"].astype(np.float32)[rows],
        "terminals": flat["terminals"][rows].astype(bool),
    }


def check_against_d4rl(source, data, horizon, expected):
    tree = ast.parse(pathlib.Path(source).read_text())
    only = [n for n in tree.body if getattr(n, "name", "") == "qlearning_dataset"]
    scope = {"np": np}
    exec(compile(ast.Module(only, []), source, "exec"), scope)
    # D4RL squeezes (N,1) rewards and terminals in get_dataset, before this.
    flat = {k: v.reshape(-1) if v.ndim == 2 and v.shape[1] == 1 else v for k, v in data.items()}
    env = type("Env", (), {"_max_episode_steps": horizon})
    theirs = scope["qlearning_dataset"](env, dataset=flat)
    for key, value in expected.items():
        np.testing.assert_array_equal(theirs[key], value, err_msg=key)


def fixtures():
    """(name, arrays, h5py options, metadata)"""
    t, m = "timeouts", "terminals"
    mixed = [(10, t), (4, m), (10, t), (7, m), (10, t), (3, None)]

    def make(seed, ends=mixed, dtype=np.float32):
        return episodes(np.random.default_rng(seed), ends, dtype)

    gzip = {"compression": "gzip", "chunks": True}
    yield "f32", make(1), {}, {}
    yield "f64_gzip", make(2, dtype=np.float64), gzip, {}

    data = make(3)
    for key in ("rewards", "terminals", "timeouts"):
        data[key] = data[key][:, None]
    yield "columns", data, {}, {}

    data = make(4)
    data["terminals"] = data["terminals"].astype(np.float32)
    data["timeouts"] = data["timeouts"].astype(np.float64)
    yield "float_flags", data, {}, {}

    data = make(5)
    data["terminals"] = data["terminals"].astype(np.uint8)
    data["timeouts"] = data["timeouts"].astype(np.int64)
    data["rewards"] = np.round(data["rewards"] * 5).astype(np.int32)
    yield "integers", data, {}, {}

    data = make(6)
    del data["timeouts"]
    yield "no_timeouts", data, {}, {}

    # Ends with a terminal row, which is last and therefore no transition.
    yield "ends_terminal", make(7, [(5, m), (1, m), (10, t), (2, m)]), {}, {}
    yield "ends_timeout", make(8, [(10, t), (10, t)]), gzip, {}

    data = make(9)
    rng = np.random.default_rng(90)
    rows = len(data["rewards"])
    data["next_observations"] = rng.normal(size=(rows, OBS)).astype(np.float32)
    data["infos/qpos"] = rng.normal(size=(rows, NQ))
    data["infos/qvel"] = rng.normal(size=(rows, NV)).astype(np.float32)
    data["infos/action_log_probs"] = rng.normal(size=rows)
    metadata = {
        "algorithm": "SAC",
        "fixed": np.bytes_(b"fixed text"),
        "iteration": np.int32(-7),
        "scale": np.float64(0.25),
        "half": np.float32(0.1),
        "done": np.bool_(True),
        "unicode": "größer",
        "policy/fc0/weight": np.zeros((3, 2), np.float32),
        "policy/nonlinearity": "relu",
    }
    yield "everything", data, gzip | {"shuffle": True}, metadata

    local = {"spar_origin": "local", "spar_dataset": "hopper-medium-local"}
    yield "local", make(10, [(10, t), (6, m)]), {}, local


def write(folder, d4rl):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data, options, metadata in fixtures():
        path = folder / f"{name}.hdf5"
        with h5py.File(path, "w", libver="earliest") as file:
            for key, value in data.items():
                file.create_dataset(key, data=value, **options)
            for key, value in metadata.items():
                file.create_dataset(f"metadata/{key}", data=value)
        expected = transitions(data, HORIZON)
        if d4rl:
            check_against_d4rl(d4rl, data, HORIZON, expected)
        assert path.stat().st_size < 50_000, path
        obs = expected["observations"].astype(np.float64)
        text = {k: v.tolist() for k, v in expected.items()}
        text["mean"] = obs.mean(0).tolist()
        text["std"] = (obs.std(0) + 1e-3).tolist()
        (folder / f"{name}.json").write_text(json.dumps(text) + "\n")
        print(f"{name}: {len(data['rewards'])} rows, {len(expected['rewards'])} transitions")


def read(path):
    def show(key, value):
        if isinstance(value, h5py.Dataset):
            data = value[()]
            if value.shape == ():
                print(key, value.dtype, data)
            else:
                digest = hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()
                print(key, value.dtype, value.shape, value.compression, digest[:16])

    with h5py.File(path) as file:
        file.visititems(show)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check-d4rl")
    parser.add_argument("--read")
    args = parser.parse_args()
    if args.read:
        read(args.read)
    else:
        write(HERE, args.check_d4rl)

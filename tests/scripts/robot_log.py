"""Writes one robot's log in the formats people have: 24 numbers seen, 7 done.

    python tests/scripts/robot_log.py FOLDER FORMAT...

Formats: hdf5, robomimic and d3rlpy (with h5py); csv, npz, parquet and lerobot (with
pyarrow). All hold the same steps in single precision: ten episodes of 25, none of them
terminated. Actions are in units of their own, from -2 to 2.
"""

import json
import sys
from pathlib import Path

import numpy as np

OUT, FORMATS = Path(sys.argv[1]), sys.argv[2:]
EPISODES, LENGTH, SEEN, DONE = 10, 25, 24, 7
ROWS = EPISODES * LENGTH


def log():
    draw = np.random.default_rng(5)
    seen = np.zeros((ROWS, SEEN))
    state = None
    for row in range(ROWS):
        fresh = state is None or row % LENGTH == 0
        state = draw.normal(size=SEEN) if fresh else 0.9 * state + 0.3 * draw.normal(size=SEEN)
        seen[row] = state
    done = 2 * np.tanh(seen[:, :DONE] - seen[:, DONE : 2 * DONE])
    reward = -np.abs(seen[:, 0]) - 0.1 * np.square(done).sum(1)
    return [np.float32(x) for x in (seen, done, reward)]


seen, done, reward = log()
episode = np.arange(ROWS) // LENGTH
last = np.arange(ROWS) % LENGTH == LENGTH - 1
OUT.mkdir(exist_ok=True)


def parts():
    for i in range(EPISODES):
        rows = slice(i * LENGTH, (i + 1) * LENGTH)
        yield i, seen[rows], done[rows], reward[rows]


def hdf5():
    with h5py.File(OUT / "log.hdf5", "w") as file:
        file["observations"], file["actions"], file["rewards"] = seen, done, reward
        file["terminals"], file["timeouts"] = np.zeros(ROWS, bool), last


def robomimic():
    with h5py.File(OUT / "robomimic.hdf5", "w") as file:
        for i, s, a, r in parts():
            demo = file.create_group(f"data/demo_{i}")
            demo["obs/joints"] = s[:, :14].astype(np.float64)
            demo["obs/object"] = s[:, 14:].astype(np.float64)
            demo["actions"], demo["rewards"] = a.astype(np.float64), r.astype(np.float64)
            demo["dones"] = np.zeros(LENGTH, np.int64)


def d3rlpy():
    with h5py.File(OUT / "d3rlpy.hdf5", "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        for i, s, a, r in parts():
            file[f"observations_{i}"], file[f"actions_{i}"] = s, a
            file[f"rewards_{i}"], file[f"terminated_{i}"] = r.reshape(-1, 1), False


def csv():
    names = [f"obs_{i}" for i in range(SEEN)] + [f"action_{i}" for i in range(DONE)]
    with open(OUT / "log.csv", "w", encoding="utf-8") as file:
        print(*names, "reward", "episode", sep=",", file=file)
        for row in range(ROWS):
            numbers = [*seen[row], *done[row], reward[row]]
            print(*[repr(x.item()) for x in numbers], episode[row], sep=",", file=file)


def npz():
    flags = {"terminals": np.zeros(ROWS, bool), "timeouts": last}
    np.savez_compressed(OUT / "log.npz", observations=seen, actions=done, rewards=reward, **flags)


def table():
    numbers = pa.list_(pa.float32())
    return pa.table({
        "observation.state": pa.array(list(seen), numbers),
        "action": pa.array(list(done), numbers),
        "next.reward": pa.array(reward),
        "episode_index": pa.array(episode),
        "frame_index": pa.array(np.arange(ROWS) % LENGTH),
    })


def parquet():
    pq.write_table(table(), OUT / "log.parquet")


def lerobot():
    (OUT / "lerobot/meta").mkdir(parents=True)
    (OUT / "lerobot/data/chunk-000").mkdir(parents=True)
    said = {"codebase_version": "v2.1", "total_episodes": EPISODES, "total_frames": ROWS, "fps": 20}
    (OUT / "lerobot/meta/info.json").write_text(json.dumps(said))
    for i in range(EPISODES):
        name = OUT / f"lerobot/data/chunk-000/episode_{i:06d}.parquet"
        pq.write_table(table().slice(i * LENGTH, LENGTH), name)


if {"hdf5", "robomimic", "d3rlpy"} & set(FORMATS):
    import h5py
if {"parquet", "lerobot"} & set(FORMATS):
    import pyarrow as pa
    import pyarrow.parquet as pq
for name in FORMATS:
    {f.__name__: f for f in (hdf5, robomimic, d3rlpy, csv, npz, parquet, lerobot)}[name]()

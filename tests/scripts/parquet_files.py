"""Writes Parquet files as pyarrow writes them: one table, and LeRobot's folders.

    python tests/scripts/parquet_files.py FOLDER

The rows are those of crates/spar/tests/cli/files/sound.hdf5: a point mass pushed to its
middle, two episodes of 20 steps. `broken/` holds files with one fault each.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(sys.argv[1])
LENGTH = 20


def rows():
    keys = "observations", "actions", "rewards", "timeouts", "episode", "frame"
    rows = {key: [] for key in keys}
    for episode, start in enumerate((-0.5, 0.8)):
        x, v = start, 0.0
        for step in range(LENGTH):
            force = float(np.clip(-x - v, -1, 1))
            rows["observations"].append([x, v])
            rows["actions"].append([force])
            v += 0.1 * force
            x += 0.1 * v
            rows["rewards"].append(1 - x * x - 0.01 * force * force)
            rows["timeouts"].append(step == LENGTH - 1)
            rows["episode"].append(episode)
            rows["frame"].append(step)
    return rows


ROWS = rows()


def lists(values, width=None):
    """A list a row, of a fixed width or not: LeRobot's versions differ in it."""
    kind = pa.list_(pa.float32(), width) if width else pa.list_(pa.float32())
    return pa.array([[np.float32(x) for x in row] for row in values], kind)


def lerobot(state=True, reward=True, done=False, fixed=None):
    """The columns of LeRobot's tables, one camera among them that is no number."""
    columns = {}
    if state:
        columns["observation.state"] = lists(ROWS["observations"], 2 if fixed else None)
    else:
        columns["observation.position"] = lists([row[:1] for row in ROWS["observations"]])
        columns["observation.velocity"] = pa.array([row[1] for row in ROWS["observations"]], pa.float64())
    columns["action"] = lists(ROWS["actions"], 1 if fixed else None)
    columns["observation.image"] = pa.array([{"bytes": b"png", "path": None}] * len(ROWS["frame"]))
    columns["timestamp"] = pa.array(np.float32(ROWS["frame"]) / 50)
    columns["frame_index"] = pa.array(ROWS["frame"], pa.int64())
    columns["episode_index"] = pa.array(ROWS["episode"], pa.int64())
    columns["index"] = pa.array(range(len(ROWS["frame"])), pa.int64())
    columns["task_index"] = pa.array([0] * len(ROWS["frame"]), pa.int64())
    if reward:
        columns["next.reward"] = pa.array(ROWS["rewards"], pa.float32())
    if done:
        columns["next.done"] = pa.array(ROWS["timeouts"], pa.bool_())
    return pa.table(columns)


def info(folder, version, episodes=2, frames=2 * LENGTH):
    said = {
        "codebase_version": version,
        "robot_type": "arm",
        "total_episodes": episodes,
        "total_frames": frames,
        "fps": 50,
        "features": {
            "observation.state": {"dtype": "float32", "shape": [2], "names": None},
            "observation.images.top": {"dtype": "video", "shape": [48, 64, 3]},
        },
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(said))


def write(table, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def version2(folder, table, version="v2.1", **options):
    """A file an episode."""
    info(folder, version)
    for episode in range(2):
        part = table.slice(episode * LENGTH, LENGTH)
        write(part, folder / f"data/chunk-000/episode_{episode:06d}.parquet", **options)


version2(OUT / "lerobot-v2", lerobot(), compression="snappy")
version2(OUT / "lerobot-bare", lerobot(reward=False), compression="zstd", version="v2.0")
# Of version 3: many episodes a file, and an episode goes on in the next one.
info(OUT / "lerobot-v3", "v3.0")
table = lerobot(fixed=True)
write(table.slice(0, 30), OUT / "lerobot-v3/data/chunk-000/file-000.parquet", compression="zstd")
write(table.slice(30), OUT / "lerobot-v3/data/chunk-001/file-000.parquet", compression="none", data_page_version="2.0")

observations = np.array(ROWS["observations"], np.float32)
plain = {
    "obs_0": pa.array(observations[:, 0]),
    "obs_1": pa.array(observations[:, 1].astype(np.float64)),
    "action": pa.array(np.float32(ROWS["actions"])[:, 0]),
    "reward": pa.array(np.float32(ROWS["rewards"])),
    "timeout": pa.array(ROWS["timeouts"], pa.bool_()),
    "terminal": pa.array([0] * 40, pa.uint8()),
    "who": pa.array(["me"] * 40),
}
# Pages of a few rows, and row groups of fewer.
write(pa.table(plain), OUT / "plain.parquet", row_group_size=7, data_page_size=64, use_dictionary=["who"])
named = dict(plain, trial=pa.array(["left"] * 20 + ["right"] * 20))
del named["timeout"], named["terminal"]
named["episode"] = named.pop("trial")
named["gain"] = named.pop("reward")
write(pa.table(named), OUT / "named.parquet")
write(lerobot(state=False, done=True), OUT / "apart.parquet")

# One fault each.
broken = OUT / "broken"
for name, change in {
    "short": {"observation.state": lists([[1.0, 2.0]] * 39 + [[1.0]])},
    "empty": {"observation.state": lists([[1.0, 2.0]] * 39 + [[]])},
    "nested": {"action": pa.array([[[0.5]]] * 40, pa.list_(pa.list_(pa.float32())))},
    "text": {"action": pa.array(["left"] * 40)},
    "missing": {"next.reward": pa.array([1.0] * 39 + [None], pa.float32())},
    "nan": {"next.reward": pa.array([1.0] * 17 + [float("nan")] + [1.0] * 22, pa.float32())},
    "large": {"action": pa.array([[1e300]] * 40, pa.list_(pa.float64()))},
    "uncounted": {"episode_index": pa.array([0] * 39 + [None], pa.int64())},
    "wide-reward": {"next.reward": lists([[1.0, 2.0]] * 40)},
    "flag": {"next.done": pa.array([2] * 40, pa.int64())},
    "time": {"action": pa.array([5] * 40, pa.timestamp("us"))},
}.items():
    table = lerobot()
    for column, values in change.items():
        if column in table.column_names:
            table = table.drop_columns([column])
        table = table.append_column(column, values)
    write(table, broken / f"{name}.parquet")
gap = lerobot()
write(pa.concat_tables([gap.slice(0, 5), gap.slice(8)]), broken / "gap.parquet")
write(lerobot().slice(0, 0), broken / "no-rows.parquet")
write(lerobot(), broken / "gzip.parquet", compression="gzip")
version2(broken / "lost", lerobot())
(broken / "lost/data/chunk-000/episode_000001.parquet").unlink()
version2(broken / "widths", lerobot())
wide = lerobot().drop_columns(["action"]).append_column("action", lists([[0.5, 0.5]] * 40))
write(wide.slice(20), broken / "widths/data/chunk-000/episode_000001.parquet")
version2(broken / "columns", lerobot())
write(lerobot(reward=False).slice(20), broken / "columns/data/chunk-000/episode_000001.parquet")
version2(broken / "no-info", lerobot())
(broken / "no-info/meta/info.json").write_text('{"total_episodes": 2}')
version2(broken / "pointer", lerobot())
(broken / "pointer/data/chunk-000/episode_000001.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
info(broken / "no-files", "v2.1")
# Rows that pack to nothing and would take gigabytes, and a list of a million numbers.
zeros = pa.array(np.zeros(1 << 25, np.float32))
bomb = pa.table({"obs_0": zeros, "action": zeros, "reward": zeros})
write(bomb, broken / "bomb.parquet", row_group_size=1 << 25, compression="zstd")
wide = pa.array([[0.0] * (1 << 20)], pa.list_(pa.float32()))
write(pa.table({"observation.state": wide, "action": [0.5]}), broken / "wide.parquet")

"""Writes tests/cli/files/*.hdf5: files of a point mass as h5py writes them,
one as it should be and some with one fault each.

    python3 -m venv venv
    venv/bin/pip install h5py==3.16.0 numpy==2.4.6
    venv/bin/python crates/spar/tests/cli/files.py
"""

from pathlib import Path

import h5py
import numpy as np

FOLDER = Path(__file__).resolve().parent / "files"
ROWS = 40


def arrays():
    """Two episodes of a point mass pushed to its middle."""
    keys = "observations", "actions", "rewards", "terminals", "timeouts"
    rows = {key: [] for key in keys}
    for start in (-0.5, 0.8):
        x, v = start, 0.0
        for step in range(ROWS // 2):
            force = float(np.clip(-x - v, -1, 1))
            rows["observations"].append([x, v])
            rows["actions"].append([force])
            v += 0.1 * force
            x += 0.1 * v
            rows["rewards"].append(1 - x * x - 0.01 * force * force)
            rows["terminals"].append(False)
            rows["timeouts"].append(step == ROWS // 2 - 1)
    kinds = {"terminals": bool, "timeouts": bool}
    return {key: np.array(rows[key], kinds.get(key, np.float32)) for key in keys}


def write(name, change=lambda a: None, libver="earliest", **options):
    data = arrays()
    change(data)
    with h5py.File(FOLDER / name, "w", libver=libver) as file:
        for key, values in data.items():
            file.create_dataset(key, data=values, **options)


def nan(a):
    a["rewards"][17] = np.nan


def missing(a):
    del a["rewards"]


def short(a):
    a["actions"] = a["actions"][:-1]


FOLDER.mkdir(exist_ok=True)
write("sound.hdf5")
write("packed.hdf5", compression="gzip", chunks=True, shuffle=True)
# Of this one every byte that means something has a checksum.
write("checked.hdf5", libver="latest", compression="gzip", chunks=True, fletcher32=True)
write("nan.hdf5", nan)
write("missing.hdf5", missing)
write("shape.hdf5", short)


def half(a):
    for key, values in a.items():
        if values.dtype == np.float32:
            a[key] = values.astype(np.float16)


def renamed(**names):
    def change(a):
        for new, old in names.items():
            a[new] = a.pop(old)

    return change


def grouped(a):
    observations = a.pop("observations")
    a["observations/position"] = observations[:, :1]
    a["observations/velocity"] = observations[:, 1]


def ends(a):
    """d3rlpy's: one array for both kinds of end."""
    a["episode_terminals"] = a.pop("timeouts").astype(np.float32)
    a["terminals"][ROWS // 2 - 1] = True


write("lzf.hdf5", compression="lzf", chunks=True)
write("half.hdf5", half)
write("truncations.hdf5", renamed(truncations="timeouts"))
write("ends.hdf5", ends)
write("unknown.hdf5", renamed(over="timeouts"))
write("groups.hdf5", grouped)

# A text that claims to have 4 GiB.
write("vlen.hdf5")
with h5py.File(FOLDER / "vlen.hdf5", "a", libver="earliest") as file:
    text = file.create_dataset("metadata/note", data="short", dtype=h5py.string_dtype())
    place = text.id.get_offset()
bytes_ = bytearray((FOLDER / "vlen.hdf5").read_bytes())
bytes_[place : place + 4] = b"\xff" * 4
(FOLDER / "vlen.hdf5").write_bytes(bytes_)

# OGBench's layout: `terminals` mark every end, `masks` the real ones.
data = arrays()
timeouts = data.pop("timeouts")
data["masks"] = np.ones(ROWS, np.float32)
data["masks"][ROWS // 2 - 1] = 0
data["terminals"] = timeouts.astype(np.float32)
np.savez_compressed(FOLDER / "ogbench.npz", **data)
np.savez(FOLDER / "plain.npz", **arrays())


def episodes():
    """The arrays of each episode, in single precision."""
    a = arrays()
    for i in range(2):
        rows = slice(i * ROWS // 2, (i + 1) * ROWS // 2)
        yield i, {key: values[rows] for key, values in a.items()}


# As robomimic's `convert_*.py` and `dataset_states_to_obs.py` write them (0.3).
with h5py.File(FOLDER / "robomimic.hdf5", "w") as file:
    group = file.create_group("data")
    group.attrs["total"] = ROWS
    group.attrs["env_args"] = '{"env_name": "Push", "type": 1, "env_kwargs": {}}'
    for i, a in episodes():
        demo = group.create_group(f"demo_{i}")
        demo.attrs["num_samples"] = len(a["rewards"])
        demo["actions"] = a["actions"].astype(np.float64)
        demo["rewards"] = a["rewards"].astype(np.float64)
        demo["dones"] = np.zeros(len(a["rewards"]), np.int64)
        demo["states"] = a["observations"].astype(np.float64)
        demo["obs/position"] = a["observations"][:, :1].astype(np.float64)
        demo["obs/velocity"] = a["observations"][:, 1:].astype(np.float64)
        demo["obs/camera"] = np.zeros((len(a["rewards"]), 2, 2, 3), np.uint8)
    file["mask/train"] = np.array([b"demo_0", b"demo_1"])

# As d3rlpy's `ReplayBuffer.dump` writes it (2.1).
with h5py.File(FOLDER / "d3rlpy.hdf5", "w") as file:
    file["columns"] = ["observations", "actions", "rewards", "terminated"]
    file["num_episodes"] = 2
    for i, a in episodes():
        file[f"observations_{i}"] = a["observations"]
        file[f"actions_{i}"] = a["actions"]
        file[f"rewards_{i}"] = a["rewards"].reshape(-1, 1)
        file[f"terminated_{i}"] = False
    file["version"] = "2.1"

# As pandas writes a frame: the shortest text of each number.
with open(FOLDER / "frame.csv", "w", encoding="utf-8") as file:
    print("obs_0,obs_1,action,reward,done,truncated,note", file=file)
    a = arrays()
    for row in range(ROWS):
        numbers = [*a["observations"][row], *a["actions"][row], a["rewards"][row]]
        text = [repr(np.float32(x).item()) for x in numbers]
        print(*text, bool(a["terminals"][row]), int(a["timeouts"][row]), '"a, b"', sep=",", file=file)

# A data logger's: episodes numbered, nothing flagged, names in another order.
with open(FOLDER / "logger.csv", "w", encoding="utf-8") as file:
    print("episode_index;action[0];state.1;state.0;reward", file=file)
    for i, a in episodes():
        for row in range(ROWS // 2):
            (x, v), (force,) = a["observations"][row], a["actions"][row]
            numbers = [repr(np.float32(n).item()) for n in (force, v, x, a["rewards"][row])]
            print(i, *numbers, sep=";", file=file)

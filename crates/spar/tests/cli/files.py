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

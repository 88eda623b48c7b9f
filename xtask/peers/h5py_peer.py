"""What `cargo xtask bench --loading` asks of h5py.

`pack SOURCE TARGET` copies the arrays of a D4RL file to another one in h5py's own
chunks, with gzip at its own level. `load FILE` reads the arrays that training holds
and prints what it took, as JSON (crates/spar-bench/src/loading.rs prints the same).
"""

import argparse
import hashlib
import json
import os
import time

KEYS = ["observations", "actions", "rewards", "terminals", "timeouts"]


def pack(source, target):
    import h5py

    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Dataset) and item.ndim > 0:
                new.create_dataset(name, data=item[()], chunks=True, compression="gzip")

        old.visititems(copy)


def load(path):
    import h5py

    wall, cpu = time.perf_counter(), time.process_time()
    with h5py.File(path) as file:
        arrays = [file[key][()] for key in KEYS]
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.astype("<f4" if array.dtype.kind == "f" else "u1").tobytes())
    told = {
        "rows": len(arrays[0]),
        "data_bytes": sum(array.nbytes for array in arrays),
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "peak_bytes": 1024 * int(peak.split()[1]),
        "sha256": digest.hexdigest(),
        "version": f"h5py {h5py.version.version}, HDF5 {h5py.version.hdf5_version}",
    }
    print(json.dumps(told))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["pack", "load"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--core", type=int, help="stay on this one of the allowed cores")
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[args.core]})
    if args.command == "pack":
        pack(*args.files)
    else:
        load(*args.files)


if __name__ == "__main__":
    main()

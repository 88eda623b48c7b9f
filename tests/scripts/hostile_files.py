"""Files in D4RL's layout made to break a reader, that only h5py can make: other
types and byte orders, links in circles and out of the file, filters, chunks that
unpack to far more than they should.

    python tests/scripts/hostile_files.py FOLDER

writes them all to FOLDER and prints their names as a JSON list. What a reader has to
say about each is in crates/spar-data/tests/hostile_h5py.rs.
"""

import json
import pathlib
import sys
import zlib

import h5py
import numpy as np

ROWS = 64
KEYS = {"observations": 3, "actions": 2, "rewards": 0, "terminals": 0}


def values(key, rows=ROWS):
    """Distinct numbers; the flags alternate."""
    if key == "terminals":
        return np.arange(rows) % 2 == 1
    width = KEYS[key]
    shape = (rows, width) if width else (rows,)
    count = int(np.prod(shape))
    return (np.arange(count, dtype=np.float64) / 8 - 5).reshape(shape)


def put(file, key, data, **how):
    if key in file:
        del file[key]
    return file.create_dataset(key, data=data, **how)


def sound(path):
    file = h5py.File(path, "w")
    for key in KEYS:
        data = values(key)
        put(file, key, data if data.dtype == bool else data.astype(np.float32))
    return file


def typed(dtype, keys=("observations", "actions", "rewards"), **how):
    def spoil(file, folder):
        for key in keys:
            put(file, key, values(key).astype(dtype), **how)

    return spoil


def compound(file, folder):
    kind = np.dtype([("x", "<f4"), ("y", "<i2")])
    put(file, "rewards", np.zeros(ROWS, kind))


def enumeration(size):
    def spoil(file, folder):
        kind = h5py.enum_dtype({"NO": 0, "YES": 1}, basetype=f"i{size}")
        put(file, "terminals", values("terminals").astype(f"i{size}"), dtype=kind)

    return spoil


def external_link(file, folder):
    with sound(folder / "target.h5"):
        pass
    del file["actions"]
    file["actions"] = h5py.ExternalLink("target.h5", "actions")


def soft_link_out(file, folder):
    with sound(folder / "target.h5"):
        pass
    del file["actions"]
    file["away"] = h5py.ExternalLink("target.h5", "/")
    file["actions"] = h5py.SoftLink("/away/actions")


def virtual(file, folder):
    with sound(folder / "target.h5"):
        pass
    layout = h5py.VirtualLayout(shape=(ROWS, 2), dtype="f4")
    layout[:] = h5py.VirtualSource(folder / "target.h5", "actions", shape=(ROWS, 2))
    del file["actions"]
    file.create_virtual_dataset("actions", layout)


def external_storage(file, folder):
    (folder / "raw.bin").write_bytes(bytes(4 * ROWS))
    del file["rewards"]
    where = [(str(folder / "raw.bin"), 0, 4 * ROWS)]
    file.create_dataset("rewards", (ROWS,), "f4", external=where)


def soft_loop(file, folder):
    del file["rewards"]
    file["rewards"] = h5py.SoftLink("/other")
    file["other"] = h5py.SoftLink("/rewards")


def soft_alias(file, folder):
    file.move("rewards", "elsewhere")
    file["rewards"] = h5py.SoftLink("/elsewhere")


def hard_alias(file, folder):
    file["timeouts"] = file["terminals"]


def cyclic_groups(file, folder):
    group = file.create_group("metadata")
    for i in range(300):
        group[f"loop{i}"] = group
    file["infos"] = file["/"]


def missing_chunks(file, folder):
    """Three of four chunks are stored, the last is the fill value."""
    del file["rewards"]
    how = {"chunks": (ROWS // 4,), "compression": "gzip", "fillvalue": 2.5}
    made = file.create_dataset("rewards", (ROWS,), "f4", **how)
    made[: 3 * ROWS // 4] = values("rewards")[: 3 * ROWS // 4]


def zeros(count):
    """That many zero bytes, deflated."""
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    parts = [packer.compress(piece) for _ in range(count >> 20)]
    return b"".join([*parts, packer.flush()])


def long_chunk(**how):
    """A chunk of 256 bytes that inflates to 256 MB."""

    def spoil(file, folder):
        del file["rewards"]
        made = file.create_dataset("rewards", (ROWS,), "f4", chunks=(ROWS,), **how)
        made.id.write_direct_chunk((0,), zeros(256 << 20))

    return spoil


def short_chunk(file, folder):
    del file["rewards"]
    made = file.create_dataset("rewards", (ROWS,), "f4", chunks=(ROWS,), compression="gzip")
    made.id.write_direct_chunk((0,), zlib.compress(bytes(4 * ROWS - 4)))


def bare_short_chunk(file, folder):
    """Said not to be filtered, and too short."""
    del file["rewards"]
    made = file.create_dataset("rewards", (ROWS,), "f4", chunks=(ROWS,), compression="gzip")
    made.id.write_direct_chunk((0,), bytes(8), filter_mask=1)


def bare_chunk(file, folder):
    """Said not to be filtered, and whole."""
    del file["rewards"]
    made = file.create_dataset("rewards", (ROWS,), "f4", chunks=(ROWS,), compression="gzip")
    data = values("rewards").astype("<f4").tobytes()
    made.id.write_direct_chunk((0,), data, filter_mask=1)


def bomb(file, folder):
    """A gigabyte of zeros, well-formed: every number can be read."""
    chunk = 1 << 20
    rows = 1 << 28
    for key in ("observations", "actions"):
        del file[key]
        how = {"chunks": (chunk, 1), "compression": "gzip"}
        made = file.create_dataset(key, (rows, 1), "f4", **how)
        packed = zeros(4 * chunk)
        for row in range(0, rows, chunk):
            made.id.write_direct_chunk((row, 0), packed)


def absurd(file, folder):
    del file["observations"]
    how = {"chunks": (1024, 17), "compression": "gzip"}
    file.create_dataset("observations", (1 << 40, 17), "f4", **how)


def absurd_plain(file, folder):
    del file["observations"]
    made = file.create_dataset("observations", (1 << 40, 17), "f4", chunks=(64, 17))
    made[:64] = 1


def filtered(**how):
    def spoil(file, folder):
        for key in KEYS:
            data = values(key)
            kind = "i1" if data.dtype == bool else "f4"
            put(file, key, data.astype(kind), chunks=True, **how)

    return spoil


def scale_offset(file, folder):
    put(file, "terminals", values("terminals").astype("i4"), chunks=True, scaleoffset=2)


def gzip_beyond_scale_offset(file, folder):
    how = {"chunks": True, "scaleoffset": 2, "compression": "gzip"}
    put(file, "terminals", values("terminals").astype("i4"), **how)


FILES = {
    "sound": lambda file, folder: None,
    "big_endian": typed(">f4"),
    "big_endian_packed": typed(">f8", compression="gzip", shuffle=True, chunks=True),
    "big_endian_integers": typed(">i4", keys=("terminals",)),
    "unsigned": typed("u8", keys=("terminals",)),
    "half": typed("f2"),
    "extended": typed("g", keys=("rewards",)),
    "complex": typed("c8", keys=("rewards",)),
    "text": typed("S6", keys=("rewards",)),
    "compound": compound,
    "enumeration": enumeration(1),
    "wide_enumeration": enumeration(8),
    "external_link": external_link,
    "soft_link_out": soft_link_out,
    "virtual": virtual,
    "external_storage": external_storage,
    "soft_loop": soft_loop,
    "soft_alias": soft_alias,
    "hard_alias": hard_alias,
    "cyclic_groups": cyclic_groups,
    "missing_chunks": missing_chunks,
    "long_chunk": long_chunk(compression="gzip"),
    "long_chunk_big_endian": lambda file, folder: (
        file.move("rewards", "kept"),
        file.create_dataset("rewards", (ROWS,), ">f4", chunks=(ROWS,), compression="gzip")
        .id.write_direct_chunk((0,), zeros(256 << 20)),
    ),
    "short_chunk": short_chunk,
    "bare_short_chunk": bare_short_chunk,
    "bare_chunk": bare_chunk,
    "bomb": bomb,
    "absurd": absurd,
    "absurd_plain": absurd_plain,
    "checksum": filtered(fletcher32=True),
    "everything": filtered(fletcher32=True, shuffle=True, compression="gzip"),
    "lzf": filtered(compression="lzf"),
    "scale_offset": scale_offset,
    "gzip_beyond_scale_offset": gzip_beyond_scale_offset,
}


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    for name, spoil in FILES.items():
        with sound(folder / f"{name}.hdf5") as file:
            spoil(file, folder)
    print(json.dumps(list(FILES)))


if __name__ == "__main__":
    main()

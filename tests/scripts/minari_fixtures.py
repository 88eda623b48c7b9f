"""Writes the Minari data sets under tests/fixtures/minari with the real minari
package, and what is in them as `<name>.json`; or prints what minari finds in a
data set that this project wrote.

    python3 -m venv venv
    venv/bin/pip install --require-hashes -r tests/scripts/requirements-minari.txt
    venv/bin/python tests/scripts/minari_fixtures.py [--out FOLDER]
    venv/bin/python tests/scripts/minari_fixtures.py --load ID

The requirements pin minari 0.5.4, h5py 3.16.0, numpy 2.4.6 and gymnasium 1.4.0.
`--load` looks for the id below $MINARI_DATASETS_PATH as minari does.
"""

import argparse
import json
import os
import pathlib
import warnings

import h5py
import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

HERE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "minari"
OBS, ACT, NQ, NV = 3, 2, 2, 1
# Steps of each episode, and how it ends.
EPISODES = [(4, "terminations"), (6, "truncations"), (1, "terminations"), (3, None)]


def box(width, dtype=np.float64, bound=np.inf):
    return spaces.Box(-bound, bound, (width,), dtype)


def buffers(rng, observe, act, state, episodes):
    """Episodes of random numbers; `observe` and `act` draw n values."""
    for number, (steps, how) in enumerate(episodes):
        flags = {"terminations": np.zeros(steps, bool), "truncations": np.zeros(steps, bool)}
        if how:
            flags[how][-1] = True
        infos = None
        if state:
            infos = {
                "qpos": rng.normal(size=(steps + 1, NQ)),
                "qvel": rng.normal(size=(steps + 1, NV)),
                "note": np.arange(steps + 1),
            }
        yield EpisodeBuffer(
            id=number,
            seed=number,
            observations=observe(steps + 1),
            actions=act(steps),
            rewards=rng.normal(size=steps),
            infos=infos,
            **flags,
        )


def write(folder, name, observe, act, obs_space, act_space, rng, state=False, episodes=EPISODES):
    """One data set of the id `test/<name>-v0`, with minari itself."""
    dataset_id = f"test/{name}-v0"
    with warnings.catch_warnings():
        # About authors and the like, which fixtures have none of.
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            dataset_id,
            list(buffers(rng, observe, act, state, episodes)),
            observation_space=obs_space,
            action_space=act_space,
            algorithm_name="random numbers",
        )
    return folder / dataset_id / "data" / "main_data.hdf5"


def compress(main):
    """Rewrites every array packed, as published data sets are."""
    plain = main.with_suffix(".plain")
    main.rename(plain)

    with h5py.File(plain) as source, h5py.File(main, "w", track_order=True) as packed:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                options = {"compression": "gzip", "shuffle": True} if item.shape else {}
                made = packed.create_dataset(name, data=item[()], **options)
            else:
                made = packed.require_group(name)
            made.attrs.update(item.attrs)

        source.visititems(copy)
    plain.unlink()


def into_attributes(main):
    """Makes it what Minari 0.4 wrote: the description in the file's attributes."""
    described = main.with_name("metadata.json")
    with h5py.File(main, "a") as file:
        file.attrs.update(json.loads(described.read_text()) | {"minari_version": "0.4.3"})
    described.unlink()


def fixtures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    rng = np.random.default_rng(4)
    rows = lambda width, dtype: lambda n: rng.normal(size=(n, width)).astype(dtype)
    acts = lambda n: rng.uniform(-1, 1, size=(n, ACT)).astype(np.float32)
    act_space = box(ACT, np.float32, 1)

    write(folder, "plain", rows(OBS, np.float64), acts, box(OBS), act_space, rng)
    narrow = rows(OBS, np.float32), acts, box(OBS, np.float32), act_space, rng
    compress(write(folder, "gzip", *narrow, state=True))
    old = write(folder, "old", *narrow)
    for name in ("plain", "gzip", "old"):
        expected = load(f"test/{name}-v0")
        (folder / f"{name}.json").write_text(json.dumps(expected) + "\n")
    into_attributes(old)

    # What has to be refused.
    images = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    frames = lambda n: rng.integers(0, 255, (n, 8, 8, 3), np.uint8)
    goal = {"observation": box(OBS), "goal": box(2)}
    goals = lambda n: {key: rows(space.shape[0], float)(n) for key, space in goal.items()}
    pairs = lambda n: (rows(2, float)(n), rows(1, float)(n))
    pair = spaces.Tuple((box(2), box(1)))
    counts = lambda n: rng.integers(0, 5, n)
    for name, observe, act, obs_space, act_space in [
        ("dict", goals, acts, spaces.Dict(goal), act_space),
        ("tuple", pairs, acts, pair, act_space),
        ("image", frames, acts, images, act_space),
        ("discrete", counts, acts, spaces.Discrete(5), act_space),
        ("choice", rows(OBS, float), counts, box(OBS), spaces.Discrete(5)),
    ]:
        write(folder, name, observe, act, obs_space, act_space, rng, episodes=EPISODES[:1])
    (folder / "test" / "namespace_metadata.json").unlink(missing_ok=True)
    for main in folder.glob("**/main_data.hdf5"):
        assert main.stat().st_size < 100_000, main


def load(dataset_id):
    """What minari finds, episode by episode."""
    data = minari.load_dataset(dataset_id)
    episodes = []
    for episode in data.iterate_episodes():
        assert data.observation_space.contains(episode.observations[0]), dataset_id
        assert data.action_space.contains(episode.actions[0]), dataset_id
        assert len(episode.observations) == len(episode) + 1, repr(episode)
        numbers = ("observations", "actions", "rewards", "terminations", "truncations")
        found = {key: getattr(episode, key).tolist() for key in numbers}
        found["infos"] = {key: value.tolist() for key, value in (episode.infos or {}).items()}
        episodes.append(found)
    assert len(data.sample_episodes(1)) == 1
    return {
        "id": data.id,
        "total_episodes": data.total_episodes,
        "total_steps": data.total_steps,
        "listed": dataset_id in minari.list_local_datasets(),
        # JSON has no infinite numbers.
        "action_low": [x if np.isfinite(x) else None for x in data.action_space.low.tolist()],
        "dtype": str(data.observation_space.dtype),
        "episodes": episodes,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--load")
    args = parser.parse_args()
    if args.load:
        print(json.dumps(load(args.load)))
    else:
        fixtures(args.out)

"""Records the antmaze trajectories that spar-env is held to.

    python3 -m venv venv
    venv/bin/pip install gymnasium==1.4.0 mujoco==3.17.0 numpy==2.4.6
    venv/bin/python tests/scripts/antmaze_trajectories.py

writes tests/fixtures/antmaze/*.bin. No package has D4RL's antmaze (gymnasium-robotics' is
another ant), so gymnasium's ant is edited here a second time, by MuJoCo's own model editor,
and stepped by its Python binding. The goal is the middle of its cell, as in an environment
that was never reset.

The format is that of gymnasium_trajectories.py. Each trajectory is started by mj_resetData
and a state, so that it depends on its start and actions alone.
"""

import struct
from pathlib import Path

import gymnasium
import mujoco
import numpy as np

STEPS = 150
FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "antmaze"
ANT = Path(gymnasium.__file__).parent / "envs/mujoco/assets/ant.xml"
MAPS = {
    "umaze": "#####/#R..#/###.#/#G..#/#####",
    "medium": "########/#R.##..#/#..#...#/##...###/#..#...#/#.#..#.#/#...#.G#/########",
    "large": "############/#R...#.....#/#.##.#.#.#.#/#......#...#/#.####.###.#/#..#.#.....#/"
    "##.#.#.#.###/#..#...#.G.#/############",
}


def model_of(rows):
    spec = mujoco.MjSpec.from_file(str(ANT))
    spec.option.timestep = 0.02
    # Defaults reached the geoms when the file was read: they are set one by one.
    for geom in spec.geoms:
        geom.solref = [0.02, 1]
        geom.solimp = [0.8, 0.8, 0.01, 0.5, 2]
    for motor in spec.actuators:
        motor.ctrlrange = [-30, 30]
        motor.gear[0] = 1
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell == "#":
                spec.worldbody.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_BOX,
                    pos=[4 * j - 4, 4 * i - 4, 1],
                    size=[2, 2, 1],
                    contype=1,
                    conaffinity=1,
                    condim=3,
                    density=5.0,
                    friction=[1, 0.5, 0.5],
                    margin=0.01,
                    solref=[0.02, 1],
                    solimp=[0.8, 0.8, 0.01, 0.5, 2],
                )
    return spec.compile()


def record(model, goal, qpos, qvel, actions):
    data = mujoco.MjData(model)
    mujoco.mj_resetData(model, data)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    start = np.concatenate([data.qpos, data.qvel])
    out = [
        struct.pack("<5I", len(actions), 15, 14, 8, 29),
        np.concatenate([start, start]).astype("<f8").tobytes(),
    ]
    touched, reached = 0, 0
    for action in actions:
        data.ctrl[:] = np.clip(-30 + (action.astype(np.float64) + 1) * 0.5 * 60, -30, 30)
        for _ in range(5):
            mujoco.mj_step(model, data)
        touched += any(model.geom_type[c.geom].max() == mujoco.mjtGeom.mjGEOM_BOX for c in data.contact)
        near = bool(np.linalg.norm(data.qpos[:2] - goal) <= 0.5)
        reached += near
        out.append(action.astype("<f4").tobytes())
        out.append(np.concatenate([data.qpos, data.qvel, [float(near)]]).astype("<f8").tobytes())
        out.append(struct.pack("<B", near))
    print(f"  {len(actions)} steps, {touched} at a wall, {reached} at the goal")
    return b"".join(out)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in MAPS.items():
        rows = text.split("/")
        i, j = next((i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "G")
        goal = np.array([4.0 * j - 4, 4.0 * i - 4])
        model = model_of(rows)
        rng = np.random.default_rng(len(name))
        trajectories = []
        # From the start; thrown against a wall; on its back; near the goal.
        for kind in range(4):
            qpos = model.qpos0 + rng.uniform(-0.1, 0.1, 15)
            qvel = 0.1 * rng.normal(size=14)
            if kind == 1:
                qvel[:2] = [-6, -6]
            if kind == 2:
                qpos[3:7] = [0, 1, 0, 0]
            if kind == 3:
                qpos[:2] = goal + 0.45
            actions = rng.uniform(-1.2, 1.2, (STEPS, 8)).astype(np.float32)
            trajectories.append(record(model, goal, qpos, qvel, actions))
        env = f"antmaze-{name}"
        print(env)
        content = b"SPARGYM1" + struct.pack("<I", len(trajectories)) + b"".join(trajectories)
        (FOLDER / f"{env}.bin").write_bytes(content)


if __name__ == "__main__":
    main()

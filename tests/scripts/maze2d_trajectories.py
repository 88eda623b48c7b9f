"""Records the maze2d trajectories that spar-env is held to.

    python3 -m venv venv
    venv/bin/pip install mujoco==3.17.0 numpy==2.4.6
    venv/bin/python tests/scripts/maze2d_trajectories.py

writes tests/fixtures/maze2d/*.bin. No package has D4RL's maze2d on a current MuJoCo
(gymnasium-robotics' PointMaze is another geometry), so the model is written here a second
time, from D4RL's description of it, and stepped by MuJoCo's own Python binding:
clip the action, clip the velocity and call forward, set the control, step once.

The format is that of gymnasium_trajectories.py. Each trajectory is started by
mj_resetData and a state, so that it depends on its start and actions alone.
"""

import struct
from pathlib import Path

import mujoco
import numpy as np

STEPS = 300
FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "maze2d"
MAPS = {
    "umaze": "#####/#G..#/###.#/#...#/#####",
    "medium": "########/#..##..#/#..#...#/##...###/#..#...#/#.#..#.#/#...#.G#/########",
    "large": "############/#....#.....#/#.##.#.#.#.#/#......#...#/#.####.###.#/#..#.#.....#/"
    "##.#.#.#.###/#..#...#.G.#/############",
    "open": "#######/#.....#/#..G..#/#.....#/#######",
    "eval-umaze": "#####/#..G#/#.###/#...#/#####",
    "eval-medium": "########/#.....G#/#.#.##.#/#....#.#/###..###/#......#/#..##..#/########",
    "eval-large": "############/#..#...#.G.#/##.###.#.#.#/#..#.#.....#/#.##.#..##.#/#......#...#/"
    "#.##.#.#.###/#....#.....#/############",
}


def model_of(rows):
    spec = mujoco.MjSpec()
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE
    spec.compiler.degree = False
    spec.option.timestep = 0.01
    spec.option.gravity = [0, 0, 0]
    spec.option.iterations = 20
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    geom = dict(friction=[0.5, 0.1, 0.1], density=1000, margin=0.002, condim=1, conaffinity=1)
    plane = dict(geom, contype=1, conaffinity=0)
    spec.worldbody.add_geom(
        name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[40, 40, 0.25], pos=[0, 0, -0.1], **plane
    )
    ball = spec.worldbody.add_body(name="particle", pos=[1.2, 1.2, 0])
    ball.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.1, 0, 0], contype=1, **geom)
    for name, axis in [("ball_x", [1, 0, 0]), ("ball_y", [0, 1, 0])]:
        ball.add_joint(
            name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, damping=[1, 0, 0],
            limited=mujoco.mjtLimited.mjLIMITED_FALSE,
        )
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell == "#":
                spec.worldbody.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_BOX, pos=[i + 1.0, j + 1.0, 0], size=[0.5, 0.5, 0.2],
                    contype=2, **geom,
                )
    for joint in ["ball_x", "ball_y"]:
        motor = spec.add_actuator(
            target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, ctrlrange=[-1, 1],
            ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        )
        motor.gear[0] = 100
    return spec.compile()


def record(model, goal, dense, qpos, qvel, actions):
    data = mujoco.MjData(model)
    mujoco.mj_resetData(model, data)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    start = np.concatenate([data.qpos, data.qvel])
    out = [
        struct.pack("<5I", len(actions), 2, 2, 2, 4),
        np.concatenate([start, start]).astype("<f8").tobytes(),
    ]
    touched, fast = 0, 0
    for action in actions:
        fast += bool(np.any(np.abs(data.qvel) > 5))
        data.qvel[:] = np.clip(data.qvel, -5, 5)
        mujoco.mj_forward(model, data)
        data.ctrl[:] = np.clip(action.astype(np.float64), -1, 1)
        mujoco.mj_step(model, data)
        touched += data.ncon > 1  # one is the floor
        distance = np.linalg.norm(data.qpos - goal)
        reward = np.exp(-distance) if dense else float(distance <= 0.5)
        out.append(action.astype("<f4").tobytes())
        out.append(np.concatenate([data.qpos, data.qvel, [reward]]).astype("<f8").tobytes())
        out.append(struct.pack("<B", 0))
    print(f"  {len(actions)} steps, {touched} at a wall, {fast} above the speed limit")
    return b"".join(out)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in MAPS.items():
        rows = text.split("/")
        free = [(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell != "#"]
        goal = next((i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "G")
        model = model_of(rows)
        for dense in [False, True]:
            rng = np.random.default_rng(len(name) + dense)
            trajectories = []
            # From anywhere; against a wall; above the speed limit; at the goal.
            for kind in range(4):
                cell = np.array(goal if kind == 3 else free[rng.integers(len(free))], float)
                qpos = cell + rng.uniform(-0.1, 0.1, 2)
                qvel = rng.normal(size=2) * (8.0 if kind == 2 else 0.1)
                steady = rng.uniform(-1.5, 1.5, 2)
                actions = np.array(
                    [
                        steady if kind == 1 else steady * np.sin(0.1 * t) + rng.normal(size=2) * 0.5
                        for t in range(STEPS)
                    ],
                    np.float32,
                )
                trajectories.append(record(model, np.array(goal, float), dense, qpos, qvel, actions))
            env = f"maze2d-{name}{'-dense' if dense else ''}"
            print(env)
            content = b"SPARGYM1" + struct.pack("<I", len(trajectories)) + b"".join(trajectories)
            (FOLDER / f"{env}.bin").write_bytes(content)


if __name__ == "__main__":
    main()

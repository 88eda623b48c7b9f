"""Records the gymnasium trajectories that spar-env is held to.

    python3 -m venv venv
    venv/bin/pip install gymnasium==1.4.0 mujoco==3.17.0 numpy==2.4.6 imageio==2.38.1
    venv/bin/python tests/scripts/gymnasium_trajectories.py

writes tests/fixtures/gymnasium/{halfcheetah,hopper,walker2d,ant}.bin from the -v4
environments (imageio is only there because gymnasium imports it). Another
MuJoCo version gives other numbers.

The environments are used unwrapped: no time limit, no stop at a termination.
Each trajectory is started by mj_resetData and set_state, so that it depends on
its start state and actions alone. The ant's observations lack the 84 zeros that D4RL's data have.

Format, little-endian, no padding:
    8 bytes  b"SPARGYM1"
    u32      number of trajectories
    each trajectory:
        u32 * 5               steps, nq, nv, act_dim, obs_dim
        f64 * (nq + nv)       qpos, qvel of the start
        f64 * obs_dim         observation of the start
        steps times:
            f32 * act_dim     action
            f64 * obs_dim     observation after it
            f64               reward
            u8                1 if terminated
"""

import struct
from pathlib import Path

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v4 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v4 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v4 import HopperEnv
from gymnasium.envs.mujoco.walker2d_v4 import Walker2dEnv

STEPS = 1000
# Of the ant, whose observations are wide and whose episodes are soon over.
ANT_STEPS = 300
FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "gymnasium"


def record(env, qpos, qvel, actions):
    mujoco.mj_resetData(env.model, env.data)
    env.set_state(qpos, qvel)
    obs = env._get_obs()
    out = [
        struct.pack("<5I", len(actions), len(qpos), len(qvel), actions.shape[1], len(obs)),
        np.concatenate([qpos, qvel, obs]).astype("<f8").tobytes(),
    ]
    terminals, clipped = 0, 0
    for action in actions:
        obs, reward, terminated, _, _ = env.step(action)
        out.append(action.astype("<f4").tobytes())
        out.append(np.append(obs, reward).astype("<f8").tobytes())
        out.append(struct.pack("<B", bool(terminated)))
        terminals += bool(terminated)
        clipped += bool(np.any(np.abs(env.data.qvel) > 10))
    print(f"  {len(actions)} steps, {terminals} terminal, {clipped} with a velocity beyond 10")
    return b"".join(out)


def main():
    extra_starts = {
        # Thrown up from below the healthy height; beyond the range of every state;
        # tipping over while spinning; sinking upright, legs folded, through that height.
        HopperEnv: [
            {1: 0.6, "v1": 5.0},
            {1: 1.6, "v5": 150.0},
            {1: 1.5, 2: -0.25, "v2": 2.0},
            {1: 0.72, 2: 0.0, 3: -1.57, 4: -2.5, "v1": 0.0, "v2": 0.0},
        ],
        # Falling from above the healthy height; from outside the healthy pitch.
        Walker2dEnv: [{1: 2.4}, {1: 1.5, 2: 1.1, "v2": -6.0, "v4": 20.0}],
        HalfCheetahEnv: [{1: 0.8, 2: 2.5}],
        # Falling from above the healthy height; under it, below the floor; on its back;
        # spinning.
        AntEnv: [{2: 1.4}, {2: 0.15}, {2: 0.9, 3: 0.0, 4: 1.0}, {2: 0.8, "v3": 8.0, "v5": -9.0}],
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in [
        ("halfcheetah", HalfCheetahEnv),
        ("hopper", HopperEnv),
        ("walker2d", Walker2dEnv),
        ("ant", AntEnv),
    ]:
        env = make()
        steps = ANT_STEPS if make is AntEnv else STEPS
        rng = np.random.default_rng(20240)
        nq, nv, nu = env.model.nq, env.model.nv, env.model.nu

        def uniform(scale):
            return rng.uniform(-scale, scale, (steps, nu)).astype(np.float32)

        phase = rng.uniform(0, 2 * np.pi, nu)
        swing = 0.6 * np.sin(0.2 * np.arange(steps)[:, None] + phase)
        noise = lambda scale, n: rng.uniform(-scale, scale, n)
        start = lambda p, v: (env.init_qpos + noise(p, nq), env.init_qvel + noise(v, nv))
        runs = [
            (*start(0.0, 0.0), swing.astype(np.float32)),
            (*start(5e-3, 5e-3), uniform(1.0)),
            (*start(5e-3, 5e-3), uniform(3.0)),
        ]
        for changes in extra_starts[make]:
            qpos, qvel = start(0.1, 0.5)
            for key, value in changes.items():
                (qvel if isinstance(key, str) else qpos)[int(str(key).lstrip("v"))] = value
            runs.append((qpos, qvel, uniform(0.5)))
        print(name)
        body = b"".join(record(env, *run) for run in runs)
        (FOLDER / f"{name}.bin").write_bytes(b"SPARGYM1" + struct.pack("<I", len(runs)) + body)


if __name__ == "__main__":
    main()

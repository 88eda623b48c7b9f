"""Records the kitchen trajectories that spar-env is held to.

    python3 -m venv venv
    venv/bin/pip install gymnasium-robotics==1.4.2 gymnasium==1.4.0 mujoco==3.17.0 \
        numpy==2.4.6 imageio==2.38.1
    venv/bin/python tests/scripts/kitchen_trajectories.py

writes tests/fixtures/kitchen/kitchen.bin from gymnasium-robotics' environment without noise.
Two things are put right: its pedestal collides, which D4RL's does not; and its function that
reads the robot's state does not work with this MuJoCo.

Format, little-endian, no padding:
    8 bytes  b"SPARKIT1"
    u32      number of trajectories
    each trajectory:
        u32               steps
        f64 * (30 + 29)   qpos, qvel of the start
        steps times:
            f32 * 9       action
            f64 * 30      qpos after it
"""

import struct
import warnings
from pathlib import Path

import mujoco
import numpy as np

warnings.filterwarnings("ignore")
from gymnasium_robotics.envs.franka_kitchen import KitchenEnv, franka_env  # noqa: E402

STEPS = 120
FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "kitchen"


def record(env, qpos, qvel, actions):
    robot = env.robot_env
    mujoco.mj_resetData(robot.model, robot.data)
    robot.set_state(qpos, qvel)
    # What the controller starts from.
    robot._get_obs()
    out = [struct.pack("<I", len(actions)), np.concatenate([qpos, qvel]).astype("<f8").tobytes()]
    for action in actions:
        env.step(action)
        out.append(action.astype("<f4").tobytes())
        out.append(robot.data.qpos.astype("<f8").tobytes())
    moved = np.abs(robot.data.qpos[9:] - qpos[9:]).max()
    print(f"  {len(actions)} steps, {robot.data.ncon} contacts at the end, things moved by up to {moved:.3f}")
    return b"".join(out)


def main():
    franka_env.robot_get_obs = lambda model, data, names: (data.qpos[:9].copy(), data.qvel[:9].copy())
    env = KitchenEnv(robot_noise_ratio=0.0, object_noise_ratio=0.0)
    model = env.robot_env.model
    for geom in range(model.ngeom):
        if np.allclose(model.geom_size[geom, :2], [0.12, 0.9]):
            model.geom_contype[geom] = model.geom_conaffinity[geom] = 0
            print("the pedestal is geom", geom)
    rng = np.random.default_rng(7)
    start = env.robot_env.init_qpos.copy()
    drift = np.array([0.1, 0.5, -0.1, 0.4, 0.0, 0.2, 0.0, 0.0, 0.0])
    trajectories = []
    for kind in range(3):
        qpos, qvel = start.copy(), np.zeros(29)
        noise = rng.uniform(-1, 1, (STEPS, 9))
        # Anywhere; into what stands in front; beyond the bounds with the kettle thrown.
        actions = [noise, 0.3 * noise + drift, 1.5 * noise][kind]
        if kind == 2:
            qvel[23:26] = [0.3, -0.4, 1.0]
        trajectories.append(record(env, qpos, qvel, actions.astype(np.float32)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = b"SPARKIT1" + struct.pack("<I", len(trajectories)) + b"".join(trajectories)
    (FOLDER / "kitchen.bin").write_bytes(content)


if __name__ == "__main__":
    main()

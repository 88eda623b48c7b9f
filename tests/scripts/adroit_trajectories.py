"""Records the adroit trajectories that spar-env is held to.

    python3 -m venv venv
    venv/bin/pip install gymnasium-robotics==1.4.2 gymnasium==1.4.0 mujoco==3.17.0 \
        numpy==2.4.6 imageio==2.38.1
    venv/bin/python tests/scripts/adroit_trajectories.py

writes tests/fixtures/adroit/{pen,door,hammer,relocate}.bin from gymnasium-robotics' unwrapped
environments, which observe what D4RL's do. Two things are not D4RL's and are put right here:
door, hammer and relocate add 0.1 times the distance of palm and object to the reward, which
D4RL takes away; pen never ends, which in D4RL it does where the pen is below 0.075.

Each trajectory is started by mj_resetData, a state and what differs between episodes. Starts
are chosen such that every bonus is earned somewhere.

Format, little-endian, no padding:
    8 bytes  b"SPARADR1"
    u32      number of trajectories
    each trajectory:
        u32 * 6               steps, nq, nv, act_dim, obs_dim, numbers of the goal
        f64 * (nq + nv)       qpos, qvel of the start
        f64 * goal            pen: orientation of the target; door, hammer: position of the
                              frame, the board; relocate: the ball's place in the plane, the
                              target's position
        f64 * obs_dim         observation of the start
        steps times:
            f32 * act_dim     action
            f64 * obs_dim     observation after it
            f64               reward
            u8                1 if terminal
"""

import struct
import warnings
from pathlib import Path

import mujoco
import numpy as np

warnings.filterwarnings("ignore")
from gymnasium_robotics.envs.adroit_hand import (  # noqa: E402
    AdroitHandDoorEnv,
    AdroitHandHammerEnv,
    AdroitHandPenEnv,
    AdroitHandRelocateEnv,
)
from gymnasium_robotics.utils.rotations import euler2quat  # noqa: E402

STEPS = 60
FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "adroit"


class Task:
    """What a task's trajectories are made of: the environment, goals and starts."""

    def __init__(self, make, goals, starts):
        self.env, self.goals, self.starts = make(), goals, starts
        self.env.reset(seed=0)

    def place(self, goal):
        env = self.env
        model = env.model
        if isinstance(env, AdroitHandPenEnv):
            model.body_quat[env.target_obj_body_id] = goal
        elif isinstance(env, AdroitHandDoorEnv):
            model.body_pos[env.door_body_id] = goal
        elif isinstance(env, AdroitHandHammerEnv):
            model.body_pos[env.target_body_id] = goal
        else:
            model.body_pos[env.obj_body_id, :2] = goal[:2]
            model.site_pos[env.target_obj_site_id] = goal[2:]

    def away(self):
        """Distance of the palm and what it has to reach for, None in pen."""
        env, data = self.env, self.env.data
        if isinstance(env, AdroitHandPenEnv):
            return None
        if isinstance(env, AdroitHandDoorEnv):
            return np.linalg.norm(data.site_xpos[env.grasp_site_id] - data.site_xpos[env.handle_site_id])
        return np.linalg.norm(data.site_xpos[env.S_grasp_site_id] - data.xpos[env.obj_body_id])

    def record(self, goal, start, actions):
        env = self.env
        mujoco.mj_resetData(env.model, env.data)
        self.place(goal)
        qpos, qvel = np.zeros(env.model.nq), np.zeros(env.model.nv)
        for index, value in start.items():
            (qvel if isinstance(index, str) else qpos)[int(str(index).lstrip("v"))] = value
        env.set_state(qpos, qvel)
        obs = env._get_obs()
        sizes = [len(actions), len(qpos), len(qvel), actions.shape[1], len(obs), len(goal)]
        out = [
            struct.pack("<6I", *sizes),
            np.concatenate([qpos, qvel, goal, obs]).astype("<f8").tobytes(),
        ]
        terminals, rewards = 0, []
        for action in actions:
            obs, reward, _, _, _ = env.step(action)
            away = self.away()
            terminal = away is None and bool(env.data.xpos[env.obj_body_id][2] < 0.075)
            reward = reward - 0.2 * away if away is not None else reward
            out.append(action.astype("<f4").tobytes())
            out.append(np.append(obs, reward).astype("<f8").tobytes())
            out.append(struct.pack("<B", terminal))
            terminals += terminal
            rewards.append(reward)
        print(f"  rewards {min(rewards):.2f} to {max(rewards):.2f}, {terminals} terminal, {env.data.ncon} contacts at the end")
        return b"".join(out)


def main():
    board = [0.05, 0.0]
    tasks = {
        "pen": Task(
            AdroitHandPenEnv,
            # The last two are near to how the pen lies at first.
            [euler2quat(np.array([x, y, 0.0])) for x, y in [(0.5, -0.75), (-0.9, 0.3), (0.0, 1.4), (0.0, 1.15)]],
            # As a reset has it; thrown; where little is left to be turned; dropped.
            [{}, {"v26": 2.0, "v27": 9.0}, {}, {}, {26: -0.3}],
        ),
        "door": Task(
            AdroitHandDoorEnv,
            [np.array([-0.25, 0.3, 0.3]), np.array([-0.21, 0.26, 0.255])],
            # Shut; ajar, open, wide open, the latch undone; the hand at the door.
            [{}, {28: 0.3, 29: 1.6}, {28: 1.1, 29: 1.6}, {28: 1.45, 29: 1.7}, {0: 0.3, 2: 0.5}],
        ),
        "hammer": Task(
            AdroitHandHammerEnv,
            [np.array(board + [0.12]), np.array(board + [0.24])],
            # As a reset has it; the nail nearly in, and in; hammer thrown; hammer in the air.
            [{}, {26: 0.075}, {26: 0.089, "v29": 1.0}, {"v28": 2.0, "v29": 1.0}, {29: 0.3}],
        ),
        "relocate": Task(
            AdroitHandRelocateEnv,
            [np.array([0.1, -0.1, 0.0, 0.1, 0.2]), np.array([-0.1, 0.2, -0.1, 0.2, 0.3])],
            # As a reset has it; the ball near its target, thrown, and rolling.
            [{}, {32: 0.265}, {32: 0.3, "v30": -1.0}, {"v30": 1.0}, {30: -0.1, 31: 0.2, 32: 0.165}],
        ),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, task in tasks.items():
        print(name)
        rng = np.random.default_rng(len(name))
        width = task.env.action_space.shape[0]
        trajectories = []
        for i, start in enumerate(task.starts):
            # Slow swings, noise, and noise beyond the bounds.
            phase = rng.uniform(0, 2 * np.pi, width)
            swing = 0.9 * np.sin(0.15 * np.arange(STEPS)[:, None] + phase)
            noise = rng.uniform(-1, 1, (STEPS, width)) * [0.2, 1.0, 1.5][i % 3]
            actions = (swing + noise if i % 2 == 0 else noise).astype(np.float32)
            trajectories.append(task.record(task.goals[i % len(task.goals)], start, actions))
        content = b"SPARADR1" + struct.pack("<I", len(trajectories)) + b"".join(trajectories)
        (FOLDER / f"{name}.bin").write_bytes(content)


if __name__ == "__main__":
    main()

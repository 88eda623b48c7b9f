"""Returns of plain networks, computed without any of spar's code.

    python3 -m venv venv
    venv/bin/pip install gymnasium==1.4.0 mujoco==3.17.0 numpy==2.4.6 imageio==2.38.1 packaging
    venv/bin/python crates/spar/tests/cli/plain_policies.py

prints the constants in plain_policies.rs: numpy for the networks and the point
mass, gymnasium for Hopper, and spar's named random streams written once more
(xoshiro256++ seeded with SHA-256) for the initial states.
"""

import hashlib
import struct

import numpy as np

SEED = 7
EPISODES = 3
MASK = (1 << 64) - 1


class Stream:
    """spar_core::Stream."""

    def __init__(self, seed, name):
        digest = hashlib.sha256(b"spar" + struct.pack("<Q", seed) + name.encode())
        self.s = list(struct.unpack("<4Q", digest.digest()))

    def next(self):
        rotate = lambda x, k: ((x << k) | (x >> (64 - k))) & MASK
        s = self.s
        out = (rotate((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return out

    def uniform(self, low, high):
        return low + (high - low) * ((self.next() >> 11) * 2.0**-53)


def numbers(shape, salt, scale):
    k = np.arange(np.prod(shape)).reshape(shape)
    return (scale * (((k * 7919 + salt * 104729) % 2003) / 2003 - 0.5)).astype(np.float32)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "leaky_relu_0.01": lambda x: np.where(x > 0, x, 0.01 * x),
    "identity": lambda x: x,
}


class Policy:
    def __init__(self, widths, activation, output, normalized, scale):
        self.layers = [
            (numbers((o, i), 2 * n, scale), numbers((o,), 2 * n + 1, scale))
            for n, (i, o) in enumerate(zip(widths, widths[1:]))
        ]
        self.activation, self.output = ACTIVATIONS[activation], ACTIVATIONS[output]
        self.mean = numbers((widths[0],), 100, 1.0) if normalized else 0.0
        self.std = 1.0 + np.abs(numbers((widths[0],), 101, 1.0)) if normalized else 1.0

    def __call__(self, obs):
        x = (np.float32(obs) - self.mean) / self.std
        for n, (weight, bias) in enumerate(self.layers):
            x = weight @ x + bias
            x = self.output(x) if n + 1 == len(self.layers) else self.activation(x)
        return np.clip(np.float32(x), -1, 1)


def point_mass(policy, stream):
    x, v, total, length = stream.uniform(-1, 1), 0.0, 0.0, 0
    while length < 100:
        force = float(policy([x, v])[0])
        v += 0.1 * force
        x += 0.1 * v
        total += 1 - x * x - 0.01 * force * force
        length += 1
        if abs(x) > 2:
            break
    return total, length


def hopper(policy, stream):
    from gymnasium.envs.mujoco.hopper_v4 import HopperEnv

    env = HopperEnv().unwrapped
    env.reset()
    noise = lambda n: np.array([stream.uniform(-5e-3, 5e-3) for _ in range(n)])
    qpos = env.init_qpos + noise(env.model.nq)
    env.set_state(qpos, env.init_qvel + noise(env.model.nv))
    obs, total, length, done = env._get_obs(), 0.0, 0, False
    while length < 1000 and not done:
        obs, reward, done, *_ = env.step(policy(obs))
        total += reward
        length += 1
    return total, length


CASES = [
    ("pointmass", point_mass, [2, 8, 1], activation, output, normalized, 1.5)
    for activation in ["relu", "tanh", "leaky_relu_0.01"]
    for output in ["identity", "tanh"]
    for normalized in [False, True]
]
CASES.append(("pointmass", point_mass, [2, 8, 8, 1], "tanh", "identity", True, 4.0))
CASES.append(("hopper", hopper, [11, 16, 3], "tanh", "tanh", True, 0.3))

for name, play, widths, activation, output, normalized, scale in CASES:
    policy = Policy(widths, activation, output, normalized, scale)
    played = [play(policy, Stream(SEED, f"eval/{i}/reset")) for i in range(EPISODES)]
    print(name, widths, activation, output, normalized, scale)
    print("   ", [float(total) for total, _ in played], [length for _, length in played])

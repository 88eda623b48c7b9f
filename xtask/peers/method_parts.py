"""What both peers of `cargo xtask bench --methods` share: the networks of every method, cut
out of the flat parameters that `spar-bench bench --methods` wrote.

A network is `{"norm": None or (gain, shift) of its input, "layers": ...}`, layers as
`common.layers` cuts them. This file imports no framework.
"""

import common

# In the order of the table.
METHODS = [
    "bc-diffusion", "diffusion-ql", "idql", "srpo", "bc-flow", "fql", "ifql", "fac", "sac-n",
    "edac", "lapo",
]

# What flows' and IDQL's networks add to a variance, and what SRPO's does.
FLAX_EPS, TORCH_EPS = 1e-6, 1e-5

LARGEST_ACTION = 1 - 1e-5

# SRPO's times, and the variance-preserving equation's beta at both ends.
HELD, BETA = (0.02, 0.98), (0.1, 20.0)

# SAC-N's bounds of the log standard deviation, and what is added to 1 - a^2.
LOG_STD, FLOOR = (-5.0, 2.0), 1e-6


def shapes(method, c, obs, act):
    """`name: (input, hidden, output, normalized layers, normalized input)` of each network."""
    hidden = c.get("hidden")
    taken = obs + act

    def twins(name, widths, count=2, norm=False):
        return {
            f"{name}.{i}{target}": (taken, widths, 1, norm, False)
            for i in range(count)
            for target in ["", ".target"]
        }

    def plain(name):
        code = c["time_dim"]
        return {
            f"{name}.time": (code, [2 * code], code, False, False),
            f"{name}.entry": (taken + code, hidden, act, False, False),
        }

    def residual(name):
        code, width = c["time_hidden"], c["width"]
        block = width, [4 * width], width, False, True
        return {
            f"{name}.time": (c["time_dim"], [code], code, False, False),
            f"{name}.entry": (taken + code, [], width, False, False),
            f"{name}.exit": (width, [], act, False, False),
        } | {f"{name}.block.{i}": block for i in range(c["blocks"])}

    flow = {"flow": (taken + 1, hidden, act, False, False)}
    one_step = {"actor": (taken, hidden, act, False, False)}
    latent = 2 * act
    if method == "bc-diffusion":
        return plain("actor")
    if method == "diffusion-ql":
        return plain("actor") | plain("actor.average") | twins("critic", c["critic_hidden"])
    if method == "idql":
        value = {"value": (obs, hidden, 1, False, c["value_norm"])}
        nets = residual("actor") | residual("actor.average")
        return nets | value | twins("critic", hidden)
    if method == "srpo":
        value = {"value": (obs, hidden, 1, False, False)}
        actor = {"actor": (obs, c["policy_hidden"], act, False, False)}
        return residual("behaviour") | value | actor | twins("critic", hidden)
    if method == "bc-flow":
        return flow
    if method == "ifql":
        return flow | {"value": (obs, hidden, 1, True, False)} | twins("critic", hidden, norm=True)
    if method in ["fql", "fac"]:
        return flow | one_step | twins("critic", hidden, norm=True)
    if method in ["sac-n", "edac"]:
        actor = {"actor": (obs, hidden, 2 * act, False, False)}
        return actor | twins("critic", hidden, c["critics"])
    decoder = obs + latent, hidden, act, False, False
    actor = obs, hidden, latent, False, False
    return {
        "vae.encoder": (taken, hidden, 2 * latent, False, False),
        "vae.decoder": decoder,
        "vae.decoder.target": decoder,
        "actor": actor,
        "actor.target": actor,
        "value": (obs, hidden, 1, False, False),
    } | twins("critic", hidden)


class Inputs:
    """A method's file: `nets` and what is no network (`free`), both numpy's; `batch` and
    `noise` by name, stacked over the cycle; `data`, of the data as a whole."""

    def __init__(self, folder, method):
        arrays, config = common.read(f"{folder}/{method}.safetensors")
        self.method, self.c = method, config["settings"]
        self.cycle, self.obs, self.act = config["cycle"], config["obs"], config["act"]
        self.done = config["done"]
        self.nets, self.free = {}, {}
        of = shapes(method, self.c, self.obs, self.act)
        for name, flat in self.part(arrays, "start.").items():
            if name in of:
                self.nets[name] = network(flat, *of[name])
            else:
                self.free[name] = flat
        self.batch = self.part(arrays, "batch.")
        self.noise = self.part(arrays, "noise.")
        self.data = self.part(arrays, "data.")

    def part(self, arrays, prefix):
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    def critics(self):
        """Numbers of the critics."""
        return range(sum(name.startswith("critic.") for name in self.nets) // 2)


def network(flat, n_in, hidden, n_out, layer_norm, input_norm):
    norm = None
    if input_norm:
        norm, flat = (flat[:n_in], flat[n_in : 2 * n_in]), flat[2 * n_in :]
    return {"norm": norm, "layers": common.layers(flat, n_in, hidden, n_out, layer_norm)}


class Schedule:
    """The discrete variance-preserving schedule, `t = 0` the last step of sampling."""

    def __init__(self, steps):
        import numpy as np

        low, high = 0.1, 10.0
        t = np.arange(1, steps + 1, dtype=np.float64)
        alpha = np.exp(-low / steps - 0.5 * (high - low) * (2 * t - 1) / steps**2)
        abar = np.cumprod(alpha)
        before = np.concatenate([[1.0], abar[:-1]])
        self.steps = steps
        self.signal, self.noise = np.sqrt(abar), np.sqrt(1 - abar)
        self.start = list(zip(1 / np.sqrt(abar), np.sqrt(1 / abar - 1)))
        mean = (1 - alpha) * np.sqrt(before) / (1 - abar), (1 - before) * np.sqrt(alpha) / (1 - abar)
        self.mean = list(zip(*mean))
        self.std = np.sqrt((1 - alpha) * (1 - before) / (1 - abar))

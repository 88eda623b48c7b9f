"""JAX's side of `cargo xtask bench` and, with `--device gpu`, of `gpu-check`: the yardstick network and a whole update
of SPAR, jitted step by step and as one `lax.scan` over a cycle. Adam is written
out, so that XLA sees the whole step. Same math as
crates/spar-rectify/src/update.rs.
"""

import math
import os

import common

ARGS = common.arguments()
GPU = ARGS.device == "gpu"
os.environ["JAX_PLATFORMS"] = "cuda" if GPU else "cpu"
# What others on the GPU need is left to them.
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
if ARGS.core is not None:
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

from functools import partial

import jax
import jax.numpy as jnp
import jaxlib
from jax import lax

ARRAYS, CONFIG = common.read(ARGS.inputs)
STEPS = CONFIG["cycle"]
CRITIC, RECTIFY = CONFIG["critic"], CONFIG["rectify"]
N = range(CRITIC["n_critics"])
FREQ = RECTIFY["policy_freq"]
tree_map = jax.tree.map


def forward(net, x):
    for i, ((weight, bias), norm) in enumerate(net):
        x = x @ weight + bias
        if norm is not None:
            mean = x.mean(1, keepdims=True)
            variance = ((x - mean) ** 2).mean(1, keepdims=True)
            x = (x - mean) * lax.rsqrt(variance + common.LAYER_NORM_EPS)
            x = x * norm[0] + norm[1]
        if i + 1 < len(net):
            x = jax.nn.relu(x)
    return x


def adam_start(net):
    zeros = lambda: tree_map(jnp.zeros_like, net)
    return {"m": zeros(), "v": zeros(), "step": jnp.zeros((), jnp.float32)}


def adam(lr, net, state, grad):
    """PyTorch's Adam: parameters and state after one step."""
    b1, b2, eps = common.ADAM["b1"], common.ADAM["b2"], common.ADAM["eps"]
    step = state["step"] + 1
    m = tree_map(lambda m, g: m + (1 - b1) * (g - m), state["m"], grad)
    v = tree_map(lambda v, g: b2 * v + (1 - b2) * g * g, state["v"], grad)
    # 1 - b**step, exact also for the first steps, where it is nearly 1 - 1.
    correction1, correction2 = (-jnp.expm1(step * math.log(b)) for b in [b1, b2])
    rate, root = lr / correction1, 1 / jnp.sqrt(correction2)
    net = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * root + eps), net, m, v)
    return net, {"m": m, "v": v, "step": step}


class Scanned(common.Contender):
    """A step function, scanned over the cycle or called once per step."""

    # As on the CPU: on a GPU JAX would else multiply with the tensor cores' ten bits.
    precision = "highest"

    def __init__(self, start, step, inputs, scan):
        """`step` maps `(state, inputs)` to `(state, losses)`; `inputs` are
        stacked over its steps."""
        self.start, self.scan = start, scan
        self.inputs = tree_map(jnp.asarray, inputs)
        if scan:
            whole = lambda state, inputs: lax.scan(step, state, inputs)
            self.run = jax.jit(whole, donate_argnums=0)
        else:
            self.run = jax.jit(step, donate_argnums=0)
            steps = len(jax.tree.leaves(inputs)[0])
            parts = [tree_map(lambda x: jnp.asarray(x[i]), inputs) for i in range(steps)]
            self.inputs = parts

    def reset(self):
        self.state = tree_map(jnp.array, self.start)

    def cycle(self):
        with jax.default_matmul_precision(self.precision):
            return self.updates()

    def updates(self):
        if self.scan:
            self.state, losses = self.run(self.state, self.inputs)
        else:
            losses = []
            for inputs in self.inputs:
                self.state, loss = self.run(self.state, inputs)
                losses.append(loss)
        jax.block_until_ready((self.state, losses))
        if not self.scan:
            losses = {k: [loss[k] for loss in losses] for k in losses[0]}
        return losses

    def floats(self, losses):
        return jnp.asarray(losses).reshape(-1).tolist()


def mlp(scan):
    shape = CONFIG["obs"] + CONFIG["act"], CONFIG["mlp_hidden"], 1, False
    net = common.layers(ARRAYS["start.mlp"], *shape)

    def step(state, batch):
        net, optim = state
        x, y = batch
        loss, grad = jax.value_and_grad(lambda net: ((forward(net, x) - y) ** 2).mean())(net)
        return adam(CONFIG["mlp_lr"], net, optim, grad), {"loss": loss}

    return Scanned((net, adam_start(net)), step, (ARRAYS["mlp.x"], ARRAYS["mlp.y"]), scan)


def cat(*parts):
    return jnp.concatenate(parts, 1)


def minimum(nets, x):
    values = [forward(net, x) for net in nets]
    least = values[0]
    for value in values[1:]:
        least = jnp.minimum(least, value)
    return least


def delta(decoder, s, b, z):
    return RECTIFY["rho"] * jnp.tanh(forward(decoder, cat(s, b, z)))


def disagreement(nets, x):
    return jnp.stack([forward(net, x) for net in nets]).std(0)


def critic_step(state, batch):
    c = CRITIC
    nets, optims = state
    taken = cat(batch["obs"], batch["actions"])
    upper = minimum([nets[f"critic.{i}.target"] for i in N], taken)

    def value_loss(value):
        u = upper - forward(value, batch["obs"])
        return (jnp.where(u < 0, 1 - c["expectile"], c["expectile"]) * u**2).mean()

    nets, optims = dict(nets), dict(optims)

    def learn(name, loss):
        loss, grad = jax.value_and_grad(loss)(nets[name])
        nets[name], optims[name] = adam(c["lr"], nets[name], optims[name], grad)
        return loss

    # Before V learns: the floor of the candidates' scale is a share of the first; beyond
    # the second a candidate loses value.
    level = disagreement([nets[f"critic.{i}.target"] for i in N], taken)
    level = jnp.sqrt((level**2).mean())
    of_data = (upper - forward(nets["critic.value"], batch["obs"])).std(), level
    losses = {"value_loss": learn("critic.value", value_loss)}
    future = batch["not_terminal"] * forward(nets["critic.value"], batch["next_obs"])
    y = batch["rewards"] + c["discount"] * future
    q_loss = lambda q: ((forward(q, taken) - y) ** 2).mean()
    losses["q_loss"] = sum(learn(f"critic.{i}", q_loss) for i in N) / len(N)
    return (nets, optims), losses, of_data


def policy_loss(learned, nets, batch, noise, of_data):
    r = RECTIFY
    encoder, decoder = learned
    s, a = batch["obs"], batch["actions"]
    b = jnp.tanh(forward(nets["anchor"], s))
    residual = a - b
    mean, log_std = jnp.split(forward(encoder, cat(s, b, residual)), 2, 1)
    log_std = log_std.clip(*common.LOG_STD)
    z = mean + jnp.exp(log_std) * noise["posterior"]
    reconstruction = ((delta(decoder, s, b, z) - residual) ** 2).sum(1).mean()
    kl = (0.5 * (mean**2 + jnp.exp(2 * log_std) - 1) - log_std).sum(1).mean()

    rows, k = len(s), r["candidates"]
    s, b = jnp.repeat(s, k, 0), jnp.repeat(b, k, 0)
    z = noise["candidates"].clip(-common.LATENT_CLIP, common.LATENT_CLIP)
    deltas = delta(decoder, s, b, z)
    fixed = lax.stop_gradient(deltas)
    actions = (b + fixed).clip(-1, 1)
    of_data, level = of_data
    critics = [nets[f"critic.{i}"] for i in N]
    beyond = jax.nn.relu(disagreement(critics, cat(s, actions)) - level)
    q = minimum(critics, cat(s, actions)) - CRITIC["penalty"] * beyond
    q = q.reshape(rows, k)
    advantage = q - q.mean(1, keepdims=True)
    sigma = jnp.maximum(jnp.sqrt((advantage**2).mean()), r["scale"] * of_data) + 1e-6
    w = jax.nn.softmax(advantage / (sigma * r["temperature"]), 1)
    fixed = fixed.reshape(rows, k, -1)
    target = lax.stop_gradient((w[:, :, None] * fixed).sum(1, keepdims=True))
    imitation = ((deltas.reshape(rows, k, -1) - target) ** 2).sum() / (rows * k)
    loss = r["lambda"] * imitation + r["w_fit"] * (reconstruction + r["beta"] * kl)
    return loss, {"reconstruction": reconstruction, "kl": kl, "self_imitation": imitation}


def policy_step(state, batch, noise, of_data):
    nets, optims = dict(state[0]), dict(state[1])
    names = ["rectify.encoder", "rectify.decoder"]
    loss = partial(policy_loss, nets=nets, batch=batch, noise=noise, of_data=of_data)
    grads, losses = jax.grad(loss, has_aux=True)([nets[name] for name in names])
    for name, grad in zip(names, grads):
        nets[name], optims[name] = adam(RECTIFY["lr"], nets[name], optims[name], grad)
    track(nets, "rectify.decoder_average", "rectify.decoder", RECTIFY["tau"])
    return (nets, optims), losses


def track(nets, target, source, tau):
    nets[target] = tree_map(lambda t, s: t + tau * (s - t), nets[target], nets[source])


def round_of_updates(state, inputs):
    """`policy_freq` updates, in the first of which the policy learns: one body
    without branches."""
    batches, noise = inputs
    several = []
    for i in range(FREQ):
        batch = tree_map(lambda x: x[i], batches)
        state, losses, of_data = critic_step(state, batch)
        several.append(losses)
        if i == 0:
            state, policy = policy_step(state, batch, noise, of_data)
        nets = dict(state[0])
        for j in N:
            track(nets, f"critic.{j}.target", f"critic.{j}", CRITIC["tau"])
        state = nets, state[1]
    losses = {k: jnp.stack([each[k] for each in several]) for k in several[0]}
    return state, losses | policy


def spar(scan, precision="highest"):
    nets = common.networks(ARRAYS, CONFIG)
    learned = ["critic.value", "rectify.encoder", "rectify.decoder", *(f"critic.{i}" for i in N)]
    optims = {name: adam_start(nets[name]) for name in learned}
    names = ["obs", "actions", "rewards", "next_obs", "not_terminal"]
    batches = {name: ARRAYS[f"batch.{name}"] for name in names}
    batches = tree_map(lambda x: x.reshape(STEPS // FREQ, FREQ, *x.shape[1:]), batches)
    noise = {name: ARRAYS[f"noise.{name}"] for name in ["posterior", "candidates"]}
    scanned = Scanned((nets, optims), round_of_updates, (batches, noise), scan)
    scanned.precision = precision
    return scanned


if __name__ == "__main__":
    # Only a GPU has it.
    tf32 = {"spar/jax-scan-tf32": lambda: spar(scan=True, precision="tensorfloat32")}
    common.serve(
        {
            "mlp/jax-jit": lambda: mlp(scan=False),
            "mlp/jax-scan": lambda: mlp(scan=True),
            "spar/jax-jit": lambda: spar(scan=False),
            "spar/jax-scan": lambda: spar(scan=True),
        }
        | (tf32 if GPU else {}),
        STEPS,
        {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
    )

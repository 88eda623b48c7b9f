"""JAX's side of `cargo xtask bench` and, with `--device gpu`, of `gpu-check`: the yardstick network and a whole update
of SPAR, jitted step by step and as one `lax.scan` over a cycle. Same math as
crates/spar-rectify/src/update.rs.
"""

import common
from jax_parts import ARGS, GPU, VERSIONS, Scanned, adam, adam_start, cat, jax, jnp, lax, tree_map

from functools import partial

ARRAYS, CONFIG = common.read(ARGS.inputs)
STEPS = CONFIG["cycle"]
CRITIC, RECTIFY = CONFIG["critic"], CONFIG["rectify"]
N = range(CRITIC["n_critics"])
FREQ = RECTIFY["policy_freq"]


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


def mlp(scan):
    shape = CONFIG["obs"] + CONFIG["act"], CONFIG["mlp_hidden"], 1, False
    net = common.layers(ARRAYS["start.mlp"], *shape)

    def step(state, batch):
        net, optim = state
        x, y = batch
        loss, grad = jax.value_and_grad(lambda net: ((forward(net, x) - y) ** 2).mean())(net)
        return adam(CONFIG["mlp_lr"], net, optim, grad), {"loss": loss}

    return Scanned((net, adam_start(net)), step, (ARRAYS["mlp.x"], ARRAYS["mlp.y"]), scan)


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
    q = minimum(critics, cat(s, actions)).reshape(rows, k)
    beyond = beyond.reshape(rows, k)
    within = lambda x: jnp.sqrt(((x - x.mean(1, keepdims=True)) ** 2).mean())
    of_beyond = within(beyond)
    relative = jnp.where(of_beyond > 0, within(q) / jnp.where(of_beyond > 0, of_beyond, 1), 0)
    q = q - (CRITIC["penalty"] + CRITIC["penalty_ratio"] * relative) * beyond
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
        VERSIONS,
    )

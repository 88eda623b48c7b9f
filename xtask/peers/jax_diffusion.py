"""Updates of diffusion policies in JAX."""

import math

import method_parts
from jax_learner import data_actions, expectile, fixed, forward, mish, relu, silu, softly
from jax_learner import square, targets, unit, values
from jax_parts import cat, jax, jnp, lax, tree_map
from method_parts import BETA, FLAX_EPS, HELD, TORCH_EPS


class Chain:
    """Diffusion-QL's noise network and its chain."""

    def __init__(self, c):
        half = c["time_dim"] // 2
        self.frequencies = jnp.exp(-math.log(1e4) / (half - 1) * jnp.arange(half))
        schedule = method_parts.Schedule(c["steps"])
        self.schedule = schedule
        self.signal, self.noise = jnp.float32(schedule.signal), jnp.float32(schedule.noise)

    def said(self, nets, name, s, x, t):
        """`t` is of each row, or one for all, `[1]`."""
        angles = t[:, None] * self.frequencies
        code = forward(nets[f"{name}.time"], cat(jnp.sin(angles), jnp.cos(angles)), mish)
        code = jnp.broadcast_to(code, (len(x), code.shape[1]))
        return forward(nets[f"{name}.entry"], cat(s, x, code), mish)

    def error(self, nets, name, batch, noise):
        t = noise["step"].astype(int)
        eps = noise["noise"].reshape(batch["actions"].shape)
        x = self.signal[t][:, None] * batch["actions"] + self.noise[t][:, None] * eps
        return square(self.said(nets, name, batch["obs"], x, noise["step"]) - eps)

    def sample(self, nets, name, s, noise):
        noise = noise.reshape(self.schedule.steps, len(s), -1)
        x = noise[0]
        for i, t in enumerate(reversed(range(self.schedule.steps))):
            said = self.said(nets, name, s, x, jnp.full(1, float(t)))
            (of_x, of_said), (of_start, of_old) = self.schedule.start[t], self.schedule.mean[t]
            x = of_start * unit(of_x * x - of_said * said) + of_old * x
            if t > 0:
                x = x + self.schedule.std[t] * noise[i + 1]
        return unit(x)


def bc_diffusion(x):
    chain = Chain(x.c)
    names = ["actor.time", "actor.entry"]

    def update(learner, batch, noise, done):
        loss = lambda nets: (chain.error(nets, "actor", batch, noise), None)
        return {"bc_loss": learner.descend(names, x.c["lr"], loss)[0]}

    return update, [names]


def diffusion_ql(x):
    c, chain = x.c, Chain(x.c)
    names, critics = ["actor.time", "actor.entry"], ["critic.0", "critic.1"]
    k = c["backup_samples"]

    def update(learner, batch, noise, done):
        s, nets = batch["obs"], learner.nets
        next_s = jnp.repeat(batch["next_obs"], k, 0)
        a = chain.sample(nets, "actor.average", next_s, noise["next"])
        value = values(nets, targets(critics), next_s, a, mish)
        y = learner.backup(batch, value.reshape(2, -1, k).max(2).min(0))

        def critic_loss(own):
            said = values(own, critics, s, batch["actions"], mish)
            return ((said - y) ** 2).mean(1).sum(), None

        critic_loss, _ = learner.descend(critics, c["critic_lr"], critic_loss, most=c["grad_norm"])
        nets, coin = dict(learner.nets), noise["coin"][0] > 0
        # Only one of them gives a gradient.
        either = lambda a, b: tree_map(lambda a, b: jnp.where(coin, a, b), nets[a], nets[b])
        nets["climbed"], nets["other"] = either(*critics), either(*reversed(critics))

        def loss(own):
            cloning = chain.error(own, "actor", batch, noise)
            a = chain.sample(own, "actor", s, noise["proposal"])
            size = jnp.abs(values(nets, ["other"], s, fixed(a), mish)).mean()
            q_loss = -values(nets, ["climbed"], s, a, mish).mean() / size
            return cloning + c["eta"] * q_loss, (cloning, q_loss)

        _, (cloning, q_loss) = learner.descend(names, c["lr"], loss, most=c["grad_norm"])
        old = {name: learner.nets[name] for name in learner.nets if "average" in name}
        new = {name: learner.nets[name.replace(".average", "")] for name in old}
        moved = lambda: softly(new, old, c["average_rate"])
        moves = (done >= c["average_after"]) & (done % c["average_every"] == 0)
        learner.nets.update(lax.cond(moves, moved, lambda: old))
        learner.track_critics(critics, c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "bc_loss": cloning,
            "q_loss": q_loss,
        }

    return update, [names, critics]


def residual(nets, name, numbers, s, x, activation, eps, masks=None):
    """IDQL's and SRPO's noise network of times that are `numbers`."""
    code = forward(nets[f"{name}.time"], numbers, activation)
    h = forward(nets[f"{name}.entry"], cat(s, x, code), activation)
    blocks = sum(key.startswith(f"{name}.block.") for key in nets)
    for i in range(blocks):
        into = h if masks is None else h * masks[i]
        h = h + forward(nets[f"{name}.block.{i}"], into, activation, eps)
    return forward(nets[f"{name}.exit"], activation(h), activation)


def idql(x):
    c, schedule = x.c, method_parts.Schedule(x.c["steps"])
    signal, level = jnp.float32(schedule.signal), jnp.float32(schedule.noise)
    names = [name for name in x.all if name.startswith("actor.") and "average" not in name]
    critics = ["critic.0", "critic.1"]
    activation = {"silu": silu, "mish": mish}[c["activation"]]

    def said(nets, s, x, t, masks):
        angles = 2 * math.pi * t[:, None] * nets["actor.code"]
        numbers = cat(jnp.cos(angles), jnp.sin(angles))
        return residual(nets, "actor", numbers, s, x, activation, FLAX_EPS, masks)

    def update(learner, batch, noise, done):
        s, a = batch["obs"], data_actions(batch["actions"])
        t, eps = noise["step"].astype(int), noise["noise"].reshape(a.shape)
        noised = signal[t][:, None] * a + level[t][:, None] * eps
        kept = noise["dropout"].reshape(c["blocks"], len(s), -1) < 1 - 2 * c["dropout"]
        masks = kept / (1 - c["dropout"])

        def bc_loss(own):
            return ((said(own, s, noised, noise["step"], masks) - eps) ** 2).sum(1).mean(), None

        lr = c["lr"] * 0.5 * (1 + jnp.cos(math.pi * jnp.minimum(done / c["decay_updates"], 1)))
        bc_loss, _ = learner.descend(names, lr, bc_loss, c["weight_decay"])
        learner.track("actor.average", "actor", c["average_rate"])

        q = values(learner.nets, targets(critics), s, a, relu).min(0)
        state_value = lambda net, s: forward(net, s, relu)[:, 0]
        loss = lambda own: (expectile(q - state_value(own["value"], s), c["expectile"]), None)
        value_loss, _ = learner.descend(["value"], c["critic_lr"], loss)
        y = learner.backup(batch, state_value(learner.nets["value"], batch["next_obs"]))
        loss = lambda own: (square(values(own, critics, s, a, relu) - y), None)
        critic_loss, _ = learner.descend(critics, c["critic_lr"], loss)
        learner.track_critics(critics, c["tau"])
        return {
            "bc_loss": bc_loss,
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
        }

    return update, [names, ["value"], critics]


def srpo(x):
    """In the phase in which the policy learns."""
    c, critics = x.c, ["critic.0", "critic.1"]

    def update(learner, batch, noise, done):
        s, nets = batch["obs"], learner.nets
        t = HELD[0] + 0.5 * (HELD[1] - HELD[0]) * (noise["time"] + 1)
        log_alpha = -0.25 * t**2 * (BETA[1] - BETA[0]) - 0.5 * t * BETA[0]
        alpha, sigma = jnp.exp(log_alpha)[:, None], jnp.sqrt(-jnp.expm1(2 * log_alpha))[:, None]
        eps = noise["noise"].reshape(batch["actions"].shape)
        angles = 2 * math.pi * t[:, None] * nets["behaviour.code"]
        numbers = cat(jnp.sin(angles), jnp.cos(angles))

        def loss(own):
            a = jnp.tanh(forward(own["actor"], s, relu))
            at = fixed(a)
            noised = alpha * at + sigma * eps
            said = residual(nets, "behaviour", numbers, s, noised, mish, TORCH_EPS)
            said = said - eps if c["subtract_noise"] else said
            climbed = lambda a: values(nets, targets(critics), s, a, relu).mean(0).sum()
            slope = jax.grad(climbed)(at)
            if c["normalize_gradient"]:
                slope = slope / (jnp.sqrt((slope**2).mean(1, keepdims=True)) + 1e-12)
            pull = fixed(sigma**2 * said - c["beta"] * slope)
            return (pull * a).sum(1).mean(), None

        since = done - max(c["behaviour_updates"], c["critic_updates"])
        lr = c["lr"] * 0.5 * (1 + jnp.cos(math.pi * jnp.minimum(since / c["decay_updates"], 1)))
        return {"actor_loss": learner.descend(["actor"], lr, loss)[0]}

    return update, [["actor"]]

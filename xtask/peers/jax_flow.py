"""Updates of flow policies in JAX."""

import math

from jax_learner import data_actions, expectile, fixed, forward, gelu, square, targets, unit
from jax_learner import values
from jax_parts import cat, jax, jnp


def flow_loss(net, batch, noise):
    a = data_actions(batch["actions"])
    start, t = noise["flow.noise"].reshape(a.shape), noise["flow.time"][:, None]
    said = forward(net, cat(batch["obs"], (1 - t) * start + t * a, t), gelu)
    return square(said - (a - start))


def velocity(net, s, x, t):
    return forward(net, cat(s, x, jnp.full((len(s), 1), t)), gelu)


def transport(net, steps, s, z):
    for i in range(steps):
        z = z + velocity(net, s, z, i / steps) / steps
    return unit(z)


def log_density(net, steps, s, x):
    """Back along Euler's steps, the divergence by one reverse pass a dimension, all of them
    in one batch."""
    axes, volume = jnp.eye(x.shape[1]), 0.0
    for i in range(steps, 0, -1):
        said, pull = jax.vjp(lambda x: velocity(net, s, x, i / steps), x)
        row = lambda axis: (pull(jnp.broadcast_to(axis, x.shape))[0] * axis).sum(1)
        volume = volume + jax.vmap(row)(axes).sum(0) / steps
        x = x - said / steps
    return (-0.5 * x**2 - 0.5 * math.log(2 * math.pi)).sum(1) - volume


def aggregate(name, values):
    return values.min(0) if name == "min" else values.mean(0)


def one_step_loss(own, nets, c, s, z, normalized):
    """The distance to the flow and the value's part, critics and flow frozen."""
    proposed = forward(own["actor"], cat(s, z), gelu)
    distil = square(proposed - fixed(transport(fixed(nets["flow"]), c["flow_steps"], s, z)))
    q = values(nets, ["critic.0", "critic.1"], s, unit(proposed), gelu).mean(0)
    return distil, -q.mean() / (fixed(jnp.abs(q).mean()) if normalized else 1.0)


def bc_flow(x):
    def update(learner, batch, noise, done):
        loss = lambda own: (flow_loss(own["flow"], batch, noise), None)
        return {"flow_loss": learner.descend(["flow"], x.c["lr"], loss)[0]}

    return update, [["flow"]]


def fql(x):
    c, critics = x.c, ["critic.0", "critic.1"]
    names = [*critics, "flow", "actor"]

    def update(learner, batch, noise, done):
        s, next_s, nets = batch["obs"], batch["next_obs"], dict(learner.nets)
        a = data_actions(batch["actions"])
        drawn = lambda name: noise[name].reshape(a.shape)
        next_a = unit(forward(nets["actor"], cat(next_s, drawn("next")), gelu))
        value = aggregate(c["target"], values(nets, targets(critics), next_s, next_a, gelu))
        y = learner.backup(batch, value)

        def loss(own):
            critic_loss = square(values(own, critics, s, a, gelu) - y)
            cloning = flow_loss(own["flow"], batch, noise)
            z, normalized = drawn("proposal"), c["normalize_value"]
            distil, value = one_step_loss(own, nets, c, s, z, normalized)
            whole = critic_loss + cloning + c["alpha"] * distil + value
            return whole, (critic_loss, cloning, distil, value)

        _, (critic_loss, cloning, distil, value) = learner.descend(names, c["lr"], loss)
        learner.track_critics(critics, c["tau"], nets)
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "flow_loss": cloning,
            "distil_loss": distil,
            "value_loss": value,
        }

    return update, [names]


def ifql(x):
    c, critics = x.c, ["critic.0", "critic.1"]
    names = [*critics, "value", "flow"]

    def update(learner, batch, noise, done):
        s, a, nets = batch["obs"], data_actions(batch["actions"]), dict(learner.nets)
        state_value = lambda net, s: forward(net, s, gelu)[:, 0]
        q = values(nets, targets(critics), s, a, gelu).min(0)
        y = learner.backup(batch, state_value(nets["value"], batch["next_obs"]))

        def loss(own):
            value_loss = expectile(q - state_value(own["value"], s), c["expectile"])
            critic_loss = ((values(own, critics, s, a, gelu) - y) ** 2).mean(1).sum()
            cloning = flow_loss(own["flow"], batch, noise)
            return value_loss + critic_loss + cloning, (value_loss, critic_loss, cloning)

        _, (value_loss, critic_loss, cloning) = learner.descend(names, c["lr"], loss)
        learner.track_critics(critics, c["tau"], nets)
        return {
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "flow_loss": cloning,
        }

    return update, [names]


def fac(x):
    """In the phase in which the flow is frozen."""
    c, critics = x.c, ["critic.0", "critic.1"]
    names = [*critics, "actor"]

    def update(learner, batch, noise, done):
        s, next_s, nets = batch["obs"], batch["next_obs"], dict(learner.nets)
        a = data_actions(batch["actions"])
        drawn = lambda name: noise[name].reshape(a.shape)
        act = lambda s, z: unit(forward(nets["actor"], cat(s, z), gelu))
        next_a = act(next_s, drawn("next"))
        value = aggregate(c["target"], values(nets, targets(critics), next_s, next_a, gelu))
        y = learner.backup(batch, value)
        pushed = act(s, drawn("pushed"))
        density = log_density(nets["flow"], c["flow_steps"], s, pushed)
        weights = (1 - jnp.exp(density - batch["density"])).clip(0, 1)

        def loss(own):
            critic_loss = square(values(own, critics, s, a, gelu) - y)
            penalty = (weights * values(own, critics, s, pushed, gelu)).mean()
            distil, value = one_step_loss(own, nets, c, s, drawn("proposal"), True)
            whole = critic_loss + c["alpha"] * penalty + c["lambda"] * distil + value
            return whole, (critic_loss, penalty, distil, value)

        _, (critic_loss, penalty, distil, value) = learner.descend(names, c["lr"], loss)
        learner.track_critics(critics, c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "weight_mean": weights.mean(),
            "penalty": penalty,
            "distil_loss": distil,
            "value_loss": value,
        }

    return update, [names]

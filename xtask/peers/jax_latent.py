"""Updates of large ensembles and of latent policies in JAX."""

import math

from jax_learner import forward, relu, square, targets, values
from jax_parts import cat, jax, jnp
from method_parts import FLOOR, LOG_STD


def squashed(net, s, noise):
    """A draw of a Gaussian through tanh, and its log-density."""
    mean, log_std = jnp.split(forward(net, s, relu), 2, 1)
    log_std = log_std.clip(*LOG_STD)
    a = jnp.tanh(mean + jnp.exp(log_std) * noise)
    density = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    return a, (density - jnp.log(1 - a**2 + FLOOR)).sum(1)


def sac(x):
    c, critics = x.c, [f"critic.{i}" for i in x.critics()]
    n = len(critics)

    def agreement(own, s, a):
        units = []
        for name in critics:
            slope = jax.grad(lambda a: values(own, [name], s, a, relu).sum())(a)
            length = jnp.sqrt((slope**2).sum(1, keepdims=True) + 1e-30)
            units.append(slope / (length + 1e-10))
        units = jnp.stack(units)
        return ((units.sum(0) ** 2).sum(1) - (units**2).sum((0, 2))).mean() / (n - 1)

    def update(learner, batch, noise, done):
        s, a, next_s, nets = batch["obs"], batch["actions"], batch["next_obs"], dict(learner.nets)
        drawn = lambda name: noise[name].reshape(a.shape)
        temperature = jnp.exp(nets["log_temperature"][0])
        next_a, log_pi = squashed(nets["actor"], next_s, drawn("next"))
        least = values(nets, targets(critics), next_s, next_a, relu).min(0)
        y = learner.backup(batch, least - temperature * log_pi)

        def actor_loss(own):
            proposed, log_pi = squashed(own["actor"], s, drawn("own"))
            least = values(nets, critics, s, proposed, relu).min(0)
            return (temperature * log_pi - least).mean(), log_pi.mean()

        actor_loss, log_pi = learner.descend(["actor"], c["actor_lr"], actor_loss)
        gap = log_pi - x.act
        loss = lambda own: (-(own["log_temperature"] * gap).sum(), None)
        learner.descend(["log_temperature"], c["actor_lr"], loss)

        def critic_loss(own):
            errors = ((values(own, critics, s, a, relu) - y) ** 2).mean(1).sum()
            if c["eta"] == 0:
                return errors, {"critic_loss": errors}
            agree = agreement(own, s, a)
            return errors + c["eta"] * agree, {"critic_loss": errors, "agreement": agree}

        _, losses = learner.descend(critics, c["critic_lr"], critic_loss)
        learner.track_critics(critics, c["tau"])
        return losses | {
            "target_mean": y.mean(),
            "actor_loss": actor_loss,
            "entropy": -log_pi,
            "temperature": temperature,
        }

    return update, [["actor"], ["log_temperature"], critics]


def lapo(x):
    c, critics = x.c, ["critic.0", "critic.1"]
    mean, std = x.data["action_mean"], x.data["action_std"]
    vae = ["vae.encoder", "vae.decoder"]

    def latent(net, s):
        return c["latent_bound"] * jnp.tanh(forward(net, s, relu))

    def update(learner, batch, noise, done):
        s, next_s, lr = batch["obs"], batch["next_obs"], c["lr"]
        a = (batch["actions"] - mean) / std
        drawn = lambda name: noise[name].reshape(len(a), -1)
        state_value = lambda net, s: forward(net, s, relu)[:, 0]
        start = dict(learner.nets)

        def target_value(s, noise=0.0):
            z = latent(start["actor.target"], s) + noise
            said = forward(start["vae.decoder.target"], cat(s, z), relu)
            q = values(start, targets(critics), s, said, relu)
            return c["min_weight"] * q.min(0) + (1 - c["min_weight"]) * q.max(0)

        y = learner.backup(batch, state_value(start["value"], next_s))
        u = target_value(s, drawn("latent").clip(-c["noise_clip"], c["noise_clip"]))
        u = u.clip(*c["value_bounds"])
        loss = lambda own: (((values(own, critics, s, a, relu) - y) ** 2).mean(1).sum(), None)
        critic_loss, _ = learner.descend(critics, lr, loss)
        loss = lambda own: (square(state_value(own["value"], s) - u), None)
        value_loss, _ = learner.descend(["value"], lr, loss)

        ahead = learner.backup(batch, target_value(next_s))
        advantage = ahead - state_value(learner.nets["value"], s)
        weights = jnp.where(advantage > 0, c["advantage_weight"], 1 - c["advantage_weight"])

        def model_loss(own):
            head = forward(own["vae.encoder"], cat(s, a), relu)
            mean, log_var = jnp.split(head, 2, 1)
            z = mean + jnp.exp(0.5 * log_var) * drawn("posterior")
            said = forward(own["vae.decoder"], cat(s, z), relu)
            reconstruction = ((said - a) ** 2).sum(1)
            kl = -0.5 * (1 + log_var - mean**2 - jnp.exp(log_var)).sum(1)
            whole = (weights * (reconstruction + c["kl_weight"] * kl)).mean()
            return whole, (reconstruction.mean(), kl.mean())

        model_loss, (reconstruction, kl) = learner.descend(vae, lr, model_loss)
        nets = dict(learner.nets)

        def actor_loss(own):
            said = forward(nets["vae.decoder.target"], cat(s, latent(own["actor"], s)), relu)
            return -values(nets, critics[:1], s, said, relu).mean(), None

        actor_loss, _ = learner.descend(["actor"], lr, actor_loss)
        learner.track_critics(critics, c["tau"])
        learner.track("actor.target", "actor", c["tau"])
        learner.track("vae.decoder.target", "vae.decoder", c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "value_loss": value_loss,
            "weight_mean": weights.mean(),
            "model_loss": model_loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "actor_loss": actor_loss,
        }

    return update, [vae, ["actor"], ["value"], critics]

"""Updates of large ensembles and of latent policies in PyTorch."""

import math

from method_parts import FLOOR, LOG_STD
from torch_update import F, Update, cat, torch


class Sac(Update):
    def setup(self):
        self.pi, self.log_temperature = self.nets["actor"], self.nets["log_temperature"]

    def optimizers(self):
        c = self.c
        self.optim = self.adam([self.pi], c["actor_lr"])
        self.temperature_optim = self.adam([self.log_temperature], c["actor_lr"])
        self.q_optim = self.adam(self.q, c["critic_lr"])

    def squashed(self, s, noise):
        """A draw of a Gaussian through tanh, and its log-density."""
        mean, log_std = self.pi(s).chunk(2, 1)
        log_std = log_std.clamp(*LOG_STD)
        a = torch.tanh(mean + log_std.exp() * noise)
        density = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        return a, (density - torch.log(1 - a**2 + FLOOR)).sum(1)

    def agreement(self):
        a, units = self.a.clone().requires_grad_(True), []
        for q in self.q:
            (slope,) = torch.autograd.grad(q(cat(self.s, a)).sum(), a, create_graph=True)
            length = ((slope**2).sum(1, keepdim=True) + 1e-30).sqrt()
            units.append(slope / (length + 1e-10))
        units = torch.stack(units)
        pairs = (units.sum(0) ** 2).sum(1) - (units**2).sum((0, 2))
        return pairs.mean() / (len(self.q) - 1)

    def update(self, noise):
        c, s, a = self.c, self.s, self.a
        temperature = self.log_temperature.params[0].exp().detach()
        with torch.no_grad():
            next_a, log_pi = self.squashed(self.next_s, noise["next"].view_as(a))
            least = self.values(self.q_bar, self.next_s, next_a).amin(0)
            y = self.backup(least - temperature * log_pi)
        proposed, log_pi = self.squashed(s, noise["own"].view_as(a))
        actor_loss = (temperature * log_pi - self.values(self.q, s, proposed).amin(0)).mean()
        entropy = -log_pi.detach().mean()
        self.descend(actor_loss, self.optim)
        loss = (self.log_temperature.params[0] * (entropy + self.x.act)).sum()
        self.descend(loss, self.temperature_optim)
        errors = ((self.values(self.q, s, a) - y) ** 2).mean(1).sum()
        losses, loss = {}, errors
        if c["eta"] > 0:
            agreement = self.agreement()
            losses, loss = {"agreement": agreement}, loss + c["eta"] * agreement
        self.descend(loss, self.q_optim)
        self.track(self.q_bar, self.q, c["tau"])
        return losses | {
            "target_mean": y.mean(),
            "critic_loss": errors,
            "actor_loss": actor_loss,
            "entropy": entropy,
            "temperature": temperature[0],
        }


class Lapo(Update):
    def setup(self):
        of = self.nets
        self.encoder, self.decoder = of["vae.encoder"], of["vae.decoder"]
        self.decoder_bar = of["vae.decoder.target"]
        self.pi, self.pi_bar, self.v = of["actor"], of["actor.target"], of["value"]

    def optimizers(self):
        lr = self.c["lr"]
        self.vae_optim = self.adam([self.encoder, self.decoder], lr)
        self.optim, self.v_optim = self.adam([self.pi], lr), self.adam([self.v], lr)
        self.q_optim = self.adam(self.q, lr)

    def latent(self, net, s):
        return self.c["latent_bound"] * torch.tanh(net(s))

    def target_value(self, s, noise=0):
        said = self.decoder_bar(cat(s, self.latent(self.pi_bar, s) + noise))
        q, w = self.values(self.q_bar, s, said), self.c["min_weight"]
        return w * q.amin(0) + (1 - w) * q.amax(0)

    def update(self, noise):
        c, s = self.c, self.s
        a = (self.a - self.data["action_mean"]) / self.data["action_std"]
        clip = c["noise_clip"]
        with torch.no_grad():
            y = self.backup(self.v(self.next_s)[:, 0])
            u = self.target_value(s, noise["latent"].view(len(s), -1).clamp(-clip, clip))
            u = u.clamp(*c["value_bounds"])
        critic_loss = ((self.values(self.q, s, a) - y) ** 2).mean(1).sum()
        self.descend(critic_loss, self.q_optim)
        value_loss = F.mse_loss(self.v(s)[:, 0], u)
        self.descend(value_loss, self.v_optim)

        with torch.no_grad():
            advantage = self.backup(self.target_value(self.next_s)) - self.v(s)[:, 0]
            large = c["advantage_weight"]
            weights = torch.where(advantage > 0, large, 1 - large)
        mean, log_var = self.encoder(cat(s, a)).chunk(2, 1)
        z = mean + (0.5 * log_var).exp() * noise["posterior"].view_as(mean)
        reconstruction = ((self.decoder(cat(s, z)) - a) ** 2).sum(1)
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1)
        model_loss = (weights * (reconstruction + c["kl_weight"] * kl)).mean()
        self.descend(model_loss, self.vae_optim)

        said = self.decoder_bar(cat(s, self.latent(self.pi, s)))
        actor_loss = -self.q[0](cat(s, said)).mean()
        self.descend(actor_loss, self.optim)
        for targets, sources in [
            (self.q_bar, self.q),
            ([self.pi_bar, self.decoder_bar], [self.pi, self.decoder]),
        ]:
            self.track(targets, sources, c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "value_loss": value_loss,
            "weight_mean": weights.mean(),
            "model_loss": model_loss,
            "reconstruction": reconstruction.mean(),
            "kl": kl.mean(),
            "actor_loss": actor_loss,
        }

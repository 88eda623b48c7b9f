"""LAPO, from Chen et al. 2022 (algorithm 1, equations 6 to 9) and the order of the authors'
code: critics and value, model of actions, latent policy, targets."""

import torch

from common import ACT, LATENT, OBS, Case, cat, descend
from file import File
from vae import mixed


class Method(Case):
    def build(self):
        lr = self.c["lr"]
        self.encoder = self.net("vae.encoder", OBS + ACT, 2 * LATENT, lr)
        self.decoder = self.net("vae.decoder", OBS + LATENT, ACT, lr)
        self.decoder_bar = self.net("vae.decoder.target", OBS + LATENT, ACT)
        self.pi = self.net("actor", OBS, LATENT, lr)
        self.pi_bar = self.net("actor.target", OBS, LATENT)
        self.v = self.net("value", OBS, 1, lr)
        self.twins(lr)
        f = File(self.x)
        actions = self.x["file.actions"].view(-1, ACT).double()[f.rows]
        self.mean, self.std = actions.mean(0), actions.std(0, correction=0) + 1e-6
        self.a = (self.a - self.mean) / self.std
        rewards = f.reward[f.rows] / f.reward[f.rows].max()
        self.bounds = [r / (1 - self.c["discount"]) for r in (rewards.min(), rewards.max())]

    def value(self, s, noise=0):
        z = self.c["latent_bound"] * torch.tanh(self.pi_bar(s)) + noise
        a = self.decoder_bar(cat(s, z))
        return mixed(self.values(self.q_bar, s, a), self.c["min_weight"])

    def update(self, k):
        c = self.c
        clip = c["noise_clip"]
        with torch.no_grad():
            y = self.backup(self.v(self.next_s)[:, 0])
            u = self.value(self.s, self.noise("latent", k, LATENT).clamp(-clip, clip))
            u = u.clamp(*self.bounds)
        critic_loss = self.fit_critics(y)
        value_loss = ((self.v(self.s)[:, 0] - u) ** 2).mean()
        descend(value_loss, self.v)

        with torch.no_grad():
            advantage = self.backup(self.value(self.next_s)) - self.v(self.s)[:, 0]
            w = torch.where(advantage > 0, c["advantage_weight"], 1 - c["advantage_weight"])
        mean, log_var = self.encoder(cat(self.s, self.a)).split(LATENT, 1)
        z = mean + (0.5 * log_var).exp() * self.noise("posterior", k, LATENT)
        reconstruction = ((self.a - self.decoder(cat(self.s, z))) ** 2).sum(1)
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1)
        model_loss = (w * (reconstruction + c["kl_weight"] * kl)).mean()
        descend(model_loss, self.encoder, self.decoder)

        z = c["latent_bound"] * torch.tanh(self.pi(self.s))
        actor_loss = -self.q[0](cat(self.s, self.decoder_bar(cat(self.s, z)))).mean()
        descend(actor_loss, self.pi)
        self.track_critics(c["tau"])
        self.pi_bar.track(self.pi, c["tau"])
        self.decoder_bar.track(self.decoder, c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "value_loss": value_loss,
            "weight_mean": w.mean(),
            "model_loss": model_loss,
            "reconstruction": reconstruction.mean(),
            "kl": kl.mean(),
            "actor_loss": actor_loss,
        }

    def act(self):
        z = self.c["latent_bound"] * torch.tanh(self.pi(self.s))
        return self.mean + self.std * self.decoder_bar(cat(self.s, z))

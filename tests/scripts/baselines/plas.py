"""PLAS, from Zhou et al. 2020 (section 4, algorithm 1): first the model of actions,
then a latent policy through it, frozen."""

import torch

from common import ACT, LATENT, OBS, Case, descend
from vae import Vae, mixed, perturb


class Method(Case):
    perturbed = False

    def build(self):
        c = self.c
        self.vae = Vae(self, c["vae_lr"])
        self.pi = self.net("actor", OBS, LATENT, c["actor_lr"])
        self.pi_bar = self.net("actor.target", OBS, LATENT)
        self.twins(c["critic_lr"])
        self.trained = [(self.pi, self.pi_bar)]
        if self.perturbed:
            xi = self.net("perturbation", OBS + ACT, ACT, c["actor_lr"])
            self.trained.append((xi, self.net("perturbation.target", OBS + ACT, ACT)))

    def policy(self, s, target):
        nets = [pair[target] for pair in self.trained]
        a = self.vae.decode(s, self.c["latent_bound"] * torch.tanh(nets[0](s)))
        return perturb(nets[1], self.c["perturbation"], s, a) if self.perturbed else a

    def update(self, k):
        c = self.c
        if k <= c["vae_updates"]:
            return self.vae.fit(self.noise("posterior", k, LATENT))
        with torch.no_grad():
            next_a = self.policy(self.next_s, True)
            y = self.backup(mixed(self.values(self.q_bar, self.next_s, next_a), c["min_weight"]))
        critic_loss = self.fit_critics(y)
        loss = -self.values(self.q[:1], self.s, self.policy(self.s, False)).mean()
        descend(loss, *[net for net, _ in self.trained])
        for net, target in self.trained:
            target.track(net, c["tau"])
        self.track_critics(c["tau"])
        return {"target_mean": y.mean(), "critic_loss": critic_loss, "actor_loss": loss}

    def act(self):
        return self.policy(self.s, False)

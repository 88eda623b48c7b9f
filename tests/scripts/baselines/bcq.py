"""BCQ, from Fujimoto et al. 2019 (algorithm 1) and the order of the authors' code:
model of actions, critics, perturbation, targets."""

import torch

from common import ACT, LATENT, OBS, Case, descend
from vae import Vae, mixed, perturb


class Method(Case):
    def build(self):
        lr = self.c["lr"]
        self.vae = Vae(self, lr)
        self.xi = self.net("perturbation", OBS + ACT, ACT, lr)
        self.xi_bar = self.net("perturbation.target", OBS + ACT, ACT)
        self.twins(lr)

    def draw(self, s, z):
        clip = self.c["latent_clip"]
        return self.vae.decode(s, z.clamp(-clip, clip))

    def update(self, k):
        c, phi = self.c, self.c["phi"]
        measured = self.vae.fit(self.noise("posterior", k, LATENT))
        with torch.no_grad():
            n = c["target_candidates"]
            s = self.next_s.repeat_interleave(n, 0)
            a = perturb(self.xi_bar, phi, s, self.draw(s, self.noise("next", k, LATENT)))
            value = mixed(self.values(self.q_bar, s, a), c["min_weight"])
            y = self.backup(value.view(-1, n).amax(1))
        measured |= {"target_mean": y.mean(), "critic_loss": self.fit_critics(y)}
        with torch.no_grad():
            drawn = self.draw(self.s, self.noise("proposal", k, LATENT))
        loss = -self.values(self.q[:1], self.s, perturb(self.xi, phi, self.s, drawn)).mean()
        descend(loss, self.xi)
        self.track_critics(c["tau"])
        self.xi_bar.track(self.xi, c["tau"])
        return measured | {"actor_loss": loss}

    def act(self):
        n = self.c["candidates"]
        s = self.s.repeat_interleave(n, 0)
        z = self.x["noise.act"].view(-1, LATENT).double()
        a = perturb(self.xi, self.c["phi"], s, self.draw(s, z)).view(-1, n, ACT)
        best = self.values(self.q[:1], s, a.view(-1, ACT))[0].view(-1, n).argmax(1)
        return a[torch.arange(len(a)), best]

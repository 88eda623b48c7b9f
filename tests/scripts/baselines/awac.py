"""AWAC, from Nair et al. 2020 (algorithm 1, equations 10 and 13): critics, actor,
targets, with one action of the current policy as its value's estimate."""

import torch

from common import ACT, OBS, Case, descend, gaussian


class Method(Case):
    def build(self):
        lr = self.c["lr"]
        self.pi = self.net("actor", OBS, ACT, lr)
        self.log_std = self.free("actor.log_std", lr)
        self.twins(lr)

    def policy(self, s):
        return gaussian(self.pi(s), self.log_std.flat.clamp(-20, 2).expand(len(s), ACT))

    def draw(self, s, noise):
        normal = self.policy(s).base_dist
        return (normal.loc + normal.scale * noise).clamp(-1, 1)

    def update(self, k):
        c = self.c
        with torch.no_grad():
            next_a = self.draw(self.next_s, self.noise("next", k, ACT))
            y = self.backup(self.values(self.q_bar, self.next_s, next_a).amin(0))
        critic_loss = self.fit_critics(y)
        with torch.no_grad():
            own = self.draw(self.s, self.noise("proposal", k, ACT))
            better = self.values(self.q, self.s, self.a).amin(0) - self.values(self.q, self.s, own).amin(0)
            weights = (better / c["lambda"]).exp().clamp(max=c["weight_max"])
        actor_loss = -(weights * self.policy(self.s).log_prob(self.a)).mean()
        descend(actor_loss, self.pi, self.log_std)
        self.track_critics(c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "weight_mean": weights.mean(),
            "actor_loss": actor_loss,
        }

    def act(self):
        return self.pi(self.s)

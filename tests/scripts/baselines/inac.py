"""InAC, from Xiao et al. 2023 (section 4.2) and the order of the authors' code:
behaviour, value, critics, actor, targets."""

import torch

from common import ACT, OBS, Case, descend, gaussian


class Method(Case):
    def build(self):
        lr = self.c["lr"]
        for name in ["behaviour", "actor"]:
            self.net(name, OBS, ACT, lr)
            self.free(f"{name}.log_std", lr)
        self.v = self.net("value", OBS, 1, lr)
        self.twins(lr)

    def policy(self, name, s):
        log_std = -6 + 6 * torch.sigmoid(self.nets[f"{name}.log_std"].flat)
        return gaussian(torch.tanh(self.nets[name](s)), log_std.expand(len(s), ACT))

    def soft_value(self, s, noise):
        with torch.no_grad():
            pi = self.policy("actor", s)
            a = pi.base_dist.loc + pi.base_dist.scale * noise
            return self.values(self.q_bar, s, a).amin(0) - self.c["temperature"] * pi.log_prob(a)

    def clone(self, name, weights):
        loss = -(weights * self.policy(name, self.s).log_prob(self.a)).mean()
        descend(loss, self.nets[name], self.nets[f"{name}.log_std"])
        return loss

    def update(self, k):
        c = self.c
        measured = {"behaviour_loss": self.clone("behaviour", torch.ones(()))}

        target = self.soft_value(self.s, self.noise("own", k, ACT))
        value_loss = (0.5 * (self.v(self.s)[:, 0] - target) ** 2).mean()
        descend(value_loss, self.v)

        y = self.backup(self.soft_value(self.next_s, self.noise("next", k, ACT)))
        q = self.values(self.q, self.s, self.a)
        critic_loss = 0.5 * (0.5 * (y - q) ** 2).mean(1).sum()
        descend(critic_loss, *self.q)

        with torch.no_grad():
            advantage = self.values(self.q, self.s, self.a).amin(0) - self.v(self.s)[:, 0]
            log_beta = self.policy("behaviour", self.s).log_prob(self.a)
            weights = (advantage / c["temperature"] - log_beta).exp().clamp(1e-8, 1e4)
        measured["actor_loss"] = self.clone("actor", weights)
        self.track_critics(c["tau"])
        return measured | {
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "weight_mean": weights.mean(),
        }

    def act(self):
        return torch.tanh(self.nets["actor"](self.s))

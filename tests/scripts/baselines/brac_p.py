"""BRAC, from Wu et al. 2019 (equations 4 to 7, primal KL): first the behaviour, then
critics and policy beside it; the penalty in the policy's loss alone."""

import torch

import squashed
from common import ACT, OBS, Case, descend


class Method(Case):
    value_penalty = False

    def build(self):
        c = self.c
        self.net("behaviour", OBS, 2 * ACT, c["behaviour_lr"])
        self.net("actor", OBS, 2 * ACT, c["actor_lr"])
        self.twins(c["critic_lr"], hidden=c["critic_hidden"])

    def policy(self, name, s):
        mean, log_std = self.nets[name](s).split(ACT, 1)
        return squashed.policy(mean, -5 + 2.5 * (torch.tanh(log_std) + 1))

    def log_beta(self, s, a):
        return self.policy("behaviour", s).log_prob(a.clamp(-(1 - 1e-3), 1 - 1e-3))

    def divergence(self, s, noise):
        n = self.c["samples"]
        s = s.repeat_interleave(n, 0)
        a, log_pi = squashed.draw(self.policy("actor", s), noise)
        return (log_pi - self.log_beta(s, a)).view(-1, n).mean(1)

    def update(self, k):
        c, s = self.c, self.s
        if k <= c["behaviour_updates"]:
            loss = -self.log_beta(s, self.a).mean()
            descend(loss, self.nets["behaviour"])
            return {"behaviour_loss": loss}
        with torch.no_grad():
            next_a, _ = squashed.draw(self.policy("actor", self.next_s), self.noise("next", k, ACT))
            value = self.values(self.q_bar, self.next_s, next_a).amin(0)
            if self.value_penalty:
                value -= c["alpha"] * self.divergence(self.next_s, self.noise("next_divergence", k, ACT))
            y = self.backup(value)
        critic_loss = self.fit_critics(y)
        divergence = self.divergence(s, self.noise("own_divergence", k, ACT)).mean()
        a, _ = squashed.draw(self.policy("actor", s), self.noise("own", k, ACT))
        loss = c["alpha"] * divergence
        if k > c["behaviour_updates"] + c["warm_start"]:
            loss = loss - torch.minimum(*self.values(self.q, s, a)).mean()
        descend(loss, self.nets["actor"])
        self.track_critics(c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "divergence": divergence,
            "actor_loss": loss,
        }

    def act(self):
        return torch.tanh(self.nets["actor"](self.s)[:, :ACT])

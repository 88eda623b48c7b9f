"""CQL, from Kumar et al. 2020 (equation 4 with importance weights, appendix F) and
the order of CORL: all losses are of the parameters before the update."""

import math

import torch

import squashed
from common import ACT, OBS, Case, descend


class Method(Case):
    def build(self):
        c = self.c
        self.net("actor", OBS, 2 * ACT, c["actor_lr"])
        self.log_t = self.free("log_temperature", c["actor_lr"])
        self.twins(c["critic_lr"])

    def policy(self, s):
        mean, log_std = self.nets["actor"](s).split(ACT, 1)
        return squashed.policy(mean, (log_std - 1).clamp(-20, 2))

    def many(self, s, noise):
        n = self.c["actions"]
        a, density = squashed.draw(self.policy(s.repeat_interleave(n, 0)), noise)
        return a.view(-1, n, ACT), density.view(-1, n)

    def pushed_values(self, values):
        return values

    def update(self, k):
        c, s, n = self.c, self.s, self.c["actions"]
        pi = self.policy(s)
        a, log_pi = squashed.draw(pi, self.noise("own", k, ACT))
        t = self.log_t.flat.exp().detach()
        if k <= c["bc_updates"]:
            worth = pi.log_prob(self.a.clamp(-(1 - 1e-6), 1 - 1e-6))
        else:
            worth = torch.minimum(*self.values(self.q, s, a))
        actor_loss = (t * log_pi - worth).mean()
        t_loss = -(self.log_t.flat * (log_pi - ACT).detach()).mean()

        with torch.no_grad():
            next_a, _ = squashed.draw(self.policy(self.next_s), self.noise("next", k, ACT))
            y = self.backup(self.values(self.q_bar, self.next_s, next_a).amin(0))
            box = self.noise("random", k, ACT).view(-1, n, ACT)
            kinds = [
                (box, torch.full(box.shape[:2], ACT * math.log(0.5))),
                self.many(self.next_s, self.noise("pushed_next", k, ACT)),
                self.many(s, self.noise("pushed_own", k, ACT)),
            ]
            actions = torch.cat([a for a, _ in kinds], 1)
            densities = torch.cat([d for _, d in kinds], 1)
        flat = self.values(self.q, s.repeat_interleave(3 * n, 0), actions.reshape(-1, ACT))
        data = self.values(self.q, s, self.a)
        pushed = self.pushed_values(flat.view(2, -1, 3 * n))
        gap = ((pushed - densities).logsumexp(2) - data).mean(1)
        critic_loss = (((data - y) ** 2).mean(1) + c["alpha"] * gap).sum()

        descend(actor_loss, self.nets["actor"])
        descend(t_loss, self.log_t)
        descend(critic_loss, *self.q)
        self.track_critics(c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "gap": gap.mean(),
            "actor_loss": actor_loss,
            "temperature": t,
        }

    def act(self):
        return torch.tanh(self.nets["actor"](self.s)[:, :ACT])

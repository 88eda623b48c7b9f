"""SAC-N, from An et al. 2021 (equation 2) and the order of the authors' code: all losses
are of the parameters before the update."""

import torch
from torch.distributions import Normal

from common import ACT, OBS, Case, descend

MAX_Q_ACTIONS = 10


class Method(Case):
    def build(self):
        c = self.c
        self.net("actor", OBS, 2 * ACT, c["actor_lr"])
        self.log_alpha = self.free("log_temperature", c["actor_lr"])
        names = [f"critic.{i}" for i in range(c["critics"])]
        self.q = [self.net(name, OBS + ACT, 1, c["critic_lr"]) for name in names]
        self.q_bar = [self.net(f"{name}.target", OBS + ACT, 1) for name in names]

    def policy(self, s):
        mean, log_std = self.nets["actor"](s).split(ACT, 1)
        return Normal(mean, log_std.clamp(-5, 2).exp())

    def draw(self, s, noise):
        normal = self.policy(s)
        z = normal.loc + normal.scale * noise
        a = torch.tanh(z)
        return a, (normal.log_prob(z) - torch.log(1 - a**2 + 1e-6)).sum(1)

    def density(self, s, a):
        z = 0.5 * torch.log((1 + a).clamp(min=1e-6) / (1 - a).clamp(min=1e-6))
        return (self.policy(s).log_prob(z) - torch.log(1 - a**2 + 1e-6)).sum(1)

    def next_value(self, k, alpha):
        n = MAX_Q_ACTIONS if self.c["max_q_backup"] else 1
        s = self.next_s.repeat_interleave(n, 0)
        a, log_pi = self.draw(s, self.noise("next", k, ACT))
        if self.c["max_q_backup"]:
            return self.values(self.q, s, a).view(len(self.q), -1, n).amax(2).amin(0)
        return self.values(self.q_bar, s, a).amin(0) - alpha * log_pi

    def extra(self):
        """What is added to the critics' loss, and what is measured of it."""
        return 0, {}

    def update(self, k):
        a, log_pi = self.draw(self.s, self.noise("own", k, ACT))
        alpha = self.log_alpha.flat.exp().detach()
        alpha_loss = -(self.log_alpha.flat * (log_pi - ACT).detach()).mean()
        if k <= self.c["bc_updates"]:
            worth = self.density(self.s, self.a)
        else:
            worth = self.values(self.q, self.s, a).amin(0)
        actor_loss = (alpha * log_pi - worth).mean()
        with torch.no_grad():
            y = self.backup(self.next_value(k, alpha))
        errors = ((self.values(self.q, self.s, self.a) - y) ** 2).mean(1).sum()
        extra, measured = self.extra()

        descend(alpha_loss, self.log_alpha)
        descend(actor_loss, self.nets["actor"])
        descend(errors + extra, *self.q)
        self.track_critics(self.c["tau"])
        return measured | {
            "target_mean": y.mean(),
            "critic_loss": errors,
            "actor_loss": actor_loss,
            "entropy": -log_pi.mean(),
            "temperature": alpha,
        }

    def act(self):
        return torch.tanh(self.nets["actor"](self.s)[:, :ACT])

"""IQL, from Kostrikov et al. 2021 (equations 5 to 7) and the order of updates in
the authors' learner: value, actor, critics, targets. The actor's learning rate
follows torch's cosine schedule."""

import torch

from common import ACT, OBS, Case, descend, gaussian


class Method(Case):
    def build(self):
        self.pi = self.net("actor", OBS, ACT, self.c["actor_lr"])
        self.log_std = self.free("actor.log_std", self.c["actor_lr"])
        self.v = self.net("value", OBS, 1, self.c["critic_lr"])
        self.twins(self.c["critic_lr"])
        self.schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(net.optim, self.c["decay_updates"])
            for net in [self.pi, self.log_std]
        ]

    def update(self, k):
        c = self.c
        with torch.no_grad():
            q = self.values(self.q_bar, self.s, self.a).min(0).values
        u = q - self.v(self.s)[:, 0]
        value_loss = ((c["expectile"] - (u < 0).double()).abs() * u**2).mean()
        descend(value_loss, self.v)

        with torch.no_grad():
            advantage = q - self.v(self.s)[:, 0]
            weights = (c["beta"] * advantage).exp().clamp(max=c["weight_max"])
        policy = gaussian(torch.tanh(self.pi(self.s)), self.log_std.flat.clamp(-5, 2))
        actor_loss = -(weights * policy.log_prob(self.a)).mean()
        descend(actor_loss, self.pi, self.log_std)
        for schedule in self.schedules:
            schedule.step()

        with torch.no_grad():
            y = self.backup(self.v(self.next_s)[:, 0])
        critic_loss = self.fit_critics(y)
        self.track_critics(c["tau"])
        return {
            "value_loss": value_loss,
            "actor_loss": actor_loss,
            "weight_mean": weights.mean(),
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
        }

    def act(self):
        return torch.tanh(self.pi(self.s))

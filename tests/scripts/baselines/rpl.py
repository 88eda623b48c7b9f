"""Residual Policy Learning, from Silver et al. 2018 (section 3) as a deterministic
policy gradient on logged data: clipped twins, a residual on a frozen policy, a
penalty on its size, a burn-in of the critics."""

import torch

from common import ACT, OBS, Case, cat, descend


class Method(Case):
    def build(self):
        lr = self.c["lr"]
        self.base = self.net("anchor", OBS, ACT, hidden=[8, 8])
        self.f = self.net("residual", OBS + ACT, ACT, lr)
        self.f_bar = self.net("residual.target", OBS + ACT, ACT)
        self.twins(lr)

    def policy(self, f, s):
        with torch.no_grad():
            b = torch.tanh(self.base(s))
        change = self.c["rho"] * torch.tanh(f(cat(s, b)))
        return (b + change).clamp(-1, 1), change

    def update(self, k):
        c = self.c
        with torch.no_grad():
            a, _ = self.policy(self.f_bar, self.next_s)
            y = self.backup(self.values(self.q_bar, self.next_s, a).amin(0))
        measured = {"target_mean": y.mean(), "critic_loss": self.fit_critics(y)}
        if k > c["burn_in"]:
            a, change = self.policy(self.f, self.s)
            size = (change**2).mean()
            loss = -self.values(self.q[:1], self.s, a).mean() + c["action_l2"] * size
            descend(loss, self.f)
            self.f_bar.track(self.f, c["tau"])
            measured |= {"actor_loss": loss, "correction": size}
        self.track_critics(c["tau"])
        return measured

    def act(self):
        return self.policy(self.f, self.s)[0]

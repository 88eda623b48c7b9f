"""AWR, from Peng et al. 2019 (algorithm 1, equations 8 to 10): TD(lambda) returns of
the stored trajectories, a value on them, then weighted cloning; momentum."""

import torch

from common import ACT, OBS, Case, descend, gaussian
from file import File


class Method(Case):
    def build(self):
        c = self.c
        self.file = File(self.x)
        self.pi = self.net("actor", OBS, ACT)
        self.v = self.net("value", OBS, 1)
        for net, lr in [(self.pi, c["actor_lr"]), (self.v, c["critic_lr"])]:
            net.optim = torch.optim.SGD([net.flat], lr=lr, momentum=c["momentum"])
        self.scale = 1 / (1 - c["discount"])

    def returns(self):
        """Of each row of the file that gives a transition, and its value."""
        c, f, returns = self.c, self.file, {}
        with torch.no_grad():
            v = self.scale * self.v(f.obs)[:, 0]
        for rows in f.trajectories():
            *path, last = rows
            if f.terminal[last]:
                path, ahead = [*path, last], torch.zeros(())
            else:
                ahead = v[last]
            for t in reversed(path):
                returns[t] = f.reward[t] + c["discount"] * ahead
                ahead = (1 - c["td_lambda"]) * v[t] + c["td_lambda"] * returns[t]
        order = f.rows
        return torch.stack([returns[t] for t in order]), v[order]

    def update(self, k):
        c, rows = self.c, len(self.s)
        returns, values = self.returns()
        if k == 1:
            loss = 0.5 * ((returns[:rows] / self.scale - self.v(self.s)[:, 0]) ** 2).mean()
            descend(loss, self.v)
            return {"value_loss": loss}
        advantage = returns - values
        advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-5)
        weights = (advantage / c["temperature"]).exp().clamp(max=c["weight_max"])[:rows]
        mean = self.pi(self.s)
        density = gaussian(mean, torch.tensor(c["action_std"]).log().expand(rows, ACT)).log_prob(self.a)
        over = (mean - 1).clamp(min=0) ** 2 + (mean + 1).clamp(max=0) ** 2
        loss = -(weights * density).mean() + c["bound_weight"] * 0.5 * over.sum(1).mean()
        descend(loss, self.pi)
        return {"actor_loss": loss, "weight_mean": weights.mean()}

    def act(self):
        return self.pi(self.s)

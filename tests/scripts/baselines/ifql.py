"""IFQL, from Park et al. 2025 (appendix) and the order of the authors' agents/ifql.py:
implicit values and a flow in one loss; targets that move towards the critics of before
the step; the best of several draws by the critics themselves."""

import torch

from common import OBS, Case
from flow import Flow, best_of, data_actions, joint_step, net, twins


class Method(Case):
    def build(self):
        self.flow = Flow(self)
        self.v = net(self, "value", OBS, 1, self.c["lr"], True)
        twins(self)

    def update(self, k):
        c, a = self.c, data_actions(self)
        with torch.no_grad():
            q = self.values(self.q_bar, self.s, a).amin(0)
            y = self.backup(self.v(self.next_s)[:, 0])
        u = q - self.v(self.s)[:, 0]
        weight = torch.where(u >= 0, c["expectile"], 1 - c["expectile"])
        value_loss = (weight * u**2).mean()
        critic_loss = ((self.values(self.q, self.s, a) - y) ** 2).mean(1).sum()
        flow_loss = self.flow.loss(k)
        old = [q.flat.detach().clone() for q in self.q]
        joint_step(value_loss + critic_loss + flow_loss, [*self.q, self.v, self.flow.v])
        with torch.no_grad():
            for target, q in zip(self.q_bar, old):
                target.flat.copy_(c["tau"] * q + (1 - c["tau"]) * target.flat)
        return {
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "flow_loss": flow_loss,
        }

    def act(self):
        return best_of(self, self.flow)

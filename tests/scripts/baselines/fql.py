"""FQL, from Park et al. 2025 (algorithm 1) and the order of the authors' agents/fql.py:
one loss, one optimizer, and targets that move towards the critics of before the step."""

import torch

from common import ACT, Case
from flow import Flow, OneStep, aggregate, data_actions, joint_step, twins


class Method(Case):
    def build(self):
        self.flow, self.mu = Flow(self), OneStep(self)
        twins(self)

    def update(self, k):
        c = self.c
        with torch.no_grad():
            next_a = self.mu.act(self.next_s, self.noise("next", k, ACT))
            y = self.backup(aggregate(c["target"], self.values(self.q_bar, self.next_s, next_a)))
        critic_loss = ((self.values(self.q, self.s, data_actions(self)) - y) ** 2).mean()
        flow_loss = self.flow.loss(k)
        z = self.noise("proposal", k, ACT)
        distil, value = self.mu.loss(self.flow, z, c["normalize_value"])
        loss = critic_loss + flow_loss + c["alpha"] * distil + value
        old = [q.flat.detach().clone() for q in self.q]
        joint_step(loss, [*self.q, self.flow.v, self.mu.net])
        with torch.no_grad():
            for target, q in zip(self.q_bar, old):
                target.flat.copy_(c["tau"] * q + (1 - c["tau"]) * target.flat)
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "flow_loss": flow_loss,
            "distil_loss": distil,
            "value_loss": value,
        }

    def act(self):
        return self.mu.act(self.s, self.x["noise.act"].view(-1, ACT).double())

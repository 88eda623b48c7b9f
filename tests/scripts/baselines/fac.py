"""FAC, from Chae et al. 2026 and the order of the authors' agents/fac.py: first the flow;
then critics, pushed down where the flow finds the actor's actions unlikely, and the
actor, in one loss; targets that follow the critics of after the step. The densities of
the data's actions are computed here from the file, not from the batch."""

import torch

from common import ACT, Case, descend
from file import File
from flow import Flow, OneStep, aggregate, data_actions, joint_step, twins


class Method(Case):
    def build(self):
        self.flow, self.mu = Flow(self), OneStep(self)
        twins(self)

    def log_epsilon(self):
        file, rows = File(self.x), len(self.s)
        obs = file.obs[file.rows]
        if self.c["data"]["states"] == "standardized":
            obs = (obs - obs.mean(0)) / (obs.std(0, correction=0) + 1e-3)
        actions = self.x["file.actions"].view(-1, ACT).double()[file.rows]
        bound = 1 - 1e-5
        every = self.flow.log_density(obs, actions.clamp(-bound, bound))
        own = every[:rows]
        kind = self.c["threshold"]
        return {"row": own, "batch": own.min().expand(rows), "data": every.min().expand(rows)}[kind]

    def update(self, k):
        c = self.c
        if k <= c["flow_updates"]:
            loss = self.flow.loss(k)
            descend(loss, self.flow.v)
            return {"flow_loss": loss}
        with torch.no_grad():
            next_a = self.mu.act(self.next_s, self.noise("next", k, ACT))
            y = self.backup(aggregate(c["target"], self.values(self.q_bar, self.next_s, next_a)))
            drawn = self.mu.act(self.s, self.noise("pushed", k, ACT))
        critic_loss = ((self.values(self.q, self.s, data_actions(self)) - y) ** 2).mean()
        ratio = (self.flow.log_density(self.s, drawn) - self.log_epsilon()).exp()
        weight = (1 - ratio).clamp(0, 1)
        penalty = (weight * self.values(self.q, self.s, drawn)).mean()
        distil, value = self.mu.loss(self.flow, self.noise("proposal", k, ACT), True)
        loss = critic_loss + c["alpha"] * penalty + c["lambda"] * distil + value
        joint_step(loss, [*self.q, self.mu.net])
        self.track_critics(c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "weight_mean": weight.mean(),
            "penalty": penalty,
            "distil_loss": distil,
            "value_loss": value,
        }

    def act(self):
        return self.mu.act(self.s, self.x["noise.act"].view(-1, ACT).double())

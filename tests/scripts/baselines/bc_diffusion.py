"""The diffusion clone, from Wang et al. 2022 (equation 2) and the described network."""

import torch

from common import ACT, Case, descend
from diffusion import STEPS, Plain, Schedule


class Method(Case):
    def build(self):
        self.schedule = Schedule(self.c["steps"])
        self.pi = Plain(self, "actor", self.c["lr"])

    def update(self, k):
        t = self.noise("step", k, 1)[:, 0].long()
        noise = self.noise("noise", k, ACT)
        x = self.schedule.noised(self.a, t, noise)
        loss = torch.nn.functional.mse_loss(self.pi(self.s, x, t.double()), noise)
        descend(loss, *self.pi.learners())
        return {"bc_loss": loss}

    def act(self):
        noise = self.x["noise.act"].view(-1, STEPS, ACT).double().transpose(0, 1)
        return self.schedule.chain(self.pi, self.s, noise, self.schedule.by_start)

"""IDQL, from Hansen-Estruch et al. 2023 (equations 5 to 7) and the described order of the
authors' present code: noise network and its average, value, critics, targets."""

import math

import torch
import torch.nn.functional as F

from common import ACT, OBS, Case, cat, descend
from diffusion import STEPS, Layers, Residual, Schedule, masks


class Behaviour(Residual):
    def __init__(self, case, name, optim=None):
        super().__init__(case, name, F.silu, 1e-6, optim)
        self.w = case.free(f"{name}.code", 0.0)
        if optim:
            self.w.optim = torch.optim.AdamW([self.w.flat], **optim)

    def learners(self):
        return [self.w, *super().learners()]

    def numbers(self, t):
        angles = 2 * math.pi * t[:, None] * self.w.flat
        return cat(angles.cos(), angles.sin())


class Method(Case):
    def build(self):
        c = self.c
        self.schedule = Schedule(c["steps"])
        optim = {"lr": c["lr"], "weight_decay": c["weight_decay"]}
        self.pi = Behaviour(self, "actor", optim)
        self.pi_bar = Behaviour(self, "actor.average")
        self.v = Layers(
            self.x["start.value"], [OBS, *c["hidden"], 1], F.relu, 1e-6,
            lr=c["critic_lr"], weight_decay=0.0,
        )
        self.nets["value"] = self.v
        self.twins(c["critic_lr"])
        self.schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(learner.optim, c["decay_updates"])
            for learner in self.pi.learners()
        ]

    def update(self, k):
        c = self.c
        self.a = self.a.clamp(-(1 - 1e-5), 1 - 1e-5)
        t = self.noise("step", k, 1)[:, 0].long()
        noise = self.noise("noise", k, ACT)
        kept = masks(self.noise("dropout", k, 1), c["blocks"], c["width"], c["dropout"])
        x = self.schedule.noised(self.a, t, noise)
        said = self.pi(self.s, x, t.double(), kept)
        bc_loss = ((said - noise) ** 2).sum(1).mean()
        descend(bc_loss, *self.pi.learners())
        for schedule in self.schedules:
            schedule.step()
        rate = c["average_rate"]
        with torch.no_grad():
            for own, other in zip(self.pi_bar.learners(), self.pi.learners()):
                own.flat.copy_((1 - rate) * own.flat + rate * other.flat)

        with torch.no_grad():
            q = self.values(self.q_bar, self.s, self.a).amin(0)
        u = q - self.v(self.s)[:, 0]
        value_loss = (torch.where(u > 0, c["expectile"], 1 - c["expectile"]) * u**2).mean()
        descend(value_loss, self.v)

        with torch.no_grad():
            y = self.backup(self.v(self.next_s)[:, 0])
        critic_loss = ((self.values(self.q, self.s, self.a) - y) ** 2).mean()
        descend(critic_loss, *self.q)
        self.track_critics(c["tau"])
        return {
            "bc_loss": bc_loss,
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
        }

    def act(self):
        n = self.c["candidates"]
        drawn = self.x["noise.act"].view(-1, STEPS, n, ACT).double()
        noise = drawn.transpose(0, 1).reshape(STEPS, -1, ACT)
        s = self.s.repeat_interleave(n, 0)
        a = self.schedule.chain(self.pi_bar, s, noise, self.schedule.by_sample)
        value = self.values(self.q_bar, s, a).amin(0).view(-1, n)
        return a.view(-1, n, ACT)[torch.arange(len(self.s)), value.argmax(1)]

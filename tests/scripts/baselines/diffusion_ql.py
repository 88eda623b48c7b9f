"""Diffusion-QL, from Wang et al. 2022 (equations 2, 3 and 4) and the described order of the
authors' code: critics, noise network, its average, target critics."""

import torch
import torch.nn.functional as F

from common import ACT, OBS, Case
from diffusion import STEPS, Layers, Plain, Schedule, clip


class Method(Case):
    def build(self):
        c = self.c
        self.schedule = Schedule(c["steps"])
        self.pi = Plain(self, "actor", c["lr"])
        self.pi_bar = Plain(self, "actor.average")
        widths = [OBS + ACT, *c["critic_hidden"], 1]
        for i in range(2):
            for name, optim in [
                (f"critic.{i}", {"lr": c["critic_lr"], "weight_decay": 0.0}),
                (f"critic.{i}.target", {}),
            ]:
                self.nets[name] = Layers(self.x[f"start.{name}"], widths, F.mish, **optim)
        self.q = [self.nets[f"critic.{i}"] for i in range(2)]
        self.q_bar = [self.nets[f"critic.{i}.target"] for i in range(2)]

    def sample(self, pi, s, noise):
        return self.schedule.chain(pi, s, noise.view(STEPS, -1, ACT), self.schedule.by_start)

    def update(self, k):
        c, n = self.c, self.c["backup_samples"]
        with torch.no_grad():
            s = self.next_s.repeat_interleave(n, 0)
            a = self.sample(self.pi_bar, s, self.noise("next", k, ACT))
            value = self.values(self.q_bar, s, a).view(2, -1, n).amax(2).amin(0)
            y = self.backup(value)
        losses = [((q - y) ** 2).mean() for q in self.values(self.q, self.s, self.a)]
        grads = torch.autograd.grad(sum(losses), [q.flat for q in self.q])
        clip(self.q, grads, c["grad_norm"])

        t = self.noise("step", k, 1)[:, 0].long()
        noise = self.noise("noise", k, ACT)
        x = self.schedule.noised(self.a, t, noise)
        bc_loss = F.mse_loss(self.pi(self.s, x, t.double()), noise)
        a = self.sample(self.pi, self.s, self.noise("proposal", k, ACT))
        q1, q2 = self.values(self.q, self.s, a)
        if self.noise("coin", k, 1).item() > 0:
            q_loss = -q1.mean() / q2.abs().mean().detach()
        else:
            q_loss = -q2.mean() / q1.abs().mean().detach()
        learners = self.pi.learners()
        loss = bc_loss + c["eta"] * q_loss
        grads = torch.autograd.grad(loss, [learner.flat for learner in learners])
        clip(learners, grads, c["grad_norm"])

        steps_done = k - 1
        if steps_done >= c["average_after"] and steps_done % c["average_every"] == 0:
            for own, other in zip(self.pi_bar.learners(), learners):
                own.track(other, c["average_rate"])
        self.track_critics(c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": sum(losses),
            "bc_loss": bc_loss,
            "q_loss": q_loss,
        }

    def act(self):
        n = self.c["candidates"]
        drawn = self.x["noise.act"].view(len(self.s), -1).double()
        noise = drawn[:, :-1].view(-1, STEPS, n, ACT).transpose(0, 1).reshape(STEPS, -1, ACT)
        s = self.s.repeat_interleave(n, 0)
        a = self.sample(self.pi, s, noise)
        value = self.values(self.q_bar, s, a).amin(0).view(-1, n)
        share = torch.softmax(value / self.c["temperature"], 1).cumsum(1)
        chosen = (share <= drawn[:, -1:]).sum(1)
        return a.view(-1, n, ACT)[torch.arange(len(self.s)), chosen]

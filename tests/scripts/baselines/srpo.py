"""SRPO, from Chen et al. 2023 (equations 9, 12 and 15) and the described order of the
authors' code: behaviour and implicit critics, then the policy."""

import math

import torch
import torch.nn.functional as F

from common import ACT, OBS, Case, cat, descend
from diffusion import Residual, masks


class Behaviour(Residual):
    def __init__(self, case, name, optim):
        super().__init__(case, name, F.mish, 1e-5, optim)
        # Never trained, but compared.
        self.w = case.free(f"{name}.code", 0.0)

    def numbers(self, t):
        angles = t[:, None] * self.w.flat.detach() * 2 * math.pi
        return cat(angles.sin(), angles.cos())


def levels(t):
    """Marginals of the variance-preserving equation with beta from 0.1 to 20."""
    log_alpha = -0.25 * t**2 * (20 - 0.1) - 0.5 * t * 0.1
    alpha = log_alpha.exp()[:, None]
    return alpha, (1 - alpha**2).sqrt()


class Method(Case):
    def build(self):
        c = self.c
        optim = {"lr": c["behaviour_lr"], "weight_decay": c["weight_decay"]}
        self.behaviour = Behaviour(self, "behaviour", optim)
        self.v = self.net("value", OBS, 1, c["critic_lr"])
        self.twins(c["critic_lr"])
        self.pi = self.net("actor", OBS, ACT, c["lr"], c["policy_hidden"])
        self.falls = torch.optim.lr_scheduler.CosineAnnealingLR(self.pi.optim, c["decay_updates"])

    def time(self, k, low, high):
        return low + (high - low) * (self.noise("time", k, 1)[:, 0] + 1) / 2

    def update(self, k):
        c = self.c
        measured, noise = {}, self.noise("noise", k, ACT)
        if k <= c["behaviour_updates"]:
            t = self.time(k, 1e-3, 1.0)
            alpha, sigma = levels(t)
            kept = masks(self.noise("dropout", k, 1), c["blocks"], c["width"], c["dropout"])
            said = self.behaviour(self.s, alpha * self.a + sigma * noise, t, kept)
            loss = ((said - noise) ** 2).sum(1).mean()
            descend(loss, *self.behaviour.learners())
            measured["bc_loss"] = loss
        if k <= c["critic_updates"]:
            with torch.no_grad():
                q = self.values(self.q_bar, self.s, self.a).amin(0)
                y = self.backup(self.v(self.next_s)[:, 0])
            u = q - self.v(self.s)[:, 0]
            value_loss = ((c["expectile"] - (u < 0).double()).abs() * u**2).mean()
            descend(value_loss, self.v)
            critic_loss = sum(((q - y) ** 2).mean() for q in self.values(self.q, self.s, self.a)) / 2
            descend(critic_loss, *self.q)
            self.track_critics(c["tau"])
            measured |= {
                "value_loss": value_loss,
                "target_mean": y.mean(),
                "critic_loss": critic_loss,
            }
        if k > max(c["behaviour_updates"], c["critic_updates"]):
            t = self.time(k, 0.02, 0.98)
            alpha, sigma = levels(t)
            a = torch.tanh(self.pi(self.s))
            at = a.detach().requires_grad_(True)
            with torch.no_grad():
                said = self.behaviour(self.s, alpha * at + sigma * noise, t)
                if c["subtract_noise"]:
                    said = said - noise
            value = self.values(self.q_bar, self.s, at).mean(0)
            (slope,) = torch.autograd.grad(value.sum(), at)
            if c["normalize_gradient"]:
                slope = slope / (slope**2).mean(1, keepdim=True).sqrt()
            loss = (sigma**2 * said * a - c["beta"] * slope * a).sum(1).mean()
            descend(loss, self.pi)
            self.falls.step()
            measured["actor_loss"] = loss
        return measured

    def act(self):
        return torch.tanh(self.pi(self.s))

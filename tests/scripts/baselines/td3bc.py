"""TD3+BC, from Fujimoto and Gu 2021 (algorithm box and equations 3 to 5)."""

import torch

from common import ACT, OBS, Case, descend


class Method(Case):
    def build(self):
        self.pi = self.net("actor", OBS, ACT, self.c["actor_lr"])
        self.pi_bar = self.net("actor.target", OBS, ACT)
        self.twins(self.c["critic_lr"])

    def update(self, k):
        c = self.c
        with torch.no_grad():
            clip = c["noise_clip"]
            noise = self.noise("noise", k, ACT).clamp(-clip, clip)
            next_a = (torch.tanh(self.pi_bar(self.next_s)) + noise).clamp(-1, 1)
            y = self.backup(self.values(self.q_bar, self.next_s, next_a).min(0).values)
        measured = {"target_mean": y.mean(), "critic_loss": self.fit_critics(y)}
        if k % c["policy_freq"] == 0:
            a = torch.tanh(self.pi(self.s))
            q = self.values(self.q[:1], self.s, a)[0]
            lam = c["alpha"] / q.abs().mean().detach()
            loss = -lam * q.mean() + torch.nn.functional.mse_loss(a, self.a)
            descend(loss, self.pi)
            self.track_critics(c["tau"])
            self.pi_bar.track(self.pi, c["tau"])
            measured["actor_loss"] = loss
        return measured

    def act(self):
        return torch.tanh(self.pi(self.s))

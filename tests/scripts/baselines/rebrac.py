"""ReBRAC, from Tarasov et al. 2023 (equations 3 and 4): TD3+BC whose distance to the
data is summed over dimensions and enters both losses."""

import torch

from common import ACT, OBS, Case, descend


class Method(Case):
    def build(self):
        self.next_a = self.x["batch.next_actions"].view(-1, ACT).double()
        self.pi = self.net("actor", OBS, ACT, self.c["actor_lr"])
        self.pi_bar = self.net("actor.target", OBS, ACT)
        self.twins(self.c["critic_lr"], layer_norm=True)

    def update(self, k):
        c = self.c
        with torch.no_grad():
            clip = c["noise_clip"]
            noise = self.noise("noise", k, ACT).clamp(-clip, clip)
            a = (torch.tanh(self.pi_bar(self.next_s)) + noise).clamp(-1, 1)
            penalty = c["critic_beta"] * ((a - self.next_a) ** 2).sum(1)
            y = self.backup(self.values(self.q_bar, self.next_s, a).amin(0) - penalty)
        measured = {"target_mean": y.mean(), "critic_loss": self.fit_critics(y)}
        if k % c["policy_freq"] == 0:
            a = torch.tanh(self.pi(self.s))
            q = torch.minimum(*self.values(self.q, self.s, a))
            scale = 1 / q.abs().mean().detach() if c["normalize_q"] else 1.0
            loss = (c["actor_beta"] * ((a - self.a) ** 2).sum(1) - scale * q).mean()
            descend(loss, self.pi)
            self.track_critics(c["tau"])
            self.pi_bar.track(self.pi, c["tau"])
            measured["actor_loss"] = loss
        return measured

    def act(self):
        return torch.tanh(self.pi(self.s))

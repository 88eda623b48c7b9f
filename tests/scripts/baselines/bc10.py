"""10%BC, from Chen et al. 2021 (section 5) and CORL's any_percent_bc: the mean squared
error of a deterministic policy on the best trajectories by discounted return, states
standardized by what is kept. Which those are is found here from the file; the batch that
comes with the inputs is not looked at."""

import torch

from common import ACT, OBS, Case, descend
from file import File


class Method(Case):
    def build(self):
        file, keep = File(self.x), self.c["data"]["keep"]
        paths = list(file.trajectories())
        returns = [
            sum(keep["discount"] ** n * file.reward[t].item() for n, t in enumerate(rows))
            for rows in paths
        ]
        order = sorted(range(len(paths)), key=lambda n: returns[n], reverse=True)
        best = order[: max(1, int(keep["fraction"] * len(paths)))]
        rows = [t for t in file.rows if any(t in paths[n] for n in best)]
        kept = file.obs[rows]
        scaled = (kept - kept.mean(0)) / (kept.std(0, correction=0) + 1e-3)
        batch = [n % len(rows) for n in range(len(self.s))]
        actions = self.x["file.actions"].view(-1, ACT).double()
        self.s, self.a = scaled[batch], actions[rows][batch]
        self.pi = self.net("actor", OBS, ACT, self.c["lr"])

    def update(self, k):
        loss = torch.nn.functional.mse_loss(torch.tanh(self.pi(self.s)), self.a)
        descend(loss, self.pi)
        return {"actor_loss": loss}

    def act(self):
        return torch.tanh(self.pi(self.s))

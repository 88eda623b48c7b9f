"""Cal-QL, from Nakamoto et al. 2023 (section 4, equation 5): CQL whose values of the policy's
actions are at least the Monte-Carlo return of the data's trajectory."""

import torch

import cql
from file import File


class Method(cql.Method):
    def build(self):
        super().build()
        f, gamma = File(self.x), self.c["discount"]
        affine = self.c["data"]["rewards"]["affine"]
        reward = affine["scale"] * f.reward + affine["shift"]
        to_go = {}
        for rows in f.trajectories():
            ahead = 0.0
            for t in reversed(rows):
                ahead = to_go[t] = reward[t] + gamma * ahead
        self.reference = torch.stack([to_go[t] for t in f.rows[: len(self.s)]])

    def pushed_values(self, values):
        """`[critics, rows, 3 n]`: of the box, of the next state's policy, of the policy."""
        n = self.c["actions"]
        floor = self.reference[None, :, None]
        raised = torch.maximum(values[:, :, n:], floor.expand(2, -1, 2 * n))
        share = (raised != values[:, :, n:]).double().mean()
        assert 0.1 < share < 0.9, f"{share} of the values are raised: the case shows nothing"
        return torch.cat([values[:, :, :n], raised], 2)

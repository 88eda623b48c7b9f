"""EDAC, from An et al. 2021 (equation 4): SAC-N whose critics' action gradients, each of
length one, are spread; the second derivatives are torch's."""

import torch

import sac_n
from common import cat


class Method(sac_n.Method):
    def extra(self):
        a = self.a.clone().requires_grad_(True)
        n, agreement = len(self.q), 0
        slopes = []
        for q in self.q:
            (slope,) = torch.autograd.grad(q(cat(self.s, a)).sum(), a, create_graph=True)
            slopes.append(slope / (slope.norm(dim=1, keepdim=True) + 1e-10))
        for i in range(n):
            for j in range(n):
                if i != j:
                    agreement += (slopes[i] * slopes[j]).sum(1).mean()
        agreement = agreement / (n - 1)
        return self.c["eta"] * agreement, {"agreement": agreement}

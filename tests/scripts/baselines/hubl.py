"""HUBL's relabelling, from Geng et al. 2024 (section 4, appendix): a trajectory's
returns-to-go blended into rewards and discounts."""

import torch

from file import File


def relabel(case):
    c, f = case.c, File(case.x)
    gamma, hubl = c["discount"], c["data"]["hubl"]
    ahead, total, of = {}, [], {}
    for n, rows in enumerate(f.trajectories()):
        to_go = torch.zeros(())
        for t in reversed(rows):
            ahead[t], of[t] = to_go, n
            to_go = f.reward[t] + gamma * to_go
        total.append(to_go)
    total = torch.stack(total)
    if hubl["blend"] == "sigmoid":
        share = torch.sigmoid((total - total.mean()) / total.std(correction=0))
    else:
        share = (total[None] <= total[:, None]).double().mean(1)
    rows = f.rows[: len(case.s)]
    weight = hubl["alpha"] * share[[of[t] for t in rows]]
    heuristic = torch.stack([ahead[t] for t in rows])
    case.reward = f.reward[rows] + gamma * weight * heuristic
    case.not_terminal = (1 - weight) * (~f.terminal[rows]).double()

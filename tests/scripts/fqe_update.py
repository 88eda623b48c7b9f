"""Three updates of fitted Q evaluation, a second time: an independent PyTorch program in double
precision, written from the equations in docs/ope.md, not from the Rust code.

Run from the repository's root in a private environment with
    torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
as
    python tests/scripts/fqe_update.py

Writes tests/fixtures/pytorch/fqe.safetensors: the parameters to start from, one batch with the
policy's next actions, and for each update the loss and all parameters of the network and of its
target copy. crates/spar-ope/tests/pytorch.rs compares.

A network is one flat vector: per layer the weight [in, out], the bias and, in hidden layers, gain
and shift of a layer normalization.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FILE = pathlib.Path("tests/fixtures/pytorch/fqe.safetensors")
OBS, ACT, WIDTHS, ROWS = 3, 2, [5, 8, 6, 1], 16
LR, TAU, DISCOUNT = 1e-2, 0.25, 0.9
CENTER, SCALE, LEAST, GREATEST = 4.0, 2.5, -12.0, 5.5
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.manual_seed(5)


def network(flat, x):
    at = 0

    def take(*shape):
        nonlocal at
        n = torch.Size(shape).numel()
        at += n
        return flat[at - n : at].view(shape)

    last = len(WIDTHS) - 2
    for i, (n_in, n_out) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        x = x @ take(n_in, n_out) + take(n_out)
        if i < last:
            x = F.relu(F.layer_norm(x, (n_out,), take(n_out), take(n_out), eps=1e-5))
    assert at == len(flat)
    return x[:, 0]


def single(x):
    """Numbers that single precision holds too."""
    return x.float().double()


def main():
    count = sum(
        n_in * n_out + n_out + (2 * n_out if i < len(WIDTHS) - 2 else 0)
        for i, (n_in, n_out) in enumerate(zip(WIDTHS, WIDTHS[1:]))
    )
    start = single(0.5 * torch.randn(count))
    s, next_s = single(torch.randn(ROWS, OBS)), single(torch.randn(ROWS, OBS))
    a = single(2 * torch.rand(ROWS, ACT) - 1)
    next_a = single(2 * torch.rand(ROWS, ACT) - 1)
    r = single(3 * torch.randn(ROWS))
    terminal = (torch.arange(ROWS) % 5 == 0).double()

    params = start.clone().requires_grad_(True)
    target = start.clone()
    optim = torch.optim.Adam([params], lr=LR)
    out = {"start": start, "obs": s, "actions": a, "rewards": r, "next_obs": next_s}
    out |= {"next_actions": next_a, "not_terminal": 1 - terminal}
    for update in [1, 2, 3]:
        with torch.no_grad():
            value = CENTER + SCALE * network(target, torch.cat([next_s, next_a], dim=1))
            y = (r + DISCOUNT * (1 - terminal) * value).clamp(LEAST, GREATEST)
            clipped = (y == LEAST).any() or (y == GREATEST).any()
            assert clipped, "the fixture has to show the bounds"
        loss = ((network(params, torch.cat([s, a], dim=1)) - (y - CENTER) / SCALE) ** 2).mean()
        optim.zero_grad()
        loss.backward()
        optim.step()
        with torch.no_grad():
            target = (1 - TAU) * target + TAU * params
        out |= {f"{update}.loss": loss, f"{update}.params": params.detach().clone()}
        out |= {f"{update}.target": target}
    save_file({k: v.detach().float().reshape(-1).clone() for k, v in out.items()}, FILE)


if __name__ == "__main__":
    main()

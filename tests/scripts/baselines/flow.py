"""Flows and their actors of one pass, from Park et al. 2025 (equations 5 to 9) and the
FAC paper's appendix on densities: networks as flax makes them (tanh form of GELU, layer
normalization after the activation with epsilon 1e-6), everything differentiated by
torch.func."""

import math

import torch

from common import ACT, OBS, Net, cat


class FlaxNet(Net):
    """Dense, GELU and, if asked for, LayerNorm, in this order; then Dense."""

    def __call__(self, x):
        at, last = 0, len(self.widths) - 2
        for i, (n_in, n_out) in enumerate(zip(self.widths, self.widths[1:])):
            normalized = self.layer_norm and i < last
            sizes = [n_in * n_out, n_out] + ([n_out, n_out] if normalized else [])
            weight, bias, *norm = self.flat[at : at + sum(sizes)].split(sizes)
            at += sum(sizes)
            x = x @ weight.view(n_in, n_out) + bias
            if i < last:
                x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
            if normalized:
                centred = x - x.mean(-1, keepdim=True)
                x = centred / (centred**2).mean(-1, keepdim=True).add(1e-6).sqrt()
                x = x * norm[0] + norm[1]
        assert at == len(self.flat)
        return x


def net(case, name, n_in, n_out, lr=None, layer_norm=False):
    made = FlaxNet(case.x[f"start.{name}"], n_in, case.c["hidden"], n_out, lr, layer_norm)
    case.nets[name] = made
    return made


def twins(case):
    """Two normalized critics and their targets."""
    lr = case.c["lr"]
    case.q = [net(case, f"critic.{i}", OBS + ACT, 1, lr, True) for i in range(2)]
    case.q_bar = [net(case, f"critic.{i}.target", OBS + ACT, 1, None, True) for i in range(2)]


def data_actions(case):
    bound = 1 - 1e-5
    return case.a.clamp(-bound, bound)


class Flow:
    def __init__(self, case):
        self.case, self.steps = case, case.c["flow_steps"]
        self.v = net(case, "flow", OBS + ACT + 1, ACT, case.c["lr"])

    def loss(self, k):
        s, a = self.case.s, data_actions(self.case)
        x0, t = self.case.noise("flow.noise", k, ACT), self.case.noise("flow.time", k, 1)
        return ((self.v(cat(s, (1 - t) * x0 + t * a, t)) - (a - x0)) ** 2).mean()

    def velocity(self, s, x, t):
        return self.v(cat(s, x, torch.full((len(s), 1), t)))

    def transport(self, s, z):
        """Euler's method from noise, clipped at the end."""
        with torch.no_grad():
            for i in range(self.steps):
                z = z + self.velocity(s, z, i / self.steps) / self.steps
            return z.clamp(-1, 1)

    def log_density(self, s, a):
        """Euler's method backwards with the whole Jacobian of every step."""
        h, x, volume = 1 / self.steps, a, torch.zeros(len(a))

        def of_row(x, s, t):
            return self.v(torch.cat([s, x, torch.full((1,), t)])[None])[0]

        for i in range(self.steps, 0, -1):
            t = i * h
            jacobian = torch.func.vmap(torch.func.jacrev(lambda x, s: of_row(x, s, t)))(x, s)
            volume = volume + h * jacobian.diagonal(dim1=1, dim2=2).sum(1)
            with torch.no_grad():
                x = x - h * self.velocity(s, x, t)
        start = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
        return (start - volume).detach()


class OneStep:
    def __init__(self, case):
        self.case = case
        self.net = net(case, "actor", OBS + ACT, ACT, case.c["lr"])

    def act(self, s, z):
        return self.net(cat(s, z)).clamp(-1, 1)

    def loss(self, flow, z, normalized):
        """The distance to the flow and the value's part."""
        case, proposed = self.case, self.net(cat(self.case.s, z))
        distil = ((proposed - flow.transport(case.s, z)) ** 2).mean()
        q = frozen_values(case, proposed.clamp(-1, 1)).mean(0)
        return distil, -q.mean() / (q.detach().abs().mean() if normalized else 1)


def frozen_values(case, a):
    """The critics' values with a gradient of the action alone."""
    values = []
    for q in case.q:
        copy = FlaxNet(q.flat.detach(), q.widths[0], q.widths[1:-1], 1, None, True)
        copy.flat.requires_grad_(False)
        values.append(copy(cat(case.s, a))[:, 0])
    return torch.stack(values)


def joint_step(loss, learners):
    """One step of one Adam over all of them: each has the same settings."""
    grads = torch.autograd.grad(loss, [learner.flat for learner in learners])
    for learner, grad in zip(learners, grads):
        learner.flat.grad = grad
        learner.optim.step()


def aggregate(name, values):
    return values.amin(0) if name == "min" else values.mean(0)


def best_of(case, flow):
    """The draw of a flow that the trained critics value most."""
    n = case.c["candidates"]
    s = case.s.repeat_interleave(n, 0)
    a = flow.transport(s, case.x["noise.act"].view(-1, ACT).double()).view(-1, n, ACT)
    value = case.values(case.q, s, a.view(-1, ACT)).amin(0).view(-1, n)
    return a[torch.arange(len(a)), value.argmax(1)]

"""What diffusion policies share: schedule, networks and chains, written from the papers and
the description of the authors' code. Inputs are [state, sample, time code]."""

import math

import torch
import torch.nn.functional as F

from common import ACT, OBS, Net, cat

STEPS = 5


class Schedule:
    """The discrete variance-preserving schedule; t = 0 is the last step of sampling."""

    def __init__(self, steps=STEPS, low=0.1, high=10.0):
        t = torch.arange(1, steps + 1, dtype=torch.float64)
        self.alpha = torch.exp(-low / steps - 0.5 * (high - low) * (2 * t - 1) / steps**2)
        self.beta = 1 - self.alpha
        self.abar = torch.cumprod(self.alpha, 0)
        self.before = torch.cat([torch.ones(1), self.abar[:-1]])
        self.steps = steps

    def noised(self, a, t, noise):
        abar = self.abar[t][:, None]
        return abar.sqrt() * a + (1 - abar).sqrt() * noise

    def by_start(self, x, eps, t, z):
        """Diffusion-QL's step: the guessed action is clipped, the posterior's variance."""
        abar, before, beta = self.abar[t], self.before[t], self.beta[t]
        start = (x / abar.sqrt() - (1 / abar - 1).sqrt() * eps).clamp(-1, 1)
        mean = beta * before.sqrt() / (1 - abar) * start
        mean = mean + (1 - before) * self.alpha[t].sqrt() / (1 - abar) * x
        if t == 0:
            return mean
        return mean + (beta * (1 - before) / (1 - abar)).sqrt() * z

    def by_sample(self, x, eps, t, z):
        """IDQL's step: variance beta, the sample is clipped."""
        x = (x - self.beta[t] / (1 - self.abar[t]).sqrt() * eps) / self.alpha[t].sqrt()
        if t > 0:
            x = x + self.beta[t].sqrt() * z
        return x.clamp(-1, 1)

    def chain(self, net, s, noise, step):
        """`noise` is [steps, rows, ACT]: the start, then what each step but the last adds."""
        x = noise[0]
        for i, t in enumerate(reversed(range(self.steps))):
            times = torch.full((len(x),), float(t))
            x = step(x, net(s, x, times), t, noise[i + 1] if t > 0 else None)
        return x.clamp(-1, 1)


class Layers(Net):
    """A network over one flat vector with another activation, and its input normalized
    where `norm_eps` says so."""

    def __init__(self, flat, widths, activation, norm_eps=None, **optim):
        super().__init__(flat, widths[0], widths[1:-1], widths[-1])
        self.activation, self.norm_eps = activation, norm_eps
        if optim:
            self.optim = torch.optim.AdamW([self.flat], **optim)

    def __call__(self, x):
        at, last = 0, len(self.widths) - 2

        def take(*shape):
            nonlocal at
            n = math.prod(shape)
            at += n
            return self.flat[at - n : at].view(shape)

        if self.norm_eps is not None:
            width = self.widths[0]
            gain, shift = take(width), take(width)
            x = F.layer_norm(x, (width,), gain, shift, eps=self.norm_eps)
        for i, (n_in, n_out) in enumerate(zip(self.widths, self.widths[1:])):
            x = x @ take(n_in, n_out) + take(n_out)
            if i < last:
                x = self.activation(x)
        assert at == len(self.flat)
        return x


class Plain:
    """Diffusion-QL's noise network."""

    def __init__(self, case, name, lr=None):
        c, width = case.c, case.c["time_dim"]
        optim = {} if lr is None else {"lr": lr, "weight_decay": 0.0}

        def net(part, widths):
            key = f"{name}.{part}"
            case.nets[key] = Layers(case.x[f"start.{key}"], widths, F.mish, **optim)
            return case.nets[key]

        self.time = net("time", [width, 2 * width, width])
        self.entry = net("entry", [OBS + ACT + width, *c["hidden"], ACT])
        half = width // 2
        self.frequencies = torch.exp(-math.log(1e4) / (half - 1) * torch.arange(half))

    def learners(self):
        return [self.time, self.entry]

    def __call__(self, s, x, t):
        angles = t[:, None] * self.frequencies
        return self.entry(cat(s, x, self.time(cat(angles.sin(), angles.cos()))))


class Residual:
    """IDQL's and SRPO's noise network; `frequencies` makes numbers of times."""

    def __init__(self, case, name, activation, eps, optim=None):
        c, optim = case.c, optim or {}
        width, code = c["width"], c["time_hidden"]
        self.activation = activation

        def net(part, widths, norm_eps=None):
            key = f"{name}.{part}"
            flat = case.x[f"start.{key}"]
            case.nets[key] = Layers(flat, widths, activation, norm_eps, **optim)
            return case.nets[key]

        self.time = net("time", [c["time_dim"], code, code])
        self.entry = net("entry", [OBS + ACT + code, width])
        block = [width, 4 * width, width]
        self.blocks = [net(f"block.{i}", block, eps) for i in range(c["blocks"])]
        self.exit = net("exit", [width, ACT])

    def learners(self):
        return [self.time, self.entry, *self.blocks, self.exit]

    def __call__(self, s, x, t, masks=None):
        h = self.entry(cat(s, x, self.time(self.numbers(t))))
        for i, block in enumerate(self.blocks):
            h = h + block(h if masks is None else h * masks[i])
        return self.exit(self.activation(h))


def clip(learners, grads, most):
    """Clips gradients of one module together."""
    for learner, grad in zip(learners, grads):
        learner.flat.grad = grad
    torch.nn.utils.clip_grad_norm_([learner.flat for learner in learners], most)
    for learner in learners:
        learner.optim.step()


def masks(draws, blocks, width, rate):
    """Of uniform draws on [-1, 1)."""
    kept = (draws.view(blocks, -1, width) + 1) / 2 < 1 - rate
    return kept.double() / (1 - rate)

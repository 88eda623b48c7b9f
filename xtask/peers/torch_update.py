"""What the updates of `methods_torch.py` are made of: networks as lists of tensors, and an
update with its optimizers.
"""

import math

import common
from method_parts import FLAX_EPS, LARGEST_ACTION

ARGS = common.arguments()

import torch
import torch.nn.functional as F

if ARGS.core is not None:
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)


class Net:
    """Layers with an activation between, normalized after it where the network is."""

    def __init__(self, start, activation, eps=FLAX_EPS):
        self.activation, self.eps = activation, eps
        self.start, self.layers, self.norm = [], [], None

        def add(array):
            self.start.append(torch.from_numpy(array.copy()))
            return len(self.start) - 1

        if start["norm"] is not None:
            self.norm = [add(x) for x in start["norm"]]
        for (weight, bias), norm in start["layers"]:
            norm = None if norm is None else [add(x) for x in norm]
            self.layers.append((add(weight.T), add(bias), norm))
        self.params = [x.clone().requires_grad_(True) for x in self.start]

    @torch.no_grad()
    def reset(self):
        for param, start in zip(self.params, self.start):
            param.copy_(start)

    def normalized(self, x, norm):
        gain, shift = (self.params[i] for i in norm)
        return F.layer_norm(x, x.shape[-1:], gain, shift, eps=self.eps)

    def __call__(self, x):
        if self.norm is not None:
            x = self.normalized(x, self.norm)
        for i, (weight, bias, norm) in enumerate(self.layers):
            x = F.linear(x, self.params[weight], self.params[bias])
            if i + 1 < len(self.layers):
                x = self.activation(x)
                if norm is not None:
                    x = self.normalized(x, norm)
        return x


class Free:
    """A trained vector that is no network."""

    def __init__(self, start):
        self.start = torch.from_numpy(start)
        self.params = [self.start.clone().requires_grad_(True)]

    @torch.no_grad()
    def reset(self):
        self.params[0].copy_(self.start)


def cat(*parts):
    return torch.cat(parts, 1)


def parameters(nets):
    return [p for net in nets for p in net.params]


class Update(common.Contender):
    """A method's update; `nets` by name. Subclasses are the methods."""

    activation, eps = staticmethod(F.relu), FLAX_EPS
    # Networks of another activation.
    others = {}

    def __init__(self, x):
        self.x, self.c, self.steps = x, x.c, x.cycle
        of = lambda name: self.others.get(name.split(".")[0], self.activation)
        self.nets = {n: Net(start, of(n), self.eps) for n, start in x.nets.items()}
        self.nets |= {n: Free(start) for n, start in x.free.items()}
        tensors = lambda part: {k: torch.from_numpy(v) for k, v in part.items()}
        self.batch, self.drawn, self.data = tensors(x.batch), tensors(x.noise), tensors(x.data)
        critics = [f"critic.{i}" for i in x.critics()]
        self.q = [self.nets[name] for name in critics]
        self.q_bar = [self.nets[f"{name}.target"] for name in critics]
        self.setup()

    def setup(self):
        pass

    def optimizers(self):
        """Made anew at every start."""
        raise NotImplementedError

    def reset(self):
        for net in self.nets.values():
            net.reset()
        self.optimizers()
        self.done = self.x.done

    def cycle(self):
        losses = {}
        for i in range(self.x.cycle):
            part = {k: v[i] for k, v in self.batch.items()}
            self.s, self.a, self.next_s = part["obs"], part["actions"], part["next_obs"]
            self.reward, self.not_terminal = part["rewards"], part["not_terminal"]
            self.density = part.get("density")
            noise = {k: v[i] for k, v in self.drawn.items()}
            for name, value in self.update(noise).items():
                losses.setdefault(name, []).append(value.detach())
            self.done += 1
        return losses

    def floats(self, losses):
        return torch.stack(losses).reshape(-1).tolist()

    def adam(self, nets, lr, decay=0.0):
        kind = torch.optim.AdamW if decay else torch.optim.Adam
        betas = common.ADAM["b1"], common.ADAM["b2"]
        how = {"lr": lr, "betas": betas, "eps": common.ADAM["eps"], "weight_decay": decay}
        return kind(parameters(nets), fused=True, **how)

    def descend(self, loss, optim, most=None):
        """One step of the optimizer's parameters alone."""
        params = optim.param_groups[0]["params"]
        for param, grad in zip(params, torch.autograd.grad(loss, params)):
            param.grad = grad
        if most is not None:
            torch.nn.utils.clip_grad_norm_(params, most)
        optim.step()

    def values(self, nets, s, a):
        x = cat(s, a)
        return torch.stack([q(x)[:, 0] for q in nets])

    def backup(self, value):
        return self.reward + self.c["discount"] * self.not_terminal * value

    @torch.no_grad()
    def track(self, targets, sources, rate):
        torch._foreach_lerp_(parameters(targets), parameters(sources), rate)

    def named(self, prefix):
        return [net for name, net in self.nets.items() if name.startswith(prefix)]


def cosine(lr, done, updates):
    return lr * 0.5 * (1 + math.cos(math.pi * min(done / updates, 1)))


def expectile(u, tau):
    return (torch.where(u > 0, tau, 1 - tau) * u**2).mean()


def data_actions(a):
    return a.clamp(-LARGEST_ACTION, LARGEST_ACTION)

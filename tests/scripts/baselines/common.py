"""What the programs of this folder share: networks over flat vectors, and the
inputs of a case.

Networks are flat vectors: per layer the weight [in, out], the bias and, in the
hidden layers of a normalized network, gain and shift of the normalization.
"""

import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

OBS, ACT = 4, 2
LATENT = 2 * ACT


def cat(*parts):
    return torch.cat(parts, dim=1)


class Net:
    """A multi-layer perceptron over one flat parameter vector, with Adam."""

    def __init__(self, flat, n_in, hidden, n_out, lr=None, layer_norm=False):
        self.flat = flat.double().clone().requires_grad_(True)
        self.widths, self.layer_norm = [n_in, *hidden, n_out], layer_norm
        if lr is not None:
            self.optim = torch.optim.Adam([self.flat], lr=lr)

    def __call__(self, x):
        at, last = 0, len(self.widths) - 2

        def take(*shape):
            nonlocal at
            n = math.prod(shape)
            at += n
            return self.flat[at - n : at].view(shape)

        for i, (n_in, n_out) in enumerate(zip(self.widths, self.widths[1:])):
            weight, bias = take(n_in, n_out), take(n_out)
            x = x @ weight + bias
            if i < last:
                if self.layer_norm:
                    gain, shift = take(n_out), take(n_out)
                    x = F.layer_norm(x, (n_out,), gain, shift, eps=1e-5)
                x = F.relu(x)
        assert at == len(self.flat)
        return x

    def track(self, other, tau):
        with torch.no_grad():
            self.flat.copy_((1 - tau) * self.flat + tau * other.flat)


class Free:
    """A trained vector that is no network, with Adam."""

    def __init__(self, flat, lr):
        self.flat = flat.double().clone().requires_grad_(True)
        self.optim = torch.optim.Adam([self.flat], lr=lr)


def descend(loss, *learners):
    """One optimizer step of every learner down the loss, and of nothing else."""
    grads = torch.autograd.grad(loss, [learner.flat for learner in learners])
    for learner, grad in zip(learners, grads):
        learner.flat.grad = grad
        learner.optim.step()


class Case:
    """The inputs of one method; subclasses are the methods. `nets` are compared."""

    def __init__(self, inputs, config):
        self.x, self.c = inputs, config
        self.s = inputs["batch.obs"].view(-1, OBS).double()
        self.a = inputs["batch.actions"].view(-1, ACT).double()
        self.reward = inputs["batch.rewards"].double()
        self.next_s = inputs["batch.next_obs"].view(-1, OBS).double()
        self.not_terminal = inputs["batch.not_terminal"].double()
        self.nets = {}
        self.build()

    def net(self, name, n_in, n_out, lr=None, hidden=None, layer_norm=False):
        hidden = self.c["hidden"] if hidden is None else hidden
        net = Net(self.x[f"start.{name}"], n_in, hidden, n_out, lr, layer_norm)
        self.nets[name] = net
        return net

    def free(self, name, lr):
        self.nets[name] = Free(self.x[f"start.{name}"], lr)
        return self.nets[name]

    def twins(self, lr, hidden=None, layer_norm=False):
        """Two critics and their targets."""
        for i in range(2):
            self.net(f"critic.{i}", OBS + ACT, 1, lr, hidden, layer_norm)
            self.net(f"critic.{i}.target", OBS + ACT, 1, None, hidden, layer_norm)
        self.q = [self.nets[f"critic.{i}"] for i in range(2)]
        self.q_bar = [self.nets[f"critic.{i}.target"] for i in range(2)]

    def noise(self, name, update, width):
        return self.x[f"noise.{name}.{update}"].view(-1, width).double()

    def values(self, nets, s, a):
        return torch.stack([q(cat(s, a))[:, 0] for q in nets])

    def fit_critics(self, y):
        """One step of each critic down its mean squared error; the sum."""
        losses = []
        for q in self.q:
            losses.append(((q(cat(self.s, self.a))[:, 0] - y) ** 2).mean())
            descend(losses[-1], q)
        return sum(losses)

    def backup(self, next_value):
        return self.reward + self.c["discount"] * self.not_terminal * next_value

    def track_critics(self, tau):
        for target, q in zip(self.q_bar, self.q):
            target.track(q, tau)


def gaussian(mean, log_std):
    return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)

"""Policies that are Gaussians through tanh, by torch's own distributions."""

import torch
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform


def policy(mean, log_std):
    base = Independent(Normal(mean, log_std.exp()), 1)
    return TransformedDistribution(base, TanhTransform(cache_size=1))


def draw(pi, noise):
    """A reparametrized action and its log-density."""
    base = pi.base_dist.base_dist
    a = pi.transforms[0](base.loc + base.scale * noise)
    return a, pi.log_prob(a)

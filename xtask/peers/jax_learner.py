"""What the updates of `methods_jax.py` are made of: networks, averages, and a learner whose
networks and optimizers change while a step is traced.
"""

from functools import partial

from jax_parts import adam, cat, jax, jnp, lax, tree_map
from method_parts import FLAX_EPS, LARGEST_ACTION

fixed = lax.stop_gradient
gelu = partial(jax.nn.gelu, approximate=True)
mish, relu, silu = jax.nn.mish, jax.nn.relu, jax.nn.silu


def layer_norm(x, gain_and_shift, eps):
    gain, shift = gain_and_shift
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + eps) * gain + shift


def forward(net, x, activation, eps=FLAX_EPS):
    """Layers with an activation between, normalized after it where the network is."""
    if net["norm"] is not None:
        x = layer_norm(x, net["norm"], eps)
    for i, ((weight, bias), norm) in enumerate(net["layers"]):
        x = x @ weight + bias
        if i + 1 < len(net["layers"]):
            x = activation(x)
            if norm is not None:
                x = layer_norm(x, norm, eps)
    return x


def values(nets, names, s, a, activation):
    """`[critics, rows]`."""
    x = cat(s, a)
    return jnp.stack([forward(nets[name], x, activation)[:, 0] for name in names])


def square(x):
    return (x**2).mean()


def expectile(u, tau):
    return (jnp.where(u > 0, tau, 1 - tau) * u**2).mean()


def softly(new, old, rate):
    return tree_map(lambda t, s: t + rate * (s - t), old, new)


def within(low, high, x):
    return jnp.clip(x, low, high)


unit = partial(within, -1.0, 1.0)
data_actions = partial(within, -LARGEST_ACTION, LARGEST_ACTION)


class Learner:
    """Networks and optimizers of an update: changed in place, while it is traced."""

    def __init__(self, c, state):
        self.c = c
        self.nets, self.optims = dict(state[0]), dict(state[1])

    def descend(self, names, lr, loss, decay=0.0, most=None):
        """One step of AdamW of the networks `names` down `loss(networks) -> (loss, aux)`."""
        own = {name: self.nets[name] for name in names}
        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(own)
        self.step(own, lr, grads, decay, most)
        return value, aux

    def step(self, own, lr, grads, decay=0.0, most=None):
        if most is not None:
            norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
            factor = jnp.minimum(1.0, most / (norm + 1e-6))
            grads = tree_map(lambda g: g * factor, grads)
        key = " ".join(own)
        if decay:
            own = tree_map(lambda p: (1 - lr * decay) * p, own)
        new, self.optims[key] = adam(lr, own, self.optims[key], grads)
        self.nets.update(new)

    def track(self, target, source, rate):
        for name in self.nets:
            if name == target or name.startswith(f"{target}."):
                other = name.replace(target, source, 1)
                self.nets[name] = softly(self.nets[other], self.nets[name], rate)

    def track_critics(self, critics, rate, source=None):
        """Targets towards the critics, or towards `source` of them."""
        for name in critics:
            new = (source or self.nets)[name]
            self.nets[f"{name}.target"] = softly(new, self.nets[f"{name}.target"], rate)

    def backup(self, batch, value):
        return batch["rewards"] + self.c["discount"] * batch["not_terminal"] * value


def targets(critics):
    return [f"{name}.target" for name in critics]

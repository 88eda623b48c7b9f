"""What JAX's peers share: threads and platform before the first import, PyTorch's Adam
written out, so that XLA sees the whole step, and a step scanned over its cycle.
"""

import math
import os

import common

ARGS = common.arguments()
GPU = ARGS.device == "gpu"
os.environ["JAX_PLATFORMS"] = "cuda" if GPU else "cpu"
# What others on the GPU need is left to them.
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
if ARGS.core is not None:
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

import jax
import jax.numpy as jnp
import jaxlib
from jax import lax
from jax.extend import core
from jax.interpreters import partial_eval

tree_map = jax.tree.map
VERSIONS = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


def adam_start(net):
    zeros = lambda: tree_map(jnp.zeros_like, net)
    return {"m": zeros(), "v": zeros(), "step": jnp.zeros((), jnp.float32)}


def adam(lr, net, state, grad):
    """PyTorch's Adam: parameters and state after one step."""
    b1, b2, eps = common.ADAM["b1"], common.ADAM["b2"], common.ADAM["eps"]
    step = state["step"] + 1
    m = tree_map(lambda m, g: m + (1 - b1) * (g - m), state["m"], grad)
    v = tree_map(lambda v, g: b2 * v + (1 - b2) * g * g, state["v"], grad)
    # 1 - b**step, exact also for the first steps, where it is nearly 1 - 1.
    correction1, correction2 = (-jnp.expm1(step * math.log(b)) for b in [b1, b2])
    rate, root = lr / correction1, 1 / jnp.sqrt(correction2)
    net = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * root + eps), net, m, v)
    return net, {"m": m, "v": v, "step": step}


def products(jaxpr):
    """Floating-point operations of the matrix products in `jaxpr` and all it calls."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            total += 2 * eqn.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        values = jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr)
        inner = [products(getattr(x, "jaxpr", x)) for x in values if is_jaxpr(x)]
        if any(inner) and eqn.primitive.name in ["while", "cond"]:
            raise ValueError(f"a product in a `{eqn.primitive.name}`, done nobody knows how often")
        total += sum(inner) * eqn.params.get("length", 1)
    return total


def is_jaxpr(x):
    return isinstance(x, (core.Jaxpr, core.ClosedJaxpr))


class Scanned(common.Contender):
    """A step function, scanned over the cycle or called once per step."""

    # As on the CPU: on a GPU JAX would else multiply with the tensor cores' ten bits.
    precision = "highest"

    def __init__(self, start, step, inputs, scan):
        """`step` maps `(state, inputs)` to `(state, losses)`; `inputs` are
        stacked over its steps."""
        self.start, self.scan = start, scan
        self.inputs = tree_map(jnp.asarray, inputs)
        if scan:
            whole = lambda state, inputs: lax.scan(step, state, inputs)
            self.run = jax.jit(whole, donate_argnums=0)
        else:
            self.run = jax.jit(step, donate_argnums=0)
            steps = len(jax.tree.leaves(inputs)[0])
            parts = [tree_map(lambda x: jnp.asarray(x[i]), inputs) for i in range(steps)]
            self.inputs = parts

    def reset(self):
        self.state = tree_map(jnp.array, self.start)

    def cycle(self):
        with jax.default_matmul_precision(self.precision):
            return self.updates()

    def updates(self):
        if self.scan:
            self.state, losses = self.run(self.state, self.inputs)
        else:
            losses = []
            for inputs in self.inputs:
                self.state, loss = self.run(self.state, inputs)
                losses.append(loss)
        jax.block_until_ready((self.state, losses))
        if not self.scan:
            losses = {k: [loss[k] for loss in losses] for k in losses[0]}
        return losses

    def flops(self):
        """Two per multiply-add of a matrix product whose result is used: what XLA is given,
        read out of the traced cycle, and divided by its steps."""
        traced = jax.make_jaxpr(self.run)(self.start, self.inputs).jaxpr
        used, _ = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
        return products(used) / len(jax.tree.leaves(self.inputs)[0])

    def floats(self, losses):
        return jnp.asarray(losses).reshape(-1).tolist()


def cat(*parts):
    return jnp.concatenate(parts, -1)

"""JAX's side of `cargo xtask bench --methods`: one update of each method, its cycle one
`lax.scan`. Written from the methods' papers and the order of their authors' code; same math
as crates/spar-baselines/src/methods/, same names of losses.
"""

from functools import partial

import common
import method_parts
from jax_diffusion import bc_diffusion, diffusion_ql, idql, srpo
from jax_flow import bc_flow, fac, fql, ifql
from jax_latent import lapo, sac
from jax_learner import Learner
from jax_parts import ARGS, VERSIONS, Scanned, adam_start, jnp

UPDATES = {
    "bc-diffusion": bc_diffusion, "diffusion-ql": diffusion_ql, "idql": idql, "srpo": srpo,
    "bc-flow": bc_flow, "fql": fql, "ifql": ifql, "fac": fac, "sac-n": sac, "edac": sac,
    "lapo": lapo,
}


def contender(method):
    x = method_parts.Inputs(ARGS.inputs, method)
    x.all = x.nets | x.free
    update, groups = UPDATES[method](x)
    optims = {" ".join(names): adam_start({n: x.all[n] for n in names}) for names in groups}

    def step(state, inputs):
        learner = Learner(x.c, state[:2])
        losses = update(learner, *inputs, state[2])
        return (learner.nets, learner.optims, state[2] + 1), losses

    start = x.all, optims, jnp.float32(x.done)
    made = Scanned(start, step, (x.batch, x.noise), scan=True)
    made.steps = x.cycle
    return made


if __name__ == "__main__":
    makers = {f"{method}/jax-scan": partial(contender, method) for method in method_parts.METHODS}
    common.serve(makers, None, VERSIONS)

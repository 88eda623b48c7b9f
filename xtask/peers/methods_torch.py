"""PyTorch's side of `cargo xtask bench --methods`: one update of each method, eager, as a
user of PyTorch would write it for speed: one backward pass a loss, fused Adam, `_foreach_`
averaging, no gradient where none is needed. Written from the methods' papers and the order
of their authors' code; same math as crates/spar-baselines/src/methods/, same names of
losses.
"""

from functools import partial

import common
import method_parts
from torch_diffusion import BcDiffusion, DiffusionQl, Idql, Srpo
from torch_flow import BcFlow, Fac, Fql, Ifql
from torch_latent import Lapo, Sac
from torch_update import ARGS, torch

UPDATES = {
    "bc-diffusion": BcDiffusion, "diffusion-ql": DiffusionQl, "idql": Idql, "srpo": Srpo,
    "bc-flow": BcFlow, "fql": Fql, "ifql": Ifql, "fac": Fac, "sac-n": Sac, "edac": Sac,
    "lapo": Lapo,
}


def contender(method):
    return UPDATES[method](method_parts.Inputs(ARGS.inputs, method))


if __name__ == "__main__":
    makers = {f"{method}/torch-eager": partial(contender, method) for method in method_parts.METHODS}
    common.serve(makers, None, {"torch": torch.__version__})

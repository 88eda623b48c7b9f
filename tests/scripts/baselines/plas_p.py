"""PLAS with its perturbation layer, trained by the same loss."""

import plas


class Method(plas.Method):
    perturbed = True

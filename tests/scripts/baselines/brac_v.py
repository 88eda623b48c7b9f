"""BRAC with the penalty in the values too."""

import brac_p


class Method(brac_p.Method):
    value_penalty = True

"""IQL on data relabelled by HUBL."""

import hubl
import iql


class Method(iql.Method):
    def build(self):
        hubl.relabel(self)
        super().build()

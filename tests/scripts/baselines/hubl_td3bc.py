"""TD3+BC on data relabelled by HUBL."""

import hubl
import td3bc


class Method(td3bc.Method):
    def build(self):
        hubl.relabel(self)
        super().build()

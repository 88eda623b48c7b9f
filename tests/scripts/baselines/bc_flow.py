"""Cloning by a flow: flow matching on straight lines (Lipman et al. 2023; Liu et al.
2023), as in Park et al. 2025, equation 5. Acts by a draw."""

from common import ACT, Case, descend
from flow import Flow


class Method(Case):
    def build(self):
        self.flow = Flow(self)

    def update(self, k):
        loss = self.flow.loss(k)
        descend(loss, self.flow.v)
        return {"flow_loss": loss}

    def act(self):
        return self.flow.transport(self.s, self.x["noise.act"].view(-1, ACT).double())

"""Updates of flow policies in PyTorch."""

import math
from functools import partial

from torch_update import F, Update, cat, data_actions, expectile, parameters, torch

gelu = partial(F.gelu, approximate="tanh")


class BcFlow(Update):
    activation = staticmethod(gelu)

    def setup(self):
        self.v = self.nets["flow"]

    def learners(self):
        return [self.v]

    def optimizers(self):
        self.optim = self.adam(self.learners(), self.c["lr"])

    def flow_loss(self, noise):
        a = data_actions(self.a)
        start, t = noise["flow.noise"].view_as(a), noise["flow.time"][:, None]
        said = self.v(cat(self.s, (1 - t) * start + t * a, t))
        return F.mse_loss(said, a - start)

    def velocity(self, s, x, t):
        return self.v(cat(s, x, torch.full((len(s), 1), t)))

    @torch.no_grad()
    def transport(self, s, z):
        steps = self.c["flow_steps"]
        for i in range(steps):
            z = z + self.velocity(s, z, i / steps) / steps
        return z.clamp(-1, 1)

    def update(self, noise):
        loss = self.flow_loss(noise)
        self.descend(loss, self.optim)
        return {"flow_loss": loss}


class Fql(BcFlow):
    def learners(self):
        return [*self.q, self.v, self.nets["actor"]]

    def target(self, noise):
        next_a = self.act(self.next_s, noise["next"].view_as(self.a))
        values = self.values(self.q_bar, self.next_s, next_a)
        return self.backup(values.amin(0) if self.c["target"] == "min" else values.mean(0))

    @torch.no_grad()
    def act(self, s, z):
        return self.nets["actor"](cat(s, z)).clamp(-1, 1)

    def one_step_loss(self, z, normalized):
        """The distance to the flow and the value's part, critics and flow frozen."""
        proposed = self.nets["actor"](cat(self.s, z))
        distil = F.mse_loss(proposed, self.transport(self.s, z))
        frozen = parameters(self.q)
        for param in frozen:
            param.requires_grad_(False)
        q = self.values(self.q, self.s, proposed.clamp(-1, 1)).mean(0)
        for param in frozen:
            param.requires_grad_(True)
        return distil, -q.mean() / (q.detach().abs().mean() if normalized else 1)

    def update(self, noise):
        c = self.c
        with torch.no_grad():
            y = self.target(noise)
        critic_loss = ((self.values(self.q, self.s, data_actions(self.a)) - y) ** 2).mean()
        cloning = self.flow_loss(noise)
        z = noise["proposal"].view_as(self.a)
        distil, value = self.one_step_loss(z, c["normalize_value"])
        loss = critic_loss + cloning + c["alpha"] * distil + value
        grads = torch.autograd.grad(loss, self.optim.param_groups[0]["params"])
        # Towards the critics of before the step.
        self.track(self.q_bar, self.q, c["tau"])
        self.step(grads)
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "flow_loss": cloning,
            "distil_loss": distil,
            "value_loss": value,
        }

    def step(self, grads):
        for param, grad in zip(self.optim.param_groups[0]["params"], grads):
            param.grad = grad
        self.optim.step()


class Ifql(Fql):
    def learners(self):
        return [*self.q, self.nets["value"], self.v]

    def update(self, noise):
        c, s, a = self.c, self.s, data_actions(self.a)
        with torch.no_grad():
            q = self.values(self.q_bar, s, a).amin(0)
            y = self.backup(self.nets["value"](self.next_s)[:, 0])
        value_loss = expectile(q - self.nets["value"](s)[:, 0], c["expectile"])
        critic_loss = ((self.values(self.q, s, a) - y) ** 2).mean(1).sum()
        cloning = self.flow_loss(noise)
        loss = value_loss + critic_loss + cloning
        grads = torch.autograd.grad(loss, self.optim.param_groups[0]["params"])
        self.track(self.q_bar, self.q, c["tau"])
        self.step(grads)
        return {
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "flow_loss": cloning,
        }


class Fac(Fql):
    """In the phase in which the flow is frozen."""

    def learners(self):
        return [*self.q, self.nets["actor"]]

    def log_density(self, s, x):
        """Back along Euler's steps, the divergence by one reverse pass a dimension."""
        steps, dims, volume = self.c["flow_steps"], x.shape[1], 0.0
        for param in self.v.params:
            param.requires_grad_(False)
        for i in range(steps, 0, -1):
            x = x.detach().requires_grad_(True)
            said = self.velocity(s, x, i / steps)
            for k in range(dims):
                (grad,) = torch.autograd.grad(said[:, k].sum(), x, retain_graph=k + 1 < dims)
                volume = volume + grad[:, k] / steps
            x = x - said / steps
        x = x.detach()
        return (-0.5 * x**2 - 0.5 * math.log(2 * math.pi)).sum(1) - volume

    def update(self, noise):
        c, s = self.c, self.s
        with torch.no_grad():
            y = self.target(noise)
        pushed = self.act(s, noise["pushed"].view_as(self.a))
        weights = (1 - (self.log_density(s, pushed) - self.density).exp()).clamp(0, 1)
        critic_loss = ((self.values(self.q, s, data_actions(self.a)) - y) ** 2).mean()
        penalty = (weights * self.values(self.q, s, pushed)).mean()
        distil, value = self.one_step_loss(noise["proposal"].view_as(self.a), True)
        loss = critic_loss + c["alpha"] * penalty + c["lambda"] * distil + value
        self.descend(loss, self.optim)
        self.track(self.q_bar, self.q, c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "weight_mean": weights.mean(),
            "penalty": penalty,
            "distil_loss": distil,
            "value_loss": value,
        }

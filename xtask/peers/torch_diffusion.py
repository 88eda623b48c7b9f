"""Updates of diffusion policies in PyTorch."""

import math

import method_parts
from method_parts import BETA, HELD, TORCH_EPS
from torch_update import F, Update, cat, cosine, data_actions, expectile, torch


class BcDiffusion(Update):
    activation = staticmethod(F.mish)

    def setup(self):
        c = self.c
        half = c["time_dim"] // 2
        self.frequencies = torch.exp(-math.log(1e4) / (half - 1) * torch.arange(half))
        self.schedule = method_parts.Schedule(c["steps"])
        self.signal = torch.from_numpy(self.schedule.signal).float()
        self.level = torch.from_numpy(self.schedule.noise).float()
        self.pi = [self.nets["actor.time"], self.nets["actor.entry"]]

    def optimizers(self):
        self.optim = self.adam(self.pi, self.c["lr"])

    def said(self, pi, s, x, t):
        """`t` is of each row, or one for all, `[1]`."""
        time, entry = pi
        angles = t[:, None] * self.frequencies
        code = time(cat(angles.sin(), angles.cos()))
        return entry(cat(s, x, code.expand(len(x), -1)))

    def error(self, noise):
        t, eps = noise["step"].long(), noise["noise"].view_as(self.a)
        x = self.signal[t][:, None] * self.a + self.level[t][:, None] * eps
        return F.mse_loss(self.said(self.pi, self.s, x, noise["step"]), eps)

    def update(self, noise):
        loss = self.error(noise)
        self.descend(loss, self.optim)
        return {"bc_loss": loss}


class DiffusionQl(BcDiffusion):
    def optimizers(self):
        super().optimizers()
        self.q_optim = self.adam(self.q, self.c["critic_lr"])
        self.pi_bar = [self.nets["actor.average.time"], self.nets["actor.average.entry"]]

    def sample(self, pi, s, noise):
        schedule = self.schedule
        noise = noise.view(schedule.steps, len(s), -1)
        x = noise[0]
        for i, t in enumerate(reversed(range(schedule.steps))):
            said = self.said(pi, s, x, torch.full((1,), float(t)))
            (of_x, of_said), (of_start, of_old) = schedule.start[t], schedule.mean[t]
            x = of_start * (of_x * x - of_said * said).clamp(-1, 1) + of_old * x
            if t > 0:
                x = x + float(schedule.std[t]) * noise[i + 1]
        return x.clamp(-1, 1)

    def update(self, noise):
        c, s, n = self.c, self.s, self.c["backup_samples"]
        with torch.no_grad():
            next_s = self.next_s.repeat_interleave(n, 0)
            a = self.sample(self.pi_bar, next_s, noise["next"])
            value = self.values(self.q_bar, next_s, a).view(2, -1, n).amax(2).amin(0)
            y = self.backup(value)
        critic_loss = ((self.values(self.q, s, self.a) - y) ** 2).mean(1).sum()
        self.descend(critic_loss, self.q_optim, c["grad_norm"])

        cloning = self.error(noise)
        a = self.sample(self.pi, s, noise["proposal"])
        first, second = self.q if noise["coin"].item() > 0 else reversed(self.q)
        with torch.no_grad():
            size = second(cat(s, a)).abs().mean()
        q_loss = -first(cat(s, a)).mean() / size
        self.descend(cloning + c["eta"] * q_loss, self.optim, c["grad_norm"])
        if self.done >= c["average_after"] and self.done % c["average_every"] == 0:
            self.track(self.pi_bar, self.pi, c["average_rate"])
        self.track(self.q_bar, self.q, c["tau"])
        return {
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
            "bc_loss": cloning,
            "q_loss": q_loss,
        }


class Residual(Update):
    """With IDQL's and SRPO's noise network."""

    def residual(self, name, numbers, s, x, masks=None):
        """Of times that are `numbers`."""
        of = lambda part: self.nets[f"{name}.{part}"]
        h = of("entry")(cat(s, x, of("time")(numbers)))
        for i in range(self.c["blocks"]):
            h = h + of(f"block.{i}")(h if masks is None else h * masks[i])
        return of("exit")(of("entry").activation(h))


class Idql(Residual):
    def setup(self):
        c = self.c
        schedule = method_parts.Schedule(c["steps"])
        self.signal = torch.from_numpy(schedule.signal).float()
        self.level = torch.from_numpy(schedule.noise).float()
        self.pi_bar = self.named("actor.average.")
        self.pi = [self.nets[n.replace(".average", "")] for n in self.nets if "average" in n]
        for net in self.pi + self.pi_bar:
            net.activation = {"silu": F.silu, "mish": F.mish}[c["activation"]]
        self.v = self.nets["value"]

    def optimizers(self):
        c = self.c
        self.optim = self.adam(self.pi, c["lr"], c["weight_decay"])
        self.v_optim = self.adam([self.v], c["critic_lr"])
        self.q_optim = self.adam(self.q, c["critic_lr"])

    def update(self, noise):
        c, s, a = self.c, self.s, data_actions(self.a)
        t, eps = noise["step"].long(), noise["noise"].view_as(a)
        x = self.signal[t][:, None] * a + self.level[t][:, None] * eps
        kept = noise["dropout"].view(c["blocks"], len(s), -1) < 1 - 2 * c["dropout"]
        masks = kept.float() / (1 - c["dropout"])
        angles = 2 * math.pi * noise["step"][:, None] * self.nets["actor.code"].params[0]
        said = self.residual("actor", cat(angles.cos(), angles.sin()), s, x, masks)
        bc_loss = ((said - eps) ** 2).sum(1).mean()
        self.optim.param_groups[0]["lr"] = cosine(c["lr"], self.done, c["decay_updates"])
        self.descend(bc_loss, self.optim)
        self.track(self.pi_bar, self.pi, c["average_rate"])

        with torch.no_grad():
            q = self.values(self.q_bar, s, a).amin(0)
        value_loss = expectile(q - self.v(s)[:, 0], c["expectile"])
        self.descend(value_loss, self.v_optim)
        with torch.no_grad():
            y = self.backup(self.v(self.next_s)[:, 0])
        critic_loss = ((self.values(self.q, s, a) - y) ** 2).mean()
        self.descend(critic_loss, self.q_optim)
        self.track(self.q_bar, self.q, c["tau"])
        return {
            "bc_loss": bc_loss,
            "value_loss": value_loss,
            "target_mean": y.mean(),
            "critic_loss": critic_loss,
        }


class Srpo(Residual):
    """In the phase in which the policy learns."""

    eps = TORCH_EPS
    others = {"behaviour": F.mish}

    def optimizers(self):
        self.optim = self.adam([self.nets["actor"]], self.c["lr"])

    def update(self, noise):
        c, s = self.c, self.s
        t = HELD[0] + 0.5 * (HELD[1] - HELD[0]) * (noise["time"] + 1)
        log_alpha = -0.25 * t**2 * (BETA[1] - BETA[0]) - 0.5 * t * BETA[0]
        alpha, sigma = log_alpha.exp()[:, None], (-torch.expm1(2 * log_alpha)).sqrt()[:, None]
        eps = noise["noise"].view_as(self.a)
        a = torch.tanh(self.nets["actor"](s))
        at = a.detach().requires_grad_(True)
        with torch.no_grad():
            angles = 2 * math.pi * t[:, None] * self.nets["behaviour.code"].params[0]
            numbers = cat(angles.sin(), angles.cos())
            said = self.residual("behaviour", numbers, s, alpha * at + sigma * eps)
            said = said - eps if c["subtract_noise"] else said
        value = self.values(self.q_bar, s, at).mean(0).sum()
        (slope,) = torch.autograd.grad(value, at)
        if c["normalize_gradient"]:
            slope = slope / ((slope**2).mean(1, keepdim=True).sqrt() + 1e-12)
        loss = ((sigma**2 * said - c["beta"] * slope) * a).sum(1).mean()
        since = self.done - max(c["behaviour_updates"], c["critic_updates"])
        self.optim.param_groups[0]["lr"] = cosine(c["lr"], since, c["decay_updates"])
        self.descend(loss, self.optim)
        return {"actor_loss": loss}

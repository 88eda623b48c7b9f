"""PyTorch's side of `cargo xtask bench` and, with `--device gpu`, of `gpu-check`: the yardstick network and a whole
update of SPAR, eager and compiled, as a user of PyTorch would write them for
speed: the ensemble's losses in one backward pass, fused Adam, `_foreach_lerp_`
for averaging. Same math as crates/spar-rectify/src/update.rs.
"""

import common

ARGS = common.arguments()

import torch
import torch.nn.functional as F
from torch import nn

if ARGS.core is not None:
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)

GPU = ARGS.device == "gpu"
DEVICE = torch.device("cuda" if GPU else "cpu")
ARRAYS, CONFIG = common.read(ARGS.inputs)
TENSORS = {name: torch.from_numpy(array).to(DEVICE) for name, array in ARRAYS.items()}
STEPS = CONFIG["cycle"]


class Net(nn.Module):
    """Linear layers, optionally normalized, with ReLU between."""

    def __init__(self, layers):
        super().__init__()
        modules = []
        for i, ((weight, _), norm) in enumerate(layers):
            modules.append(nn.Linear(*weight.shape))
            if norm is not None:
                modules.append(nn.LayerNorm(weight.shape[1], eps=common.LAYER_NORM_EPS))
            if i + 1 < len(layers):
                modules.append(nn.ReLU())
        self.net = nn.Sequential(*modules).to(DEVICE)
        self.layers = layers

    def forward(self, x):
        return self.net(x)

    @torch.no_grad()
    def reset(self):
        modules = iter(m for m in self.net if not isinstance(m, nn.ReLU))
        for (weight, bias), norm in self.layers:
            linear = next(modules)
            linear.weight.copy_(torch.from_numpy(weight).T)
            linear.bias.copy_(torch.from_numpy(bias))
            if norm is not None:
                module = next(modules)
                module.weight.copy_(torch.from_numpy(norm[0]))
                module.bias.copy_(torch.from_numpy(norm[1]))


def adam(nets, lr, fused, capturable=False):
    params = [p for net in nets for p in net.parameters()]
    betas = common.ADAM["b1"], common.ADAM["b2"]
    how = {"fused": fused, "capturable": capturable}
    return torch.optim.Adam(params, lr=lr, betas=betas, eps=common.ADAM["eps"], **how)


def compiled(function, compile):
    return torch.compile(function, fullgraph=True, dynamic=False) if compile else function


class Contender(common.Contender):
    def floats(self, losses):
        return torch.stack(losses).tolist()


class Mlp(Contender):
    """One network, mean squared error, Adam."""

    def __init__(self, fused, compile):
        c = CONFIG
        shape = c["obs"] + c["act"], c["mlp_hidden"], 1, False
        self.net = Net(common.layers(ARRAYS["start.mlp"], *shape))
        self.fused = fused
        self.batches = list(zip(TENSORS["mlp.x"], TENSORS["mlp.y"]))
        self.loss = compiled(lambda x, y: F.mse_loss(self.net(x), y), compile)

    def reset(self):
        self.net.reset()
        self.optim = adam([self.net], CONFIG["mlp_lr"], self.fused)

    def cycle(self):
        losses = []
        for x, y in self.batches:
            loss = self.loss(x, y)
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
            losses.append(loss.detach())
        return {"loss": losses}


class Rounded(Contender):
    """Another contender with its matrix products in one term of bf16 (error 2e-3), where
    PyTorch has such a mode of its CPU's: the matrix unit's, if there is one."""

    def __init__(self, contender):
        self.contender = contender

    def reset(self):
        self.contender.reset()

    def cycle(self):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return self.contender.cycle()
        finally:
            torch.set_float32_matmul_precision(before)


class Spar(Contender):
    """SPAR's update with the in-sample critic, past the warm-up."""

    def __init__(self, compile):
        self.c, self.r = CONFIG["critic"], CONFIG["rectify"]
        nets = {k: Net(v) for k, v in common.networks(ARRAYS, CONFIG).items()}
        self.nets = nets
        n = range(self.c["n_critics"])
        self.anchor, self.value = nets["anchor"], nets["critic.value"]
        self.q = [nets[f"critic.{i}"] for i in n]
        self.target = [nets[f"critic.{i}.target"] for i in n]
        self.encoder, self.decoder = nets["rectify.encoder"], nets["rectify.decoder"]
        self.average = nets["rectify.decoder_average"]
        names = ["obs", "actions", "rewards", "next_obs", "not_terminal"]
        self.batches = list(zip(*(TENSORS[f"batch.{name}"] for name in names)))
        self.noise = list(zip(TENSORS["noise.posterior"], TENSORS["noise.candidates"]))
        self.losses = [
            compiled(f, compile) for f in [self.value_loss, self.q_loss, self.policy_loss]
        ]

    def reset(self, capturable=False):
        for net in self.nets.values():
            net.reset()
        self.value_optim = adam([self.value], self.c["lr"], True, capturable)
        self.q_optim = adam(self.q, self.c["lr"], True, capturable)
        policy = [self.encoder, self.decoder]
        self.policy_optim = adam(policy, self.r["lr"], True, capturable)

    def ensemble(self, nets, x):
        """Least value and standard deviation of each row."""
        values = torch.stack([net(x) for net in nets])
        return values.amin(0), values.std(0, correction=0)

    def value_loss(self, s, taken):
        with torch.no_grad():
            upper, disagreement = self.ensemble(self.target, taken)
            level = (disagreement**2).mean().sqrt()
        u = upper - self.value(s)
        tau = self.c["expectile"]
        # The floor of the candidates' scale is a share of the second; beyond the third a
        # candidate loses value.
        loss = (torch.where(u < 0, 1 - tau, tau) * u**2).mean()
        return loss, u.detach().std(correction=0), level

    def q_loss(self, taken, rewards, next_s, not_terminal):
        with torch.no_grad():
            y = rewards + self.c["discount"] * not_terminal * self.value(next_s)
        return sum(F.mse_loss(q(taken), y) for q in self.q)

    def delta(self, s, b, z):
        return self.r["rho"] * torch.tanh(self.decoder(torch.cat([s, b, z], 1)))

    def policy_loss(self, s, a, posterior, candidates, of_data):
        r = self.r
        with torch.no_grad():
            b = torch.tanh(self.anchor(s))
        residual = a - b
        mean, log_std = self.encoder(torch.cat([s, b, residual], 1)).chunk(2, 1)
        log_std = log_std.clamp(*common.LOG_STD)
        z = mean + log_std.exp() * posterior
        reconstruction = ((self.delta(s, b, z) - residual) ** 2).sum(1).mean()
        kl = (0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std).sum(1).mean()

        rows, k = len(s), r["candidates"]
        s, b = s.repeat_interleave(k, 0), b.repeat_interleave(k, 0)
        deltas = self.delta(s, b, candidates.clamp(-common.LATENT_CLIP, common.LATENT_CLIP))
        with torch.no_grad():
            actions = (b + deltas).clamp(-1, 1)
            of_data, level = of_data
            least, disagreement = self.ensemble(self.q, torch.cat([s, actions], 1))
            q, beyond = least.view(rows, k), F.relu(disagreement - level).view(rows, k)
            of_q, of_beyond = (
                (x - x.mean(1, keepdim=True)).square().mean().sqrt() for x in (q, beyond)
            )
            relative = torch.where(of_beyond > 0, of_q / of_beyond, 0)
            q = q - (self.c["penalty"] + self.c["penalty_ratio"] * relative) * beyond
            advantage = q - q.mean(1, keepdim=True)
            sigma = torch.maximum((advantage**2).mean().sqrt(), r["scale"] * of_data) + 1e-6
            w = torch.softmax(advantage / (sigma * r["temperature"]), 1)
            fixed = deltas.view(rows, k, -1)
            target = (w[:, :, None] * fixed).sum(1, keepdim=True)
        imitation = ((deltas.view(rows, k, -1) - target) ** 2).sum() / (rows * k)
        loss = r["lambda"] * imitation + r["w_fit"] * (reconstruction + r["beta"] * kl)
        return loss, reconstruction.detach(), kl.detach(), imitation.detach()

    @torch.no_grad()
    def track(self, targets, sources, tau):
        targets = [p for net in targets for p in net.parameters()]
        sources = [p for net in sources for p in net.parameters()]
        torch._foreach_lerp_(targets, sources, tau)

    def step(self, loss, optim):
        optim.zero_grad()
        loss.backward()
        optim.step()

    def cycle(self):
        losses = self.updates()
        if GPU:
            torch.cuda.synchronize()
        return losses

    def updates(self):
        names = ["q_loss", "value_loss", "reconstruction", "kl", "self_imitation"]
        losses = {name: [] for name in names}
        value_loss, q_loss, policy_loss = self.losses
        freq = self.r["policy_freq"]
        for i, (s, a, rewards, next_s, not_terminal) in enumerate(self.batches):
            taken = torch.cat([s, a], 1)
            loss, *of_data = value_loss(s, taken)
            self.step(loss, self.value_optim)
            losses["value_loss"].append(loss.detach())
            loss = q_loss(taken, rewards, next_s, not_terminal)
            self.step(loss, self.q_optim)
            losses["q_loss"].append(loss.detach() / len(self.q))
            if i % freq == 0:
                loss, *parts = policy_loss(s, a, *self.noise[i // freq], of_data)
                self.step(loss, self.policy_optim)
                self.track([self.average], [self.decoder], self.r["tau"])
                for name, part in zip(names[2:], parts):
                    losses[name].append(part)
            self.track(self.target, self.q, self.c["tau"])
        return losses


class SparGraph(Spar):
    """A whole cycle of updates as one CUDA graph, replayed."""

    def __init__(self):
        super().__init__(compile=False)
        self.graph = None

    def reset(self):
        if self.graph is None:
            # What the allocator and the optimizers make anew must be there before a capture.
            super().reset(capturable=True)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self.updates()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.captured = self.updates()
        # In place: the graph knows addresses.
        for net in self.nets.values():
            net.reset()
        for optim in [self.value_optim, self.q_optim, self.policy_optim]:
            for state in optim.state.values():
                for value in state.values():
                    value.zero_()

    def cycle(self):
        self.graph.replay()
        torch.cuda.synchronize()
        return self.captured


if __name__ == "__main__":
    graph = {"spar/torch-graph": SparGraph}
    rounded = {"mlp/torch-bf16": lambda: Rounded(Mlp(fused=True, compile=False))}
    common.serve(
        {
            "mlp/torch-eager": lambda: Mlp(fused=False, compile=False),
            "mlp/torch-fused": lambda: Mlp(fused=True, compile=False),
            "mlp/torch-compile": lambda: Mlp(fused=True, compile=True),
            "spar/torch-eager": lambda: Spar(compile=False),
            "spar/torch-compile": lambda: Spar(compile=True),
        }
        | (graph if GPU else rounded),
        STEPS,
        {"torch": torch.__version__},
    )

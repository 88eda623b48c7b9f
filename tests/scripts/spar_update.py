"""Two updates of SPAR and one of its anchor, a second time: an independent
PyTorch program in double precision, written from the algorithm's description
(sections A to D of the project's specification), not from the Rust code.

Run from the repository's root in a private environment with
    torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
in two steps:
    cargo run --release -p spar-rectify --example spar_update_inputs
    python tests/scripts/spar_update.py

The first writes tests/fixtures/pytorch/<form>.inputs.safetensors: the
parameters to start from, one batch, and the noise that the random streams will
give, so that both programs compute the same function. The second writes
tests/fixtures/pytorch/<form>.expected.safetensors: losses, and all parameters
after each update. crates/spar-rectify/tests/pytorch.rs compares.

Networks are flat vectors: per layer the weight [in, out], the bias and, in the
critics' hidden layers, gain and shift of a layer normalization.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

FIXTURES = pathlib.Path("tests/fixtures/pytorch")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


class Net:
    """A multi-layer perceptron over one flat parameter vector, with Adam."""

    def __init__(self, flat, widths, layer_norm, lr):
        self.flat = flat.double().clone().requires_grad_(True)
        self.widths, self.layer_norm = widths, layer_norm
        self.optim = torch.optim.Adam([self.flat], lr=lr)

    def __call__(self, x):
        at, last = 0, len(self.widths) - 2

        def take(*shape):
            nonlocal at
            n = torch.Size(shape).numel()
            at += n
            return self.flat[at - n : at].view(shape)

        for i, (n_in, n_out) in enumerate(zip(self.widths, self.widths[1:])):
            weight, bias = take(n_in, n_out), take(n_out)
            x = x @ weight + bias
            if i < last:
                if self.layer_norm:
                    gain, shift = take(n_out), take(n_out)
                    x = F.layer_norm(x, (n_out,), gain, shift, eps=1e-5)
                x = F.relu(x)
        assert at == len(self.flat)
        return x

    def step(self, loss):
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()

    def track(self, other, tau):
        with torch.no_grad():
            self.flat.copy_((1 - tau) * self.flat + tau * other.flat)


def cat(*parts):
    return torch.cat(parts, dim=1)


class Spar:
    def __init__(self, inputs, config):
        c, r = config["critic"], config["rectify"]
        self.c, self.r, self.x = c, r, inputs
        obs, act = 4, 2
        self.act, self.latent = act, 2 * act

        def net(name, n_in, n_out, part, layer_norm=False):
            widths = [n_in, *config[part]["hidden"], n_out]
            return Net(inputs[f"start.{name}"], widths, layer_norm, config[part]["lr"])

        n = c["n_critics"]
        q = {f"critic.{i}": net(f"critic.{i}", obs + act, 1, "critic", True) for i in range(n)}
        bar = {
            f"critic.{i}.target": net(f"critic.{i}.target", obs + act, 1, "critic", True)
            for i in range(n)
        }
        self.q, self.q_bar = list(q.values()), list(bar.values())
        self.anchor = net("anchor", obs, act, "anchor")
        self.encoder = net("rectify.encoder", obs + 2 * act, 2 * self.latent, "rectify")
        self.decoder = net("rectify.decoder", obs + act + self.latent, act, "rectify")
        self.decoder_ema = net("rectify.decoder_average", obs + act + self.latent, act, "rectify")
        self.nets = {
            **q,
            **bar,
            "anchor": self.anchor,
            "rectify.encoder": self.encoder,
            "rectify.decoder": self.decoder,
            "rectify.decoder_average": self.decoder_ema,
        }
        if c["form"] == "expectile":
            self.value = net("critic.value", obs, 1, "critic", True)
            self.nets["critic.value"] = self.value

        self.s = inputs["batch.obs"].view(-1, obs).double()
        self.a = inputs["batch.actions"].view(-1, act).double()
        self.reward = inputs["batch.rewards"].double()
        self.next_s = inputs["batch.next_obs"].view(-1, obs).double()
        self.not_terminal = inputs["batch.not_terminal"].double()

    def noise(self, name, update):
        return self.x[f"noise.{name}.{update}"].view(-1, self.latent).double()

    def pi_base(self, s):
        with torch.no_grad():
            return torch.tanh(self.anchor(s))

    def delta(self, decoder, s, b, z):
        return self.r["rho"] * torch.tanh(decoder(cat(s, b, z)))

    def critic_step(self, update):
        """Section C."""
        sa = cat(self.s, self.a)
        value_loss = torch.zeros(())
        if self.c["form"] == "expectile":
            with torch.no_grad():
                all_q = torch.stack([q(sa)[:, 0] for q in self.q_bar])
                q_bar = all_q.min(dim=0).values
                self.data_disagreement = all_q.var(dim=0, correction=0).mean().sqrt()
            u = q_bar - self.value(self.s)[:, 0]
            asymmetry = torch.where(u < 0, 1 - self.c["expectile"], self.c["expectile"])
            value_loss = (asymmetry * u**2).mean()
            self.data_advantage = u.detach()
            self.value.step(value_loss)
            with torch.no_grad():
                bootstrap = self.value(self.next_s)[:, 0]
        else:
            with torch.no_grad():
                b = self.pi_base(self.next_s)
                z = self.noise("next", update).clamp(-2, 2)
                a = (b + self.delta(self.decoder_ema, self.next_s, b, z)).clamp(-1, 1)
                next_sa = cat(self.next_s, a)
                bootstrap = torch.stack([q(next_sa)[:, 0] for q in self.q_bar]).min(dim=0).values
        y = self.reward + self.c["discount"] * self.not_terminal * bootstrap
        with torch.no_grad():
            all_q = torch.stack([q(sa)[:, 0] for q in self.q])
            self.q_of_data = all_q.min(dim=0).values
            if self.c["form"] != "expectile":
                self.data_disagreement = all_q.var(dim=0, correction=0).mean().sqrt()
        losses = []
        for q in self.q:
            losses.append(((q(sa)[:, 0] - y) ** 2).mean())
            q.step(losses[-1])
        return {
            "q_loss": torch.stack(losses).mean(),
            "value_loss": value_loss,
            "target_mean": y.mean(),
        }

    def fit_loss(self, b, update):
        """Section B. The bounds of log std are BCQ's."""
        r = self.a - b
        mean, log_std = self.encoder(cat(self.s, b, r)).split(self.latent, dim=1)
        posterior = torch.distributions.Normal(mean, log_std.clamp(-4, 15).exp())
        z = mean + posterior.stddev * self.noise("posterior", update)
        reconstruction = ((self.delta(self.decoder, self.s, b, z) - r) ** 2).sum(dim=1).mean()
        prior = torch.distributions.Normal(0.0, 1.0)
        kl = torch.distributions.kl_divergence(posterior, prior).sum(dim=1).mean()
        return reconstruction, kl

    def self_imitation(self, b, update):
        """Section D, with candidates as an explicit dimension: [B, K, ...]."""
        rows, k = len(self.s), self.r["candidates"]
        z = self.noise("candidates", update).clamp(-2, 2).view(rows, k, self.latent)
        deltas = torch.stack(
            [self.delta(self.decoder, self.s, b, z[:, j]) for j in range(k)], dim=1
        )
        with torch.no_grad():
            fixed = deltas.detach()
            actions = [(b + fixed[:, j]).clamp(-1, 1) for j in range(k)]
            all_q = torch.stack(
                [torch.stack([net(cat(self.s, a))[:, 0] for a in actions], dim=1) for net in self.q]
            )
            q = all_q.min(dim=0).values
            beyond = (all_q.std(dim=0, correction=0) - self.data_disagreement).clamp(min=0)
            within = lambda x: (x - x.mean(dim=1, keepdim=True)).square().mean().sqrt()
            penalty = self.c["penalty"] + self.c["penalty_ratio"] * within(q) / within(beyond)
            q = q - penalty * beyond
            advantage = q - q.mean(dim=1, keepdim=True)
            own = (advantage**2).mean().sqrt()
            if self.c["form"] == "expectile":
                data = self.data_advantage
            else:
                data = self.q_of_data - q.mean(dim=1)
            data = data.std(correction=0)
            sigma = torch.maximum(own, self.r["scale"] * data)
            w = torch.softmax(advantage / (sigma * self.r["temperature"]), dim=1)
            target = (w[:, :, None] * fixed).sum(dim=1, keepdim=True)
            spread = ((fixed - fixed.mean(dim=1, keepdim=True)) ** 2).sum(dim=2).mean()
        loss = ((deltas - target) ** 2).sum(dim=2).mean()
        return loss, {
            "self_imitation": loss,
            "weight_max": w.max(dim=1).values.mean(),
            "spread": spread,
            "effective_candidates": (1 / (w**2).sum(dim=1)).mean(),
            "advantage_std": own,
            "data_advantage_std": data,
            "penalty_weight": penalty,
        }

    def update(self, update):
        measured = self.critic_step(update)
        b = self.pi_base(self.s)
        reconstruction, kl = self.fit_loss(b, update)
        loss = reconstruction + self.r["beta"] * kl
        measured |= {"reconstruction": reconstruction, "kl": kl}
        if update > self.r["warmup"]:
            imitation, more = self.self_imitation(b, update)
            measured |= more
            loss = self.r["lambda"] * imitation + self.r["w_fit"] * loss
        self.encoder.optim.zero_grad()
        self.decoder.step(loss)
        self.encoder.optim.step()
        self.decoder_ema.track(self.decoder, self.r["tau"])
        for target, q in zip(self.q_bar, self.q):
            target.track(q, self.c["tau"])
        return measured


def main():
    for form in ["expectile", "residual"]:
        with safe_open(FIXTURES / f"{form}.inputs.safetensors", "pt") as file:
            inputs = {name: file.get_tensor(name) for name in file.keys()}
            config = json.loads(file.metadata()["config"])
        expected = {}

        spar = Spar(inputs, config)
        anchor = spar.anchor
        loss = F.mse_loss(torch.tanh(anchor(spar.s)), spar.a)
        anchor.step(loss)
        expected["anchor.loss"], expected["anchor.params"] = loss, anchor.flat

        spar = Spar(inputs, config)
        for update in [1, 2]:
            for name, value in spar.update(update).items():
                expected[f"{update}.metric.{name}"] = value
            for name, net in spar.nets.items():
                expected[f"{update}.params.{name}"] = net.flat.clone()
        expected = {k: v.detach().float().reshape(-1).clone() for k, v in expected.items()}
        save_file(expected, FIXTURES / f"{form}.expected.safetensors")
        for name, value in expected.items():
            if len(value) == 1:
                print(form, name, value.item())


if __name__ == "__main__":
    main()

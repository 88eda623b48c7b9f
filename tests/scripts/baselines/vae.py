"""The conditional autoencoder over actions of BCQ and PLAS."""

import torch

from common import ACT, LATENT, OBS, cat, descend


class Vae:
    def __init__(self, case, lr):
        hidden = case.c["vae_hidden"]
        self.case = case
        self.encoder = case.net("vae.encoder", OBS + ACT, 2 * LATENT, lr, hidden)
        self.decoder = case.net("vae.decoder", OBS + LATENT, ACT, lr, hidden)

    def decode(self, s, z):
        return torch.tanh(self.decoder(cat(s, z)))

    def fit(self, noise):
        s, a = self.case.s, self.case.a
        mean, log_std = self.encoder(cat(s, a)).split(LATENT, dim=1)
        std = log_std.clamp(-4, 15).exp()
        posterior = torch.distributions.Normal(mean, std)
        reconstruction = torch.nn.functional.mse_loss(self.decode(s, mean + std * noise), a)
        prior = torch.distributions.Normal(0.0, 1.0)
        kl = torch.distributions.kl_divergence(posterior, prior).mean()
        descend(reconstruction + 0.5 * kl, self.encoder, self.decoder)
        return {"reconstruction": reconstruction, "kl": kl}


def mixed(values, weight):
    """Soft clipped double Q."""
    return weight * values.amin(0) + (1 - weight) * values.amax(0)


def perturb(net, size, s, a):
    return (a + size * torch.tanh(net(cat(s, a)))).clamp(-1, 1)

//! SPAR itself: residual support model, Latent Self-Imitation, the whole update in one file.

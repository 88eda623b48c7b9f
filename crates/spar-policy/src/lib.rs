//! Trained policies as files, and acting by them: the one crate that deploys.
//!
//! It stands apart from training because what runs on a machine should depend on little:
//! no simulator, no tensor library, no HDF5, no CUDA; a few small crates that compile in
//! seconds. A policy acts here with the same bits as in the evaluation that chose it,
//! since evaluation acts by this crate. Files are held to be hostile: nothing of one is
//! believed before it is checked.
//!
//! ```no_run
//! use spar_policy::Policy;
//!
//! let policy = Policy::load("policy.safetensors")?;
//! let obs = vec![0.0; policy.obs_dim()];
//! let mut action = vec![0.0; policy.act_dim()];
//! policy.act(&obs, &mut action);
//! # Ok::<(), spar_policy::PolicyError>(())
//! ```
//!
//! [`import`] reads networks of other programs, [`Policy::to_onnx`] writes a graph for them,
//! and with the feature `onnx`, which brings tract, a graph is read as a policy.
//!
//! # The file
//! A safetensors file.
//! A policy of ours holds, with weights `[out, in]` as PyTorch stores them:
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `obs_mean`, `obs_std` | `[obs_dim]` | `s = (obs - obs_mean) / obs_std` |
//! | `anchor.layers.<i>.weight`, `.bias` | `[out, in]`, `[out]` | `b = tanh(net(s))`, ReLU between layers |
//! | `residual.layers.<i>.weight`, `.bias` | `[out, in]`, `[out]` | `d = rho tanh(net([s, b, z]))`, `z = 0` (no `z` for `rpl`), ReLU between layers; absent for `bc` |
//! | `residual.rho`, `residual.sigma_z` | `[1]` | largest residual; spread of drawn latents |
//! | `critic.<n>.layers.<i>.weight`, `.bias` | `[out, in]`, `[out]` | `Q_n(s, a) = net([s, a])`, ReLU between layers; what best-of-K acting chooses by |
//! | `critic.deviations` | `[1]` | a candidate's value is the critics' mean less this many standard deviations; absent, their least |
//! | `action.low`, `action.high` | `[act_dim]` | actions in `[-1, 1]` are scaled to these bounds, the units of the data: of every policy trained without an environment |
//! | `<layer>.norm.weight`, `.norm.bias` | `[out]` | gain and shift of a LayerNorm (eps 1e-5) between that layer and its activation, where present |
//! | `<layer>.norm.after`, `.norm.eps` | `[1]` | where present, the LayerNorm follows the activation; its other eps |
//! | `<network>.norm.weight`, `.norm.bias` | `[in]` | the same of a network's input, where present |
//! | `<network>.activation` | `[1]` | between its layers, where not ReLU: 2 GELU (tanh form), 3 Mish, 4 SiLU |
//!
//! and acts by `clip(b + d, -1, 1)`. SPAR around another program's policy, or one that was
//! trained before, holds that one's whole file (or ONNX model) instead of an anchor, as the
//! bytes of the tensor `base` (U8); `b` is that policy's action, by its own normalizer, and where it
//! draws, from a stream of the observation ([`Policy::base_actions`]). Its metadata entry `spar` is a JSON object:
//! [`About`], with `format`, the version of all this (files without it are of version
//! 1, newer ones are refused), and `digest`, a SHA-256 over the rest of the object and
//! all tensors, which is verified whenever the file is read.
//!
//! A method that acts by one network writes a plain one: `layers.<i>.weight`,
//! `layers.<i>.bias`, `obs_mean`, `obs_std`, with `activation` and `output` inside
//! `spar`. One that acts in a latent space (`plas`, `bcq`, `lapo`) writes
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `decoder.layers.<i>.*` | | `a = tanh(net([s, z]))`, ReLU between layers |
//! | `output.scale`, `output.shift` | `[act_dim]` | where present, `a = scale net([s, z]) + shift` instead |
//! | `latent.layers.<i>.*`, `latent.bound` | , `[1]` | `z = bound tanh(net(s))` |
//! | `latent.candidates`, `latent.clip`, `critic.0.*` | `[1]`, `[1]` | or so many `z ~ N(0, 1)`, clipped, of which the critic chooses |
//! | `perturbation.layers.<i>.*`, `perturbation.size` | , `[1]` | `a + size tanh(net([s, a]))`, where present |
//!
//! and clips. One that samples its actions (module [`sampled`]) writes one of
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `chain.layers.<i>.*`, `chain.alphas`, `chain.codes` | , `[T]`, `[T, width]` | the noise in `x` at step `t` is `net([s, x, codes[t]])`; `alphas` are those of the steps, from the last of sampling on |
//! | `chain.block.<n>.*`, `chain.exit.*` | | of a residual network: `h <- h + block(h)`, then `exit(f(h))`, `f` that of `chain.exit.activation` |
//! | `chain.clips_start` | `[1]` | where present, 1: the guessed action is clipped, not the sample |
//! | `flow.layers.<i>.*`, `flow.steps` | , `[1]` | the velocity is `net([s, x, t])`, followed in so many steps |
//! | `one_step.layers.<i>.*` | | `a = net([s, z])` |
//!
//! and with it
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `sampled.candidates` | `[1]` | how many actions are sampled |
//! | `critic.<n>.*`, `critic.deviations` | | what values them, as above; without one there is one candidate |
//! | `sampled.softmax` | `[1]` | where present, one is drawn by `exp(value / this)`; else the greatest is taken |
//! | `sampled.expectile`, `value.*` | `[1]`, | or one is drawn: weight this where its value is at least `net(s)`, else one less this |
//!
//! A plain network from elsewhere is read too: `layers.<i>.weight`,
//! `layers.<i>.bias`, optional `.norm.*`, `obs_mean` and `obs_std`, `output.scale` and
//! `output.shift` (`[act_dim]`, what outputs are multiplied by and what is added then),
//! and metadata `activation` (`relu`, `tanh`, `leaky_relu_0.01`, `gelu_tanh`, `mish`,
//! `silu`) and `output`
//! (`identity`, `tanh`); its actions are clipped to `[-1, 1]`.
//!
//! Values are F32, F64, F16 or BF16, computed with in single precision. These are all
//! names there are: a file with any other is refused, since the policy would act without
//! what it holds. Every number has a range, checked before anything of its size is made.

mod about;
mod anchored;
mod candidates;
mod error;
mod file;
mod half;
pub mod import;
mod latent;
pub mod onnx;
mod plain;
mod policy;
mod rectified;
mod rows;
pub mod sampled;

pub use about::About;
pub use anchored::{LATENT_CLIP, Residual, SparPolicy};
pub use candidates::Candidates;
pub use error::PolicyError;
pub use file::file_of;
pub use latent::{Latent, LatentActor, LatentPolicy};
pub use plain::PlainPolicy;
pub use policy::{Networks, Policy};
pub use rectified::RectifiedPolicy;
pub use rows::{Activation, Linear, Norm, ParamsError, RowMlp, RowWork};
pub use sampled::{SampledActor, SampledPolicy};
pub use spar_core::{ActionBounds, Normalizer, Stream};
pub use spar_kernels::value::Conservatism;

// The programs of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! A policy as it comes out of a file.

use std::{num::NonZeroUsize, path::Path, slice};

use spar_core::{ActionBounds, Stream};

use crate::{
    about::About,
    anchored::SparPolicy,
    error::PolicyError,
    file::{Reader, bytes},
    latent::{Latent, LatentActor, LatentPolicy},
    onnx,
    plain::PlainPolicy,
    rectified::RectifiedPolicy,
    sampled::SampledPolicy,
};

/// The networks of a policy, by how they act together. Their actions lie in `[-1, 1]`, but
/// for those of a graph of another program.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Networks {
    /// An anchor and, unless the method is behaviour cloning, what rectifies its action.
    Spar(SparPolicy),
    /// One network.
    Plain(PlainPolicy),
    /// A decoder and what acts in its latent space.
    Latent(LatentPolicy),
    /// What makes an action of noise.
    Sampled(SampledPolicy),
    /// Another policy, and what rectifies its action.
    Rectified(RectifiedPolicy),
    /// A graph of another program.
    #[cfg(feature = "onnx")]
    Graph(crate::onnx::GraphPolicy),
}

impl Networks {
    fn policy(&self) -> &dyn spar_core::Policy {
        match self {
            Self::Spar(policy) => policy,
            Self::Plain(policy) => policy,
            Self::Latent(policy) => policy,
            Self::Sampled(policy) => policy,
            Self::Rectified(policy) => policy,
            #[cfg(feature = "onnx")]
            Self::Graph(policy) => policy,
        }
    }
}

impl spar_core::Policy for Networks {
    fn obs_dim(&self) -> usize {
        self.policy().obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.policy().act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        self.policy().act(obs, streams, actions);
    }
}

/// A trained policy: observations in the units of its data in, actions in the units of its
/// data out. It is read-only and can be shared among threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    networks: Networks,
    about: Option<About>,
    bounds: Option<ActionBounds>,
    /// Where the latents of [`Policy::act`] are drawn from, anew for each action.
    draws: Stream,
}

/// Most policies of which each is the base of the one before.
pub(crate) const MOST_BASES: usize = 4;

/// The stream of the latents that [`Policy::act`] draws.
const DRAWS: &str = "policy/act";

impl Policy {
    /// Reads the policy file at `path`: one of ours, a plain network of another program
    /// in the same layout, or, with the feature `onnx`, an ONNX model.
    ///
    /// # Errors
    /// One line saying what is missing or wrong in the file. Any file may be given: nothing
    /// of it is believed before it is checked, and nothing larger than its bounds is made.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        Self::from_bytes(&bytes(path)?).map_err(|e| e.in_file(path))
    }

    /// The policy in `bytes`, the contents of a policy file.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PolicyError> {
        Self::from_bytes_within(bytes, MOST_BASES)
    }

    /// [`Policy::from_bytes`] of a policy that may stand on so many others.
    pub(crate) fn from_bytes_within(bytes: &[u8], bases: usize) -> Result<Self, PolicyError> {
        if onnx::is_model(bytes) {
            return onnx::policy_of(bytes);
        }
        let mut reader = Reader::new(bytes)?;
        let (networks, bounds) = reader.contents(bases)?;
        Ok(Self::new(networks, reader.about.take(), bounds))
    }

    /// The policy of `networks`, whose actions are scaled to `bounds` if there are any.
    pub fn new(networks: Networks, about: Option<About>, bounds: Option<ActionBounds>) -> Self {
        Self {
            networks,
            about,
            bounds,
            draws: Stream::new(0, DRAWS),
        }
    }

    /// Where the policy comes from; `None` for a plain network of another program.
    pub fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    /// Its networks.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The bounds of its actions; `None` stands for `[-1, 1]`.
    pub fn action_bounds(&self) -> Option<&ActionBounds> {
        self.bounds.as_ref()
    }

    /// Width of one observation.
    pub fn obs_dim(&self) -> usize {
        spar_core::Policy::obs_dim(&self.networks)
    }

    /// Width of one action.
    pub fn act_dim(&self) -> usize {
        spar_core::Policy::act_dim(&self.networks)
    }

    /// Whether its action is drawn, or the best of several that are.
    pub fn draws(&self) -> bool {
        match &self.networks {
            Networks::Spar(policy) => {
                let residual = policy.residual.as_ref();
                residual.is_some_and(|residual| residual.best_of > NonZeroUsize::MIN)
            }
            Networks::Rectified(policy) => policy.residual.best_of > NonZeroUsize::MIN,
            Networks::Plain(_) => false,
            #[cfg(feature = "onnx")]
            Networks::Graph(_) => false,
            Networks::Latent(LatentPolicy {
                actor: LatentActor { latent, .. },
                ..
            }) => matches!(latent, Latent::Best { .. }),
            Networks::Sampled(_) => true,
        }
    }

    /// The same policy, acting by the best of `k` candidates that its critics choose among
    /// ([`Residual::best_of`](crate::Residual::best_of)); one is the deterministic policy.
    ///
    /// # Errors
    /// If there is more than one to choose from and the policy holds nothing to choose by.
    pub fn best_of(mut self, k: NonZeroUsize) -> Result<Self, PolicyError> {
        match &mut self.networks {
            Networks::Spar(SparPolicy {
                residual: Some(residual),
                ..
            })
            | Networks::Rectified(RectifiedPolicy { residual, .. })
                if !residual.critics.is_empty() =>
            {
                residual.best_of = k;
            }
            _ if k == NonZeroUsize::MIN => {}
            _ => {
                return Err(PolicyError::Content(
                    "holds no critics to choose the best of several candidates by; \
                     give a policy of method spar, or leave --best-of out"
                        .to_owned(),
                ));
            }
        }
        Ok(self)
    }

    /// The same policy, whose draws in [`Policy::act`] are those of `seed`, not of zero.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.draws = Stream::new(seed, DRAWS);
        self
    }

    /// The action for the observation `obs`, `[obs_dim]`, into `action`, `[act_dim]`: both
    /// in the units of the data the policy was trained on.
    ///
    /// It is a function of the observation: the same one gives the same bits, on every
    /// machine, also of a policy that [draws](Policy::draws), which draws the same
    /// candidates for every observation. (An evaluation gives each episode a stream of its
    /// own instead, by [`spar_core::Policy::act`].) Nothing is allocated but by the first
    /// call on a thread. An observation that is not finite may give an action that is not a
    /// number; the caller decides what a machine does then.
    ///
    /// # Panics
    /// If the lengths are not [`Policy::obs_dim`] and [`Policy::act_dim`].
    pub fn act(&self, obs: &[f32], action: &mut [f32]) {
        assert_eq!(obs.len(), self.obs_dim(), "width of an observation");
        assert_eq!(action.len(), self.act_dim(), "width of an action");
        let mut stream = self.draws.clone();
        spar_core::Policy::act(self, obs, slice::from_mut(&mut stream), action);
    }
}

impl spar_core::Policy for Policy {
    fn obs_dim(&self) -> usize {
        self.obs_dim()
    }

    fn act_dim(&self) -> usize {
        self.act_dim()
    }

    fn act(&self, obs: &[f32], streams: &mut [Stream], actions: &mut [f32]) {
        spar_core::Policy::act(&self.networks, obs, streams, actions);
        if let Some(bounds) = &self.bounds {
            bounds.unscale(actions);
        }
    }
}

//! What is made of a policy file's tensors: networks that fit each other, and
//! numbers within their ranges.

use std::num::NonZeroUsize;

use spar_core::{
    ActionBounds, Normalizer, Policy,
    limits::{MOST_CANDIDATES, MOST_SCALE},
};
use spar_kernels::value::Conservatism;

use super::{
    ACTIVATION_KEY, BASE, CANDIDATES, DEVIATIONS, HIDDEN, HIGH, LOW, NUMBERED, OUTPUT, OUTPUT_KEY,
    SCALE, SHIFT,
    reader::{Range, Reader},
    transpose,
};
use crate::{
    about::About,
    anchored::{Residual, SparPolicy},
    error::PolicyError,
    latent::{Latent, LatentActor, LatentPolicy},
    plain::PlainPolicy,
    policy::{MOST_BASES, Networks, Policy as AnyPolicy},
    rectified::RectifiedPolicy,
    rows::{Activation, Linear, Norm, RowMlp},
};

/// The method whose policy is never without its residual.
const SPAR: &str = "spar";

/// Most values of one observation's latents.
const MOST_LATENTS: usize = 1 << 24;

impl Reader<'_> {
    /// The policy, of which every tensor was read, and the bounds of its actions where the
    /// file has some.
    /// It may stand on `bases` others.
    pub(crate) fn contents(
        &self,
        bases: usize,
    ) -> Result<(Networks, Option<ActionBounds>), PolicyError> {
        let ours = self.about.is_some();
        let contents = if ours && self.has(BASE) {
            Networks::Rectified(self.rectified(bases)?)
        } else if ours && self.samples() {
            Networks::Sampled(self.sampled()?)
        } else if ours && self.has("decoder.layers.0.weight") {
            Networks::Latent(self.latent()?)
        } else if ours && !self.metadata.contains_key(ACTIVATION_KEY) {
            Networks::Spar(self.spar()?)
        } else {
            Networks::Plain(self.plain()?)
        };
        let bounds = match ours && (self.has(LOW) || self.has(HIGH)) {
            true => Some(self.action_bounds(contents.act_dim())?),
            false => None,
        };
        let scaled = |bounds: Option<&ActionBounds>| bounds.filter(|b| !b.are_usual()).cloned();
        if let Networks::Rectified(policy) = &contents
            && scaled(policy.base.action_bounds()) != scaled(bounds.as_ref())
        {
            return Err(self.wrong(format!("`{BASE}` acts within other bounds than the file's")));
        }
        self.finish()?;
        // A policy that lost them would act in units that are not its data's.
        if bounds.is_none() && self.about.as_ref().is_some_and(|a| a.env.is_none()) {
            let why = format!(
                "has neither an environment nor `{LOW}` and `{HIGH}`, the bounds of its actions"
            );
            return Err(self.wrong(why));
        }
        Ok((contents, bounds))
    }

    /// `action.low` and `action.high`, `[act_dim]` each.
    fn action_bounds(&self, act_dim: usize) -> Result<ActionBounds, PolicyError> {
        let [low, high] = [LOW, HIGH].map(|name| self.tensor(name, 1));
        let ((_, low), (_, high)) = (low?, high?);
        if low.len() != act_dim || high.len() != act_dim {
            return Err(self.wrong(format!(
                "`{LOW}` and `{HIGH}` have {} and {} elements, expected {act_dim}",
                low.len(),
                high.len()
            )));
        }
        let bounds: Vec<(f32, f32)> = low.into_iter().zip(high).collect();
        ActionBounds::try_from(bounds).map_err(|e| self.wrong(e.to_string()))
    }

    pub(super) fn net(
        &self,
        prefix: &str,
        hidden: Activation,
        output: Activation,
    ) -> Result<RowMlp, PolicyError> {
        let mut layers: Vec<Linear> = Vec::new();
        while layers.is_empty() || self.has(&format!("{prefix}layers.{}.weight", layers.len())) {
            let name = format!("{prefix}layers.{}.weight", layers.len());
            let (shape, weight) = self.tensor(&name, 2)?;
            let (_, bias) = self.tensor(&format!("{prefix}layers.{}.bias", layers.len()), 1)?;
            let (output, input) = (shape[0], shape[1]);
            let before = layers.last().map_or(input, Linear::output);
            if bias.len() != output || input != before || input == 0 || output == 0 {
                return Err(self.wrong(format!(
                    "`{name}` is [{output}, {input}], expected [{}, {before}]: weights are [out, in]",
                    bias.len()
                )));
            }
            layers.push(Linear {
                weight: transpose(&weight, output, input),
                bias,
                norm: self.norm(&format!("{prefix}layers.{}.norm", layers.len()), output)?,
            });
        }
        let width = layers.first().map_or(0, Linear::input);
        // A plain network says both in other places, or has neither.
        let (hidden, input_norm) = match prefix {
            "" => (hidden, None),
            _ => (
                self.activation(prefix, hidden)?,
                self.norm(&format!("{prefix}norm"), width)?,
            ),
        };
        Ok(RowMlp {
            layers,
            hidden,
            output,
            input_norm,
        })
    }

    /// What `<prefix>activation` says of hidden layers; `usual`, where it is not there.
    fn activation(&self, prefix: &str, usual: Activation) -> Result<Activation, PolicyError> {
        let name = format!("{prefix}activation");
        if !self.has(&name) {
            return Ok(usual);
        }
        let number = self.scalar(&name, Range::Count(NUMBERED.len() as u16))?;
        Ok(NUMBERED[number as usize - 1])
    }

    /// The layer normalization called `name`, if there is one.
    fn norm(&self, name: &str, width: usize) -> Result<Option<Norm>, PolicyError> {
        let [after, eps] = ["after", "eps"].map(|part| format!("{name}.{part}"));
        let names = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        if names.iter().all(|name| !self.has(name)) {
            return Ok(None);
        }
        let [gain, shift] = names.map(|name| {
            let (shape, values) = self.tensor(&name, 1)?;
            if shape[0] != width {
                return Err(self.wrong(format!("`{name}` is {shape:?}, expected [{width}]")));
            }
            Ok(values)
        });
        let mut norm = Norm::new(gain?, shift?);
        if self.has(&after) {
            self.scalar(&after, Range::Count(1))?;
            norm.after = true;
        }
        if self.has(&eps) {
            norm.eps = self.scalar(&eps, Range::Positive(1.0))?;
        }
        Ok(Some(norm))
    }

    pub(super) fn conservatism(&self) -> Result<Conservatism, PolicyError> {
        if !self.has(DEVIATIONS) {
            return Ok(Conservatism::Min);
        }
        let deviations = self.scalar(DEVIATIONS, Range::NotNegative(MOST_SCALE))?;
        Ok(Conservatism::MeanMinusStd(deviations))
    }

    /// `Q_1..Q_N`, none where the file has none.
    pub(super) fn critics(&self, input: usize) -> Result<Vec<RowMlp>, PolicyError> {
        let mut critics: Vec<RowMlp> = Vec::new();
        loop {
            let prefix = format!("critic.{}.", critics.len());
            if !self.has_any(&prefix) {
                return Ok(critics);
            }
            let critic = self.net(&prefix, Activation::Relu, Activation::Identity)?;
            if (critic.input_dim(), critic.output_dim()) != (input, 1) {
                return Err(self.wrong(format!(
                    "`{prefix}` maps {} values to {}, expected {input} to 1",
                    critic.input_dim(),
                    critic.output_dim()
                )));
            }
            critics.push(critic);
        }
    }

    /// `obs_mean` and `obs_std`, `[obs_dim]` each.
    pub(super) fn normalizer(&self, obs_dim: usize) -> Result<Normalizer, PolicyError> {
        let (_, mean) = self.tensor("obs_mean", 1)?;
        let (_, std) = self.tensor("obs_std", 1)?;
        if mean.len() != obs_dim || std.len() != obs_dim || std.iter().any(|std| *std <= 0.0) {
            return Err(self.wrong(format!(
                "`obs_mean` and `obs_std` have {} and {} elements, expected {obs_dim}, none zero \
                 or negative in `obs_std`",
                mean.len(),
                std.len()
            )));
        }
        Ok(Normalizer { mean, std })
    }

    /// `output.scale` and `output.shift`, `[act_dim]` each.
    fn output_affine(&self, act_dim: usize) -> Result<(Vec<f32>, Vec<f32>), PolicyError> {
        let [scale, shift] = [SCALE, SHIFT].map(|name| self.tensor(name, 1));
        let ((_, scale), (_, shift)) = (scale?, shift?);
        if scale.len() != act_dim || shift.len() != act_dim || scale.contains(&0.0) {
            return Err(self.wrong(format!(
                "`{SCALE}` and `{SHIFT}` have {} and {} elements, expected {act_dim}, none zero in \
                 `{SCALE}`",
                scale.len(),
                shift.len()
            )));
        }
        Ok((scale, shift))
    }

    fn spar(&self) -> Result<SparPolicy, PolicyError> {
        let anchor = self.net("anchor.", Activation::Relu, Activation::Tanh)?;
        let normalizer = self.normalizer(anchor.input_dim())?;
        // A file that lost its residual must not pass for its anchor.
        let of_spar = |about: &About| about.method == SPAR;
        let rectified = self.about.as_ref().is_some_and(of_spar) || self.has_any("residual.");
        let widths = (anchor.input_dim(), anchor.output_dim());
        let residual = rectified.then(|| self.residual(widths)).transpose()?;
        Ok(SparPolicy {
            normalizer,
            anchor,
            residual,
        })
    }

    /// What rectifies actions of width `act_dim` for observations of width `obs_dim`.
    fn residual(&self, (obs_dim, act_dim): (usize, usize)) -> Result<Residual, PolicyError> {
        let decoder = self.net("residual.", Activation::Relu, Activation::Tanh)?;
        let least = obs_dim + act_dim;
        if decoder.input_dim() < least || decoder.output_dim() != act_dim {
            return Err(self.wrong("the residual does not fit the anchor".to_owned()));
        }
        Ok(Residual {
            decoder,
            rho: self.scalar("residual.rho", Range::Positive(MOST_SCALE))?,
            critics: self.critics(least)?,
            conservatism: self.conservatism()?,
            sigma_z: self.scalar("residual.sigma_z", Range::NotNegative(MOST_SCALE))?,
            best_of: NonZeroUsize::MIN,
        })
    }

    /// Another policy that is rectified; it may stand on one less than `bases` others.
    fn rectified(&self, bases: usize) -> Result<RectifiedPolicy, PolicyError> {
        let Some(bases) = bases.checked_sub(1) else {
            let why =
                format!("stands on more than {MOST_BASES} policies, each the next one's base");
            return Err(self.wrong(why));
        };
        let base = AnyPolicy::from_bytes_within(self.inner_file(BASE)?, bases);
        let base = base.map_err(|e| match e {
            PolicyError::Content(why) => self.wrong(format!("`{BASE}`: {why}")),
            other => other,
        })?;
        let widths = (base.obs_dim(), base.act_dim());
        Ok(RectifiedPolicy {
            normalizer: self.normalizer(widths.0)?,
            residual: self.residual(widths)?,
            base: Box::new(base),
        })
    }

    /// A policy in a decoder's latent space.
    fn latent(&self) -> Result<LatentPolicy, PolicyError> {
        let net = |prefix, output| self.net(prefix, Activation::Relu, output);
        let affine = self.has(SCALE) || self.has(SHIFT);
        let output = match affine {
            true => Activation::Identity,
            false => Activation::Tanh,
        };
        let decoder = net("decoder.", output)?;
        let affine = affine.then(|| self.output_affine(decoder.output_dim()));
        let latent = if self.has("latent.layers.0.weight") {
            Latent::Actor {
                net: net("latent.", Activation::Tanh)?,
                bound: self.scalar("latent.bound", Range::Positive(MOST_SCALE))?,
            }
        } else {
            let candidates = self.scalar(CANDIDATES, Range::Count(MOST_CANDIDATES))?;
            Latent::Best {
                critic: net("critic.0.", Activation::Identity)?,
                // Within the range above: at least one.
                candidates: NonZeroUsize::new(candidates as usize).unwrap_or(NonZeroUsize::MIN),
                clip: self.scalar("latent.clip", Range::Positive(MOST_SCALE))?,
            }
        };
        let perturbation = if self.has("perturbation.layers.0.weight") {
            let net = net("perturbation.", Activation::Tanh)?;
            Some((
                net,
                self.scalar("perturbation.size", Range::Positive(MOST_SCALE))?,
            ))
        } else {
            None
        };
        let actor = LatentActor {
            decoder,
            affine: affine.transpose()?,
            latent,
            perturbation,
        };
        let Some(obs_dim) = actor.widths() else {
            return Err(self.wrong("its networks do not fit each other".to_owned()));
        };
        if let Latent::Best { candidates, .. } = &actor.latent {
            let latents = actor.decoder.input_dim().saturating_mul(candidates.get());
            if latents > MOST_LATENTS {
                return Err(self.wrong(format!(
                    "`{CANDIDATES}` is {candidates}, expected at most {} of a decoder of {} inputs",
                    MOST_LATENTS / actor.decoder.input_dim(),
                    actor.decoder.input_dim(),
                )));
            }
        }
        let normalizer = self.normalizer(obs_dim)?;
        Ok(LatentPolicy { normalizer, actor })
    }

    fn plain(&self) -> Result<PlainPolicy, PolicyError> {
        let named = |key: &str, known: &[(&str, Activation)]| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let Some(value) = self.metadata.get(key) else {
                let names = names.join(", ");
                return Err(self.wrong(format!("no metadata `{key}`; expected one of: {names}")));
            };
            let found = known
                .iter()
                .find(|(name, _)| name == value)
                .map(|(_, a)| *a);
            found.ok_or_else(|| {
                let names = names.join(", ");
                self.wrong(format!(
                    "metadata `{key}` is `{value}`, expected one of: {names}"
                ))
            })
        };
        let hidden = named(ACTIVATION_KEY, &HIDDEN)?;
        let output = named(OUTPUT_KEY, &OUTPUT)?;
        let net = self.net("", hidden, output)?;
        let normalizer = if self.has("obs_mean") || self.has("obs_std") {
            self.normalizer(net.input_dim())?
        } else {
            Normalizer::identity(net.input_dim())
        };
        let affine = if self.has(SCALE) || self.has(SHIFT) {
            Some(self.output_affine(net.output_dim())?)
        } else {
            None
        };
        Ok(PlainPolicy {
            normalizer,
            net,
            affine,
        })
    }
}

//! Policies that sample, in a file.

use std::num::NonZeroUsize;

use spar_core::limits::{MOST_CANDIDATES, MOST_SCALE};
use spar_kernels::value::Conservatism;

use super::{
    DEVIATIONS,
    reader::{Range, Reader},
    write::Tensors,
};
use crate::{
    error::PolicyError,
    rows::Activation,
    sampled::{
        Clip, MOST_PASSES, MOST_STEPS, NoiseNet, Pick, Residuals, SampledActor, SampledPolicy,
        Sampler, Schedule, Worth,
    },
};

/// Begin the names of a sampler's tensors.
const CHAIN: &str = "chain.";
const FLOW: &str = "flow.";
const ONE_STEP: &str = "one_step.";

const ALPHAS: &str = "chain.alphas";
const CODES: &str = "chain.codes";
const CLIPS_START: &str = "chain.clips_start";
const FLOW_STEPS: &str = "flow.steps";
const CANDIDATES: &str = "sampled.candidates";
const SOFTMAX: &str = "sampled.softmax";
const EXPECTILE: &str = "sampled.expectile";

/// Most values of one observation's candidates.
const MOST_VALUES: usize = 1 << 24;

/// The least `alpha` of a step: with less nothing of the action is left.
const LEAST_ALPHA: f32 = 1e-4;

impl Reader<'_> {
    /// Whether the policy samples its actions.
    pub(super) fn samples(&self) -> bool {
        [CHAIN, FLOW, ONE_STEP]
            .iter()
            .any(|prefix| self.has_any(prefix))
    }

    /// A policy that samples its actions.
    pub(super) fn sampled(&self) -> Result<SampledPolicy, PolicyError> {
        let sampler = self.sampler()?;
        let candidates = self.scalar(CANDIDATES, Range::Count(MOST_CANDIDATES))?;
        // Within the range above: at least one.
        let candidates = NonZeroUsize::new(candidates as usize).unwrap_or(NonZeroUsize::MIN);
        let unfit = || self.wrong("its networks do not fit each other".to_owned());
        let obs_dim = sampler.obs_dim().ok_or_else(unfit)?;
        let pick = self.pick(obs_dim, sampler.act_dim())?;
        let actor = SampledActor {
            sampler,
            candidates,
            pick,
        };
        if actor.widths().is_none() {
            return Err(unfit());
        }
        let values = actor.act_dim().saturating_mul(candidates.get());
        let passes = actor.sampler.passes().saturating_mul(candidates.get());
        if values > MOST_VALUES || passes > MOST_PASSES {
            return Err(self.wrong(format!(
                "`{CANDIDATES}` is {candidates}, of {} values in {} passes each; expected at most \
                 {MOST_VALUES} values and {MOST_PASSES} passes in all",
                actor.act_dim(),
                actor.sampler.passes(),
            )));
        }
        let normalizer = self.normalizer(obs_dim)?;
        Ok(SampledPolicy { normalizer, actor })
    }

    fn sampler(&self) -> Result<Sampler, PolicyError> {
        let net = |prefix| self.net(prefix, Activation::Relu, Activation::Identity);
        if self.has_any(CHAIN) {
            return self.chain();
        }
        if self.has_any(FLOW) {
            let steps = self.scalar(FLOW_STEPS, Range::Count(MOST_STEPS))?;
            return Ok(Sampler::Flow {
                net: net(FLOW)?,
                steps: NonZeroUsize::new(steps as usize).unwrap_or(NonZeroUsize::MIN),
            });
        }
        Ok(Sampler::OneStep(net(ONE_STEP)?))
    }

    fn chain(&self) -> Result<Sampler, PolicyError> {
        let net = |prefix: &str| self.net(prefix, Activation::Relu, Activation::Identity);
        let (_, alphas) = self.tensor(ALPHAS, 1)?;
        let fits = |alpha: &f32| (LEAST_ALPHA..1.0).contains(alpha);
        if alphas.is_empty() || alphas.len() > usize::from(MOST_STEPS) || !alphas.iter().all(fits) {
            return Err(self.wrong(format!(
                "`{ALPHAS}` has {} elements, expected from 1 to {MOST_STEPS}, each from \
                 {LEAST_ALPHA} to below 1",
                alphas.len()
            )));
        }
        let (shape, codes) = self.tensor(CODES, 2)?;
        if shape[0] != alphas.len() {
            return Err(self.wrong(format!(
                "`{CODES}` is {shape:?}, expected a row for each of the {} of `{ALPHAS}`",
                alphas.len()
            )));
        }
        let entry = net("chain.")?;
        let mut blocks = Vec::new();
        loop {
            let prefix = format!("chain.block.{}.", blocks.len());
            if !self.has_any(&prefix) {
                break;
            }
            blocks.push(net(&prefix)?);
        }
        let residuals = match self.has_any("chain.exit.") || !blocks.is_empty() {
            false => None,
            true => Some(Residuals {
                blocks,
                exit: net("chain.exit.")?,
            }),
        };
        let clip = match self.has(CLIPS_START) {
            false => Clip::Sample,
            true => {
                self.scalar(CLIPS_START, Range::Count(1))?;
                Clip::Start
            }
        };
        Ok(Sampler::Chain {
            net: NoiseNet {
                codes,
                code_dim: shape[1],
                entry,
                residuals,
            },
            schedule: Schedule { alphas },
            clip,
        })
    }

    fn pick(&self, obs_dim: usize, act_dim: usize) -> Result<Pick, PolicyError> {
        let critics = self.critics(obs_dim.saturating_add(act_dim))?;
        if critics.is_empty() {
            return Ok(Pick::First);
        }
        let worth = Worth {
            critics,
            by: self.conservatism()?,
        };
        if self.has(SOFTMAX) {
            return Ok(Pick::Softmax {
                worth,
                temperature: self.scalar(SOFTMAX, Range::Positive(MOST_SCALE))?,
            });
        }
        if self.has(EXPECTILE) {
            return Ok(Pick::Expectile {
                worth,
                value: self.net("value.", Activation::Relu, Activation::Identity)?,
                expectile: self.scalar(EXPECTILE, Range::Positive(1.0))?,
            });
        }
        Ok(Pick::Greatest(worth))
    }
}

/// The tensors of a policy that samples.
pub(super) fn tensors(policy: &SampledPolicy) -> Tensors {
    let mut tensors = Tensors::of(&policy.normalizer);
    let SampledActor {
        sampler,
        candidates,
        pick,
    } = &policy.actor;
    tensors.scalar(CANDIDATES, candidates.get() as f32);
    match sampler {
        Sampler::Flow { net, steps } => {
            tensors.net(FLOW, net);
            tensors.scalar(FLOW_STEPS, steps.get() as f32);
        }
        Sampler::OneStep(net) => tensors.net(ONE_STEP, net),
        Sampler::Chain {
            net,
            schedule,
            clip,
        } => {
            tensors.row(ALPHAS, &schedule.alphas);
            let shape = vec![schedule.steps(), net.code_dim];
            tensors
                .all
                .push((CODES.to_owned(), shape, net.codes.clone()));
            if *clip == Clip::Start {
                tensors.scalar(CLIPS_START, 1.0);
            }
            tensors.net(CHAIN, &net.entry);
            if let Some(residuals) = &net.residuals {
                for (i, block) in residuals.blocks.iter().enumerate() {
                    tensors.net(&format!("chain.block.{i}."), block);
                }
                tensors.net("chain.exit.", &residuals.exit);
            }
        }
    }
    let worth = match pick {
        Pick::First => None,
        Pick::Greatest(worth) => Some(worth),
        Pick::Softmax { worth, temperature } => {
            tensors.scalar(SOFTMAX, *temperature);
            Some(worth)
        }
        Pick::Expectile {
            worth,
            value,
            expectile,
        } => {
            tensors.net("value.", value);
            tensors.scalar(EXPECTILE, *expectile);
            Some(worth)
        }
    };
    if let Some(Worth { critics, by }) = worth {
        for (i, critic) in critics.iter().enumerate() {
            tensors.net(&format!("critic.{i}."), critic);
        }
        if let Conservatism::MeanMinusStd(deviations) = by {
            tensors.scalar(DEVIATIONS, *deviations);
        }
    }
    tensors
}

//! Training on synthetic tasks: the project's own anchor, SPAR and baselines, at sizes
//! that take seconds. Settings are those of `spar-rectify`'s learning test, chosen
//! before and not for these claims.
//!
//! The loops are not `spar_train::Trainer`'s: the claims are about what stands inside a learner
//! (decoder, posterior, critics), which that keeps to itself, and their batches come from a
//! stream of their own, on whose bits the recorded outcomes stand.

use std::sync::Arc;

use spar_anchor::{Anchor, AnchorConfig, AnchorTrainer};
use spar_baselines::{
    Actor, Baseline, DataConfig, Feed, Replay, Sample, Start, States,
    methods::{iql, td3bc},
};
use spar_core::Stream;
use spar_critic::{CriticConfig, CriticForm};
use spar_data::{Dataset, Normalizer, Steps, Transitions};
use spar_nn::RowMlp;
use spar_rectify::{Ablation, RectifyConfig, Spar, SparMetrics, SparPolicy};

use crate::{TheoryError, toy::Data};

const HIDDEN: [usize; 2] = [32, 32];
const ROWS: usize = 64;
const LR: f32 = 1e-3;

/// SPAR after `updates` updates, two thirds of them warm-up, on its anchor of half as
/// many. The anchor alone is the same policy without its residual.
pub(crate) fn spar(data: &Data, updates: u64, seed: u64) -> Result<SparPolicy, TheoryError> {
    ablated(data, updates, Ablation::None, seed)
}

/// [`spar`] with one part replaced.
fn ablated(
    data: &Data,
    updates: u64,
    ablation: Ablation,
    seed: u64,
) -> Result<SparPolicy, TheoryError> {
    let spar = train(data, updates, updates / 3 * 2, 0.1, ablation, seed)?;
    Ok(spar.policy(Normalizer::identity(1))?)
}

/// SPAR after `updates` updates of fitting alone, with `beta` the weight of its KL.
pub(crate) fn fitted(data: &Data, updates: u64, beta: f64, seed: u64) -> Result<Spar, TheoryError> {
    train(data, updates, updates, beta, Ablation::None, seed)
}

/// `policy` without its residual.
pub(crate) fn anchor_of(policy: &SparPolicy) -> SparPolicy {
    SparPolicy {
        residual: None,
        ..policy.clone()
    }
}

fn train(
    data: &Data,
    updates: u64,
    warmup: u64,
    beta: f64,
    ablation: Ablation,
    seed: u64,
) -> Result<Spar, TheoryError> {
    let hidden = HIDDEN.to_vec();
    let config = AnchorConfig {
        hidden: hidden.clone(),
        lr: LR,
        updates: updates / 2,
        ..AnchorConfig::default()
    };
    let mut init = Stream::new(seed, "theory/toy/anchor");
    let mut batches = Stream::new(seed, "theory/toy/sampler");
    let anchor = Anchor::new(&config, 1, data.act_dim, &mut init)?;
    let mut trainer = AnchorTrainer::new(anchor, &config);
    for _ in 0..config.updates {
        trainer.update(&data.batch(ROWS, &mut batches)?.0)?;
    }
    let critic = CriticConfig {
        form: CriticForm::Expectile,
        hidden: hidden.clone(),
        n_critics: 2,
        lr: LR,
        discount: 0.99,
        tau: 0.005,
        expectile: 0.7,
        deviations: None,
        penalty: 0.0,
        penalty_ratio: 0.0,
    };
    let rectify = RectifyConfig {
        hidden,
        lr: LR,
        beta,
        rho: 1.0,
        w_fit: 0.02,
        lambda: 1.0,
        candidates: 8,
        temperature: 0.3,
        scale: 0.0,
        sigma_z: 1.0,
        policy_freq: 1,
        warmup,
        tau: 0.005,
        ablation,
    };
    let mut spar = Spar::new(rectify, critic, trainer.freeze(), 1, data.act_dim, seed)?;
    let mut metrics = SparMetrics::default();
    for _ in 0..updates {
        spar.update(&data.batch(ROWS, &mut batches)?.0, &mut metrics)?;
    }
    Ok(spar)
}

/// A method beside SPAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// TD3+BC as its authors weigh it.
    Td3Bc,
    /// IQL.
    Iql,
    /// SPAR whose decoder climbs the critics' gradient instead of imitating candidates:
    /// the ablation.
    ValueGradient,
}

impl Beside {
    pub(crate) const ALL: [Self; 3] = [Self::Td3Bc, Self::Iql, Self::ValueGradient];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Td3Bc => "td3bc",
            Self::Iql => "iql",
            Self::ValueGradient => "value-gradient",
        }
    }

    /// Its policy after `updates` updates.
    pub(crate) fn train(
        self,
        data: &Data,
        updates: u64,
        seed: u64,
    ) -> Result<SparPolicy, TheoryError> {
        match self {
            Self::ValueGradient => ablated(data, updates, Ablation::ValueGradient, seed),
            Self::Td3Bc => {
                let config = td3bc::Config {
                    data: feed(),
                    hidden: HIDDEN.to_vec(),
                    actor_lr: f64::from(LR),
                    critic_lr: f64::from(LR),
                    alpha: 2.5,
                    ..td3bc::Config::default()
                };
                learn::<td3bc::Td3Bc>(config, data, updates, seed)
            }
            Self::Iql => {
                let config = iql::Config {
                    data: feed(),
                    hidden: HIDDEN.to_vec(),
                    actor_lr: f64::from(LR),
                    critic_lr: f64::from(LR),
                    decay_updates: updates,
                    ..iql::Config::default()
                };
                learn::<iql::Iql>(config, data, updates, seed)
            }
        }
    }
}

fn feed() -> DataConfig {
    DataConfig {
        batch_size: ROWS,
        states: States::Raw,
        ..DataConfig::default()
    }
}

fn learn<M: Baseline>(
    config: M::Config,
    data: &Data,
    updates: u64,
    seed: u64,
) -> Result<SparPolicy, TheoryError> {
    let start = Start {
        obs_dim: 1,
        act_dim: data.act_dim,
        seed,
        replay: Arc::new(replay(data)?),
        anchor: None,
    };
    let mut learner = M::new(config, start)?;
    let mut batches = Stream::new(seed, "theory/toy/sampler");
    for step in 1..=updates {
        let (batch, index) = data.batch(ROWS, &mut batches)?;
        learner.update(step, &Sample { batch, index })?;
    }
    Ok(plain(network(learner.actor()?)?))
}

fn network(actor: Actor) -> Result<RowMlp, TheoryError> {
    match actor {
        Actor::Net(net) => Ok(net),
        Actor::Residual { .. } | Actor::Latent(_) | Actor::Sampled(_) => Err(
            candle_core::Error::Msg("a baseline of this suite acts by one network".to_owned())
                .into(),
        ),
    }
}

/// A policy that is one network on raw states.
fn plain(net: RowMlp) -> SparPolicy {
    SparPolicy {
        normalizer: Normalizer::identity(1),
        anchor: net,
        residual: None,
    }
}

/// The data as baselines are handed them.
fn replay(data: &Data) -> Result<Replay, TheoryError> {
    let rows = data.rows();
    let steps = Steps {
        observations: data.obs.clone(),
        actions: data.actions.clone(),
        rewards: data.rewards.clone(),
        terminals: vec![true; rows],
        timeouts: vec![false; rows],
    };
    let set = Dataset::in_memory("synthetic", 1, data.act_dim, steps)?;
    let feed = Feed {
        data: feed(),
        discount: 1.0,
        returns: false,
    };
    Ok(Replay::new(&Transitions::new(Arc::new(set), 1)?, &feed, 1)?)
}

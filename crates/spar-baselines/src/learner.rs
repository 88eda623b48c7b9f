//! What a method is to the loop that trains it: something that learns from one
//! minibatch at a time, lists all it resumes from, and can be acted with.

use std::sync::Arc;

use candle_core::Result;
use serde::{Serialize, Serializer, ser::SerializeMap};
use spar_anchor::Anchor;
use spar_core::Stream;
pub(crate) use spar_core::names;
pub use spar_core::names::MethodName;
use spar_nn::{Mlp, RowMlp, State, StateError};

use crate::{
    Critics, Momentum, Trained, Variable, actor::Actor, replay::Replay, settings::Settings,
};

/// A minibatch, and where it was drawn from.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The transitions, as the method's [`crate::DataConfig`] prepares them.
    pub batch: spar_nn::Batch,
    /// Which transitions of the [`Replay`] they are, `[rows]`.
    pub index: Vec<usize>,
}

/// What a method starts from.
#[derive(Debug)]
pub struct Start {
    /// Width of an observation.
    pub obs_dim: usize,
    /// Width of an action.
    pub act_dim: usize,
    /// Seed of every stream.
    pub seed: u64,
    /// The data, for methods that look beyond a minibatch.
    pub replay: Arc<Replay>,
    /// The frozen behaviour-cloning policy, of methods that are
    /// [`Baseline::ANCHORED`].
    pub anchor: Option<Anchor>,
}

/// A method: what a file of [`crate::methods`] implements.
pub trait Baseline: Learner + Sized + 'static {
    /// Its name, one of [`spar_core::names`] in the workspace.
    const NAME: MethodName;

    /// Whether it grows out of the frozen anchor, which is then trained first.
    const ANCHORED: bool = false;

    /// Whether it learns from rewards: a clone does not.
    const REWARDED: bool = true;
    /// How it is fine-tuned online, if it can be.
    const ONLINE: Option<Online> = None;

    /// Its hyper-parameters; their default is the source's for MuJoCo.
    type Config: Settings;

    /// The method before its first update.
    ///
    /// # Errors
    /// Only if candle cannot hold the parameters, or an anchor is missing.
    fn new(config: Self::Config, start: Start) -> Result<Self>;
}

/// A method while it is being trained.
pub trait Learner {
    /// One update on one minibatch; `step` is its number, from one.
    ///
    /// # Errors
    /// If the batch's shapes do not fit.
    fn update(&mut self, step: u64, sample: &Sample) -> Result<Metrics>;

    /// All that training resumes from, under stable names.
    fn parts(&mut self) -> Parts<'_>;

    /// The policy as trained so far, deterministic where it can be.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    fn actor(&self) -> Result<Actor>;

    /// How the policy acts where it collects what it is trained on; `None` of a method
    /// that is not trained online ([`Baseline::ONLINE`]).
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    fn exploration(&self) -> Result<Option<Exploration>> {
        Ok(None)
    }
}

/// How a method is fine-tuned online.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Online {
    /// Deviation of the noise on the collecting policy's actions where nobody says; `None`
    /// of a method whose policy draws its actions itself.
    pub noise: Option<f64>,
    /// Settings that belong to the beginning of an offline training, with what takes their
    /// place.
    pub settings: &'static [(&'static str, u64)],
}

/// How a policy acts where it collects.
#[derive(Clone, Debug, PartialEq)]
pub enum Exploration {
    /// By its action and normal noise of [`Online::noise`].
    Noise,
    /// By its action and normal noise of these deviations, `[act_dim]`.
    Gaussian(Vec<f32>),
    /// By `tanh(mean + exp(log_std) noise)`, mean and log deviation the halves of what the
    /// network makes of a normalized observation.
    Squashed(RowMlp),
}

/// What one update measured, by name. What it did not do is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(pub Vec<(&'static str, f32)>);

impl Metrics {
    /// With another number.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f32) -> Self {
        self.0.push((name, value));
        self
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|(_, value)| value.is_finite())
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// One thing that training resumes from.
#[derive(Debug)]
pub enum Part<'a> {
    /// A network in no optimizer: frozen, or moved by averaging.
    Net(&'a Mlp),
    /// A network that is trained.
    Trained(&'a mut Trained),
    /// A network that is trained with momentum.
    Momentum(&'a mut Momentum),
    /// A trained variable that is no network.
    Variable(&'a mut Variable),
    /// A random stream.
    Stream(&'a mut Stream),
    /// Numbers computed on the way, of fixed length.
    Values(&'a mut Vec<f32>),
    /// Numbers drawn at the start, which stay.
    Fixed(&'a mut Vec<f32>),
}

/// The parts of a learner by name: what is saved, restored and tested.
#[derive(Debug, Default)]
pub struct Parts<'a>(pub Vec<(String, Part<'a>)>);

impl<'a> Parts<'a> {
    fn with(mut self, name: &str, part: Part<'a>) -> Self {
        self.0.push((name.to_owned(), part));
        self
    }

    /// With a network in no optimizer.
    #[must_use]
    pub fn net(self, name: &str, net: &'a Mlp) -> Self {
        self.with(name, Part::Net(net))
    }

    /// With a trained network.
    #[must_use]
    pub fn trained(self, name: &str, net: &'a mut Trained) -> Self {
        self.with(name, Part::Trained(net))
    }

    /// With a network trained with momentum.
    #[must_use]
    pub fn momentum(self, name: &str, net: &'a mut Momentum) -> Self {
        self.with(name, Part::Momentum(net))
    }

    /// With a trained variable.
    #[must_use]
    pub fn variable(self, name: &str, variable: &'a mut Variable) -> Self {
        self.with(name, Part::Variable(variable))
    }

    /// With critics and their targets.
    #[must_use]
    pub fn critics(mut self, critics: &'a mut Critics) -> Self {
        let Critics { nets, targets } = critics;
        for (i, (net, target)) in nets.iter_mut().zip(targets).enumerate() {
            let name = format!("critic.{i}");
            self = self.net(&format!("{name}.target"), target);
            self = self.trained(&name, net);
        }
        self
    }

    /// With a random stream.
    #[must_use]
    pub fn stream(self, name: &str, stream: &'a mut Stream) -> Self {
        self.with(name, Part::Stream(stream))
    }

    /// With numbers drawn at the start.
    #[must_use]
    pub fn fixed(self, name: &str, values: &'a mut Vec<f32>) -> Self {
        self.with(name, Part::Fixed(values))
    }

    /// With numbers of fixed length.
    #[must_use]
    pub fn values(self, name: &str, values: &'a mut Vec<f32>) -> Self {
        self.with(name, Part::Values(values))
    }

    /// Adds every part to `state`.
    ///
    /// # Errors
    /// Only if candle cannot read the parameters.
    pub fn save(&self, state: &mut State) -> Result<()> {
        for (name, part) in &self.0 {
            match part {
                Part::Net(net) => net.save(name, state)?,
                Part::Trained(trained) => trained.save(name, state)?,
                Part::Momentum(trained) => trained.save(name, state)?,
                Part::Variable(variable) => variable.save(name, state)?,
                Part::Stream(stream) => state.insert_stream(name, stream),
                Part::Values(values) | Part::Fixed(values) => state.insert(name, values.to_vec()),
            }
        }
        Ok(())
    }

    /// Takes every part from `state`.
    ///
    /// # Errors
    /// If one is absent or of another size.
    pub fn load(&mut self, state: &State) -> std::result::Result<(), StateError> {
        for (name, part) in &mut self.0 {
            match part {
                Part::Net(net) => net.load(name, state)?,
                Part::Trained(trained) => trained.load(name, state)?,
                Part::Momentum(trained) => trained.load(name, state)?,
                Part::Variable(variable) => variable.load(name, state)?,
                Part::Stream(stream) => **stream = state.get_stream(name)?,
                Part::Values(values) | Part::Fixed(values) => {
                    **values = state.get(name, values.len())?;
                }
            }
        }
        Ok(())
    }
}

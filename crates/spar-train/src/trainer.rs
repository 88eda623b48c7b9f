//! Training in memory: any method, update by update, without files.
//!
//! A method that grows out of the anchor has two stages, the anchor's updates and its own;
//! every other has one. [`crate::run()`] is this, with a log, a learning curve, checkpoints
//! and an evaluation.

mod around;
mod looking;
mod online;

use std::sync::Arc;

use spar_anchor::{Anchor, AnchorTrainer};
use spar_baselines::{Feed, Metrics, Replay};
use spar_core::{EnvId, Stream};
use spar_data::{Batch, Transitions};
use spar_nn::{
    Precisions, State,
    device::{Device, Kernels},
};
use spar_policy::{About, Networks};
use spar_rectify::Base;

use crate::{
    config::{TrainConfig, setting},
    control::Phase,
    error::TrainError,
    given::{self, Given},
    learner::{AnchorLearner, Backend, Cpu, Learner, OnDevice},
    online::Online,
    registry_learner::OfRegistry,
    spec::Method,
};

/// The counter of the anchor's updates in a checkpoint.
pub(crate) const ANCHOR_UPDATES: &str = "updates.anchor";

/// A method while it is being trained, in memory.
///
/// It is a function of method, settings, data and seed: the same updates give the same bits
/// on the same machine, whether they were done at once or saved and loaded in between.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{path::Path, sync::Arc};
/// use spar_core::EnvId;
/// use spar_data::{Dataset, Transitions};
/// use spar_train::{Method, TrainConfig, Trainer};
///
/// let data = Dataset::read_for(Path::new("hopper_medium-v2.hdf5"), EnvId::HOPPER)?;
/// let data = Transitions::new(Arc::new(data), EnvId::HOPPER.horizon())?;
/// let mut trainer = Trainer::new(Method::Spar, TrainConfig::default(), &data, 0)?;
/// while trainer.step()? {
///     if trainer.updates().is_multiple_of(1000) {
///         println!("{:?} {:?}", trainer.phase(), trainer.metrics()?);
///     }
/// }
/// let policy = trainer.policy()?;
/// # Ok(())
/// # }
/// ```
pub struct Trainer<'k> {
    backend: Box<dyn Backend<'k> + 'k>,
    method: Method,
    config: TrainConfig,
    seed: u64,
    data: Transitions,
    stage: Stage<'k>,
}

/// Updates of one kind: the anchor's, or the method's own.
struct Stage<'k> {
    phase: Phase,
    learner: Learning<'k>,
    replay: Arc<Replay>,
    /// Draws the transitions of a batch.
    sampler: Stream,
    batch: Batch,
    index: Vec<usize>,
    /// What updates, and nothing else, are computed in.
    precisions: Precisions,
    update: u64,
    last: u64,
    /// What must not have moved when the stage ends.
    frozen: Option<String>,
    /// Where an update is a step in an environment, followed by some.
    online: Option<Online>,
}

enum Learning<'k> {
    Anchor(Box<dyn AnchorLearner + 'k>),
    Own(Box<dyn Learner + 'k>),
}

impl<'k> Learning<'k> {
    fn get(&mut self) -> &mut (dyn Learner + 'k) {
        match self {
            Self::Anchor(learner) => &mut **learner,
            Self::Own(learner) => &mut **learner,
        }
    }
}

impl Stage<'_> {
    /// One update, or false if all are done.
    fn update(&mut self) -> Result<bool, TrainError> {
        if self.update >= self.last {
            return Ok(false);
        }
        self.update_as(self.update + 1)?;
        Ok(true)
    }

    /// The next update, as if it were number `step`.
    fn update_as(&mut self, step: u64) -> Result<(), TrainError> {
        if self.online.is_some() {
            return self.step_online();
        }
        let (batch, index) = (&mut self.batch, &mut self.index);
        self.replay.draw(&mut self.sampler, batch, index);
        let learner = self.learner.get();
        self.precisions
            .during(|| learner.update(step, batch, index))?;
        self.update += 1;
        Ok(())
    }

    /// Refuses to resume from a stage that moved what was frozen.
    fn check_frozen(&mut self) -> Result<(), TrainError> {
        let got = self.learner.get().frozen()?;
        match (&self.frozen, got) {
            (Some(expected), Some(got)) if *expected != got => Err(TrainError::AnchorMoved {
                expected: expected.clone(),
                got,
            }),
            _ => Ok(()),
        }
    }
}

/// Refuses a method that learns from rewards on data without.
pub(crate) fn check_rewards(method: Method, data: &Transitions) -> Result<(), TrainError> {
    match method.rewarded() && !data.dataset().rewarded {
        true => Err(TrainError::NoRewards(method.name())),
        false => Ok(()),
    }
}

impl Trainer<'static> {
    /// `method` before its first update, in candle on the CPU.
    ///
    /// # Errors
    /// If a setting is out of range, or if the method keeps none of the data's transitions.
    pub fn new(
        method: Method,
        config: TrainConfig,
        data: &Transitions,
        seed: u64,
    ) -> Result<Self, TrainError> {
        Self::start(Box::new(Cpu), method, config, data, seed)
    }
}

impl<'k> Trainer<'k> {
    /// [`Trainer::new`] by the kernels of a device, for `bc` and `spar`.
    ///
    /// # Errors
    /// As there; and if the device fails.
    pub fn on<D: Device>(
        kernels: &'k Kernels<D>,
        method: Method,
        config: TrainConfig,
        data: &Transitions,
        seed: u64,
    ) -> Result<Self, TrainError> {
        if let Method::Baseline(entry) = method {
            return Err(TrainError::CpuOnly(entry.name));
        }
        Self::start(Box::new(OnDevice(kernels)), method, config, data, seed)
    }

    pub(crate) fn start(
        backend: Box<dyn Backend<'k> + 'k>,
        method: Method,
        config: TrainConfig,
        data: &Transitions,
        seed: u64,
    ) -> Result<Self, TrainError> {
        config.check()?;
        given::check_method(&config.anchor, method)?;
        check_rewards(method, data)?;
        let given = match method {
            Method::Spar => Given::of(&config.anchor, data)?,
            _ => None,
        };
        Self::first_stage(backend, method, config, (data, seed), given)
    }

    /// `method` before its first update; SPAR around the policy that is `given`, if one is.
    fn first_stage(
        backend: Box<dyn Backend<'k> + 'k>,
        method: Method,
        config: TrainConfig,
        (data, seed): (&Transitions, u64),
        given: Option<Given>,
    ) -> Result<Self, TrainError> {
        let start = Start {
            backend: &*backend,
            method,
            config: &config,
            data,
            seed,
        };
        let stage = if let Some(given) = given {
            start.around(given)?
        } else if method.anchored() {
            start.anchor(untrained(&config, data, seed)?)?
        } else {
            start.own(None)?
        };
        Ok(Self {
            backend,
            method,
            config,
            seed,
            data: data.clone(),
            stage,
        })
    }

    fn started(&self) -> Start<'_, 'k> {
        Start {
            backend: &*self.backend,
            method: self.method,
            config: &self.config,
            data: &self.data,
            seed: self.seed,
        }
    }

    /// One update: the anchor's while there are any left, then the method's own. False if
    /// all that the settings ask for are done.
    ///
    /// On a device what an update measures is not waited for: [`Self::metrics`] has it.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if a loss is not finite; if the frozen anchor has moved; if
    /// the device fails.
    pub fn step(&mut self) -> Result<bool, TrainError> {
        while !self.stage.update()? {
            if !self.next_stage()? {
                return Ok(false);
            }
        }
        if self.at_hand() && !self.is_finite()? {
            return Err(TrainError::Diverged {
                phase: self.phase().name(),
                update: self.updates(),
            });
        }
        Ok(true)
    }

    /// What is trained now.
    pub fn phase(&self) -> Phase {
        self.stage.phase
    }

    /// Updates of the present [`Self::phase`] so far.
    pub fn updates(&self) -> u64 {
        self.stage.update
    }

    /// Updates of the present phase in all.
    pub fn last_update(&self) -> u64 {
        self.stage.last
    }

    /// What the last update measured, by name.
    ///
    /// # Errors
    /// If the device fails.
    pub fn metrics(&mut self) -> Result<Metrics, TrainError> {
        let mut metrics = self.stage.learner.get().metrics()?;
        let online = self.stage.online.iter();
        metrics.0.extend(online.flat_map(Online::measured));
        Ok(metrics)
    }

    /// The policy as trained so far: the anchor's, while that is trained. It acts on
    /// observations as the data have them; with [`Self::about`], [`spar_policy::Policy::new`]
    /// makes a file of it.
    ///
    /// # Errors
    /// Only if the parameters cannot be read.
    pub fn policy(&mut self) -> Result<Networks, TrainError> {
        let normalizer = self.stage.replay.normalizer().clone();
        self.stage.learner.get().policy(&normalizer)
    }

    /// What a policy file says of [`Self::policy`]: method, data, seed, updates so far, and
    /// `env`, if it is for one.
    pub fn about(&self, env: Option<EnvId>) -> About {
        let dataset = self.data.dataset().identity.clone();
        About {
            method: self.method.name().to_owned(),
            env: env.map(String::from),
            task: dataset.id.clone(),
            dataset,
            seed: self.seed,
            updates: self.stage.update,
        }
    }

    /// All that training resumes from.
    ///
    /// # Errors
    /// Only if the parameters cannot be read.
    pub fn save(&mut self) -> Result<State, TrainError> {
        let mut state = State::default();
        self.stage.learner.get().save(&mut state)?;
        match &self.stage.online {
            Some(_) => self.save_online(&mut state),
            None => state.insert_count(self.counter(), self.stage.update),
        }
        state.insert_stream("sampler", &self.stage.sampler);
        Ok(state)
    }

    /// Resumes from `state`, which [`Self::save`] gave for the same method, settings, data
    /// and seed.
    ///
    /// # Errors
    /// If an entry is absent or of another size.
    pub fn load(&mut self, state: &State) -> Result<(), TrainError> {
        let own = self.method.counter();
        if state.get_count(own).is_ok() && self.counter() != own {
            // Its parameters come with everything else.
            let anchor = untrained(&self.config, &self.data, self.seed)?;
            self.stage = self.started().own(Some(anchor))?;
        }
        let counter = self.counter();
        let stage = &mut self.stage;
        stage.learner.get().load(state)?;
        stage.sampler = state.get_stream("sampler")?;
        stage.update = state.get_count(counter)?;
        stage.frozen = stage.learner.get().frozen()?;
        Ok(())
    }

    /// The policy that this one is around, where that is no anchor of its own.
    pub(crate) fn given(&mut self) -> Option<&Given> {
        self.stage.learner.get().given()
    }

    /// Takes the place of the anchor's stage: `state` holds the parameters of one that was
    /// trained with the same settings.
    pub(crate) fn take_anchor(&mut self, state: &State) -> Result<(), TrainError> {
        let anchor = untrained(&self.config, &self.data, self.seed)?;
        anchor.net().load("anchor", state)?;
        self.stage = self.started().own(Some(anchor))?;
        Ok(())
    }

    /// Ends this stage and begins the next; false if it was the last.
    pub(crate) fn next_stage(&mut self) -> Result<bool, TrainError> {
        self.stage.check_frozen()?;
        if [self.method.phase(), Phase::Online].contains(&self.phase()) {
            return Ok(false);
        }
        if let Learning::Anchor(learner) = &mut self.stage.learner {
            let trained = learner.trained()?;
            self.stage = self.started().own(Some(trained))?;
        }
        Ok(true)
    }

    fn counter(&self) -> &'static str {
        match self.stage.learner {
            Learning::Anchor(_) => ANCHOR_UPDATES,
            Learning::Own(_) => self.method.counter(),
        }
    }
}

/// An anchor before its first update.
fn untrained(config: &TrainConfig, data: &Transitions, seed: u64) -> Result<Anchor, TrainError> {
    let mut init = Stream::new(seed, "anchor/init");
    let (obs_dim, act_dim) = (data.obs_dim(), data.act_dim());
    Ok(Anchor::new(&config.anchor, obs_dim, act_dim, &mut init)?)
}

/// What stages are made of.
struct Start<'a, 'k> {
    backend: &'a (dyn Backend<'k> + 'k),
    method: Method,
    config: &'a TrainConfig,
    data: &'a Transitions,
    seed: u64,
}

impl<'k> Start<'_, 'k> {
    fn anchor(&self, anchor: Anchor) -> Result<Stage<'k>, TrainError> {
        let config = &self.config.anchor;
        let trainer = AnchorTrainer::new(anchor, config);
        let rows = self.config.batch_size;
        let learner = self.backend.anchor(trainer, config, rows)?;
        self.stage(
            Learning::Anchor(learner),
            Phase::Anchor,
            self.replay(&self.config.feed())?,
            (rows, config.updates),
            "anchor/sampler",
        )
    }

    /// SPAR around a policy that is given.
    fn around(&self, given: Given) -> Result<Stage<'k>, TrainError> {
        let dims = (self.data.obs_dim(), self.data.act_dim());
        let spar = self.config.spar(Base::Given, dims, self.seed)?;
        let learner = self.backend.spar_around(spar, given)?;
        self.spar(learner)
    }

    fn spar(&self, learner: Box<dyn Learner + 'k>) -> Result<Stage<'k>, TrainError> {
        let config = self.config;
        self.stage(
            Learning::Own(learner),
            self.method.phase(),
            self.replay(&config.feed())?,
            (config.batch_size, config.updates),
            "spar/sampler",
        )
    }

    fn own(&self, anchor: Option<Anchor>) -> Result<Stage<'k>, TrainError> {
        let (method, config) = (self.method, self.config);
        if let Method::Baseline(entry) = method {
            let Some(settings) = &config.method else {
                return Err(TrainError::Config(format!(
                    "`method` is missing, expected the settings of {}",
                    entry.name
                )));
            };
            let feed = entry.feed(settings).map_err(setting)?;
            let replay = self.replay(&feed)?;
            let anchor = anchor.filter(|_| entry.anchored);
            let learner = OfRegistry::start(entry, settings, (&replay, anchor), self.seed)?;
            return self.stage(
                Learning::Own(Box::new(learner)),
                method.phase(),
                replay,
                (feed.data.batch_size, config.updates),
                &format!("{}/sampler", entry.name),
            );
        }
        let anchor = match anchor {
            Some(anchor) => anchor,
            None => untrained(config, self.data, self.seed)?,
        };
        let dims = (self.data.obs_dim(), self.data.act_dim());
        let start = config.spar(anchor, dims, self.seed)?;
        let learner = self.backend.spar(start, config.batch_size)?;
        self.spar(learner)
    }

    fn replay(&self, feed: &Feed) -> Result<Arc<Replay>, TrainError> {
        Ok(Arc::new(Replay::new(self.data, feed, self.data.horizon())?))
    }

    fn stage(
        &self,
        mut learner: Learning<'k>,
        phase: Phase,
        replay: Arc<Replay>,
        (rows, last): (usize, u64),
        sampler: &str,
    ) -> Result<Stage<'k>, TrainError> {
        let (obs_dim, act_dim) = (self.data.obs_dim(), self.data.act_dim());
        Ok(Stage {
            frozen: learner.get().frozen()?,
            phase,
            learner,
            replay,
            sampler: Stream::new(self.seed, sampler),
            batch: Batch::new(rows, obs_dim, act_dim),
            index: Vec::new(),
            precisions: self.config.precisions(),
            update: 0,
            last,
            online: None,
        })
    }
}

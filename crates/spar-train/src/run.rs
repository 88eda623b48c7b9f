//! The loop of a run: anchor phase, SPAR phase, final evaluation.

mod baseline;
mod judge;
mod log;

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use spar_anchor::{Anchor, AnchorTrainer};
use spar_baselines::Replay;
use spar_core::{RunRecord, Stream};
use spar_data::{Batch, Normalizer, Sampler, Transitions};
use spar_nn::{
    State, StateError,
    device::{Device, Kernels},
};
use spar_rectify::Ablation;

use crate::{
    config::DetachedPrecision,
    control::{Control, Phase, Progress},
    error::TrainError,
    folder::{Folder, read_anchor},
    learner::{AnchorLearner, Backend, Cpu, OnDevice, SparLearner},
    offline::{Held, Prepared},
    policy_file::Contents,
    spec::{DeviceKind, Method, RunSpec},
};
use log::{AnchorLine, Line, Told};

/// Updates between two lines of `metrics.jsonl`.
const LOG_EVERY: u64 = 500;

/// Time between two progress reports.
const REPORT_EVERY: Duration = Duration::from_millis(400);

/// Trains the policy `spec` describes, whose device is the CPU, on `data` in the
/// folder `out`, going on from its last checkpoint if it has one, judges the last
/// checkpoint and returns the record it also writes to `DONE`.
///
/// # Errors
/// See [`TrainError`]; whatever stops a run, the folder can be resumed.
pub fn run<'a>(
    spec: &'a RunSpec,
    data: &'a Transitions,
    out: &Path,
    control: Control<'a>,
) -> Result<RunRecord, TrainError> {
    run_with(&Cpu, spec, data, out, control)
}

/// [`run`] of a spec whose device is CUDA, by `kernels`.
///
/// A loss that is not finite is seen when the losses are next read: at a line of
/// the log, a checkpoint or a point of the curve. Policies are judged on the CPU,
/// as everyone who plays the policy file judges them.
///
/// # Errors
/// As [`run`]; and if the device fails.
pub fn run_on<'a, D: Device>(
    kernels: &Kernels<D>,
    spec: &'a RunSpec,
    data: &'a Transitions,
    out: &Path,
    control: Control<'a>,
) -> Result<RunRecord, TrainError> {
    run_with(&OnDevice(kernels), spec, data, out, control)
}

/// Refuses a spec of another device than `B`, or of a setting it does not have.
pub(crate) fn check<B: Backend>(_backend: &B, spec: &RunSpec) -> Result<(), TrainError> {
    spec.config.check()?;
    match (spec.env, &spec.offline) {
        (Some(_), None) => {}
        (None, Some(offline)) => offline.check()?,
        _ => {
            let why = "a run has either an environment (`env`) or what takes its place \
                       (`offline`), and this one has both or neither";
            return Err(TrainError::Config(why.to_owned()));
        }
    }
    if spec.env.is_some() && spec.final_episodes == 0 {
        let why = "`final_episodes` is 0, expected at least 1: a run without a return has no score";
        return Err(TrainError::Config(why.to_owned()));
    }
    if let Method::Baseline(entry) = spec.method {
        if spec.device != DeviceKind::Cpu {
            return Err(TrainError::CpuOnly(entry.name));
        }
        spec.settings()?;
    }
    if spec.device != B::KIND {
        return Err(TrainError::Config(format!(
            "`device` is {}, but the updates would be computed on {}",
            spec.device.name(),
            B::KIND.name()
        )));
    }
    // Nothing of what follows reaches an anchor's training.
    if spec.device == DeviceKind::Cpu || spec.method != Method::Spar {
        return Ok(());
    }
    if !spec.config.rectify.ablation.is_none() {
        return Err(TrainError::CpuOnly("spar with an ablation"));
    }
    if spec.config.detached_precision != DetachedPrecision::F32 {
        return Err(TrainError::Config(format!(
            "`detached_precision` is bf16, expected f32: only the CPU has it, and the device is {}",
            spec.device.name()
        )));
    }
    Ok(())
}

fn run_with<B: Backend>(
    backend: &B,
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
    control: Control<'_>,
) -> Result<RunRecord, TrainError> {
    check(backend, spec)?;
    // Borrowed for no longer than what is prepared here.
    let control = Control {
        anchor: control.anchor,
        commit: control.commit,
        command: control.command,
        stop_after: control.stop_after,
        stop: control.stop,
        report: &mut *control.report,
    };
    let prepared = Prepared::of(spec, data)?;
    let (data, held) = match &prepared {
        Some(prepared) => (&prepared.training, Some(&prepared.held)),
        None => (data, None),
    };
    let mut folder = Folder::open(out, spec)?;
    if let Some(record) = folder.finished(spec)? {
        return Ok(record);
    }
    let checkpoint = folder.read_checkpoint(spec)?;
    folder.begin(spec, checkpoint.as_ref())?;
    let mut session = Session::new(spec, (data, held), folder, control, checkpoint.as_ref())?;
    let mut anchor = || session.anchor_phase(backend, checkpoint.as_ref());
    let policy = match spec.method {
        Method::Bc => {
            let anchor = anchor()?;
            session.policy_of_anchor(&anchor)?
        }
        Method::Spar => {
            let anchor = anchor()?;
            session.spar_phase(backend, anchor, checkpoint.as_ref())?
        }
        Method::Baseline(entry) => {
            let anchor = if entry.anchored {
                Some(anchor()?)
            } else {
                None
            };
            session.baseline_phase(entry, anchor, checkpoint.as_ref())?
        }
    };
    session.finish(&policy)
}

/// A run while it is going on.
struct Session<'a> {
    spec: &'a RunSpec,
    data: &'a Transitions,
    /// What the policy is compared with where it is not evaluated.
    held: Option<&'a Held>,
    folder: Folder,
    control: Control<'a>,
    normalizer: Normalizer,
    /// What rewards are multiplied by: said where a run diverges.
    reward_scale: f32,
    batch: Batch,
    told: Told,
    /// Seconds spent before this process, and its start.
    spent: f64,
    started: Instant,
    reported: Instant,
    /// Whether the run was asked to stop: it does after the next update.
    asked: bool,
    /// Whether nobody listens any more.
    orphaned: bool,
}

impl<'a> Session<'a> {
    fn new(
        spec: &'a RunSpec,
        (data, held): (&'a Transitions, Option<&'a Held>),
        folder: Folder,
        control: Control<'a>,
        checkpoint: Option<&State>,
    ) -> Result<Self, TrainError> {
        let told = match checkpoint {
            Some(state) => {
                let done = state.get_count(spec.method.counter());
                Told::read(state, done.is_ok_and(|done| done == spec.updates()))?
            }
            None => Told::default(),
        };
        let mut session = Self {
            normalizer: Normalizer::of(data),
            reward_scale: 1.0,
            batch: Batch::new(spec.config.batch_size, data.obs_dim(), data.act_dim()),
            spent: told.wall_s,
            told,
            asked: false,
            orphaned: false,
            started: Instant::now(),
            reported: Instant::now(),
            spec,
            data,
            held,
            folder,
            control,
        };
        if checkpoint.is_some() {
            session.write_told()?;
        }
        Ok(session)
    }

    /// The frozen anchor: read from a finished run, from a checkpoint of the
    /// SPAR phase, or trained here.
    fn anchor_phase<B: Backend>(
        &mut self,
        backend: &B,
        checkpoint: Option<&State>,
    ) -> Result<Anchor, TrainError> {
        let (spec, config) = (self.spec, &self.spec.config.anchor);
        let mut init = Stream::new(spec.seed, "anchor/init");
        let anchor = Anchor::new(config, self.data.obs_dim(), self.data.act_dim(), &mut init)?;
        if spec.method != Method::Bc {
            // Past the anchor phase its parameters come with everything else.
            if checkpoint.is_some_and(|c| c.get_count(spec.method.counter()).is_ok()) {
                return Ok(anchor);
            }
            if let Some(folder) = self.control.anchor.clone() {
                let state = read_anchor(&folder, spec)?;
                anchor.net().load("anchor", &state)?;
                return Ok(anchor);
            }
        }
        let trainer = AnchorTrainer::new(anchor, config);
        let mut trainer = backend.anchor(trainer, config, spec.config.batch_size)?;
        let mut sampler = Sampler::new(Stream::new(spec.seed, "anchor/sampler"));
        let mut update = 0;
        if let Some(state) = checkpoint {
            trainer.load(state)?;
            sampler = Sampler::new(state.get_stream("sampler")?);
            update = state.get_count("updates.anchor")?;
        }
        while update < config.updates {
            sampler.next(self.data, &self.normalizer, &mut self.batch);
            trainer.update(&self.batch)?;
            update += 1;
            if B::Anchor::AT_HAND || self.is_read(update, config.updates) {
                let loss = trainer.loss()?;
                let line = || Line {
                    phase: Phase::Anchor,
                    update,
                    metrics: AnchorLine { loss },
                };
                if !loss.is_finite() {
                    return Err(self.diverged(&line())?);
                }
                self.log(update, config.updates, line)?;
            }
            if spec.method == Method::Bc && update.is_multiple_of(spec.config.eval_every) {
                let policy = self.policy_of_anchor(trainer.anchor()?)?;
                self.curve_point(update, &policy, spec.config.eval_episodes)?;
            }
            let save = || {
                let mut state = State::default();
                trainer.save(&mut state)?;
                state.insert_count("updates.anchor", update);
                state.insert_stream("sampler", sampler.stream());
                Ok(state)
            };
            self.after_update(Phase::Anchor, update, config.updates, save)?;
        }
        trainer.freeze()
    }

    fn spar_phase<B: Backend>(
        &mut self,
        backend: &B,
        anchor: Anchor,
        checkpoint: Option<&State>,
    ) -> Result<Contents, TrainError> {
        let spec = self.spec;
        let config = &spec.config;
        let dims = (self.data.obs_dim(), self.data.act_dim());
        let start = config.spar(anchor, dims, spec.seed)?;
        let mut spar = backend.spar(start, config.batch_size)?;
        let replay = Replay::new(self.data, &config.feed(), spec.horizon())?;
        self.reward_scale = replay.reward_scale();
        let mut sampler = Stream::new(spec.seed, "spar/sampler");
        let mut index = Vec::new();
        if let Some(state) = checkpoint.filter(|c| c.get_count("updates.spar").is_ok()) {
            sampler = state.get_stream("sampler")?;
            let text = state.metadata.get("metrics");
            let metrics = text.and_then(|text| serde_json::from_str(text).ok());
            let metrics = metrics.ok_or_else(|| StateError::Missing("metrics".to_owned()))?;
            spar.load(state, metrics)?;
        }
        let frozen = spar.spar()?.anchor.fingerprint()?;
        while spar.updates() < config.updates {
            replay.draw(&mut sampler, &mut self.batch, &mut index);
            spar.update(&self.batch)?;
            let update = spar.updates();
            if B::Spar::AT_HAND || self.is_read(update, config.updates) {
                let metrics = spar.metrics()?;
                let line = || Line {
                    phase: Phase::Spar,
                    update,
                    metrics,
                };
                if !metrics.is_finite() {
                    return Err(self.diverged(&line())?);
                }
                self.log(update, config.updates, line)?;
            }
            if update.is_multiple_of(config.eval_every) {
                let policy = self.policy_of_spar(spar.spar()?)?;
                self.curve_point(update, &policy, config.eval_episodes)?;
            }
            let save = || {
                let mut state = State::default();
                spar.save(&mut state)?;
                state.insert_count("updates.spar", update);
                state.insert_stream("sampler", &sampler);
                let text = serde_json::to_string(&spar.metrics()?).map_err(io::Error::from)?;
                state.metadata.insert("metrics".to_owned(), text);
                Ok(state)
            };
            self.after_update(Phase::Spar, update, config.updates, save)?;
        }
        let spar = spar.spar()?;
        let got = spar.anchor.fingerprint()?;
        if got != frozen && config.rectify.ablation != Ablation::TunedAnchor {
            return Err(TrainError::AnchorMoved {
                expected: frozen,
                got,
            });
        }
        self.policy_of_spar(spar)
    }

    /// Whether what `update` measured is needed: for the log, or because what it
    /// led to is about to be kept or judged.
    fn is_read(&self, update: u64, last: u64) -> bool {
        let config = &self.spec.config;
        let every = [LOG_EVERY, config.checkpoint_every, config.eval_every];
        every.iter().any(|&n| update.is_multiple_of(n))
            || update == last
            || self.control.stop_after == Some(update)
            || self.asked
    }

    /// Checkpoint, progress and stopping: what follows every update.
    fn after_update(
        &mut self,
        phase: Phase,
        update: u64,
        last: u64,
        save: impl FnOnce() -> Result<State, TrainError>,
    ) -> Result<(), TrainError> {
        let stop = (self.control.stop_after == Some(update) || self.asked) && update < last;
        let every = self.spec.config.checkpoint_every;
        if update.is_multiple_of(every) || update == last || stop {
            self.checkpoint(save()?)?;
        }
        if stop {
            return Err(match self.orphaned {
                true => TrainError::Orphaned,
                false => TrainError::Stopped(update),
            });
        }
        if self.reported.elapsed() > REPORT_EVERY {
            self.reported = Instant::now();
            self.orphaned = self.report(phase, update).is_err();
        }
        // The next update is the last then: its losses are read before it is kept.
        self.asked = self.orphaned || (self.control.stop)();
        Ok(())
    }

    fn checkpoint(&mut self, mut state: State) -> Result<(), TrainError> {
        self.told.wall_s = self.wall_s();
        self.told.save(&mut state)?;
        self.write_told()?;
        self.folder.write_checkpoint(state, self.spec)
    }

    fn report(&mut self, phase: Phase, update: u64) -> Result<(), TrainError> {
        let config = &self.spec.config;
        let anchor = if self.control.anchor.is_some() || !self.spec.method.anchored() {
            0
        } else {
            config.anchor.updates
        };
        let (before, total) = match (self.spec.method, phase) {
            (Method::Bc, _) => (0, anchor),
            (_, Phase::Anchor) => (0, anchor + config.updates),
            _ => (anchor, anchor + config.updates),
        };
        let progress = Progress {
            done: before + update,
            total,
            phase,
        };
        (self.control.report)(progress).map_err(|_| TrainError::Orphaned)
    }

    fn wall_s(&self) -> f64 {
        self.spent + self.started.elapsed().as_secs_f64()
    }
}

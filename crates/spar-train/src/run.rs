//! The life of a run: every update of its trainer with log, learning curve and checkpoints,
//! then the final evaluation.

mod evaluate;
mod log;
mod pace;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use spar_baselines::Metrics;
use spar_core::RunRecord;
use spar_data::Transitions;
use spar_nn::{
    State,
    device::{Device, Kernels},
};

use crate::{
    control::{Control, Phase, Progress},
    error::TrainError,
    folder::{Folder, read_anchor},
    given,
    learner::{AROUND, Backend, Cpu, OnDevice},
    offline::{Held, Prepared},
    sink::{self, Sink},
    spec::{DeviceKind, Method, RunSpec},
    trainer::{Trainer, check_rewards},
};
use log::Reported;
use pace::Pace;

/// Updates between two lines of `metrics.jsonl`.
const LOG_EVERY: u64 = 500;

/// Time between two progress reports.
const REPORT_EVERY: Duration = Duration::from_millis(400);

/// Trains the policy `spec` describes, whose device is the CPU, on `data` in the
/// folder `out`, resuming from its last checkpoint if it has one, evaluates the last
/// checkpoint and returns the record it also writes to `DONE`.
///
/// # Errors
/// See [`TrainError`]; whatever stops a run, the folder can be resumed.
pub fn run(
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
    control: Control<'_>,
) -> Result<RunRecord, TrainError> {
    run_with(Box::new(Cpu), spec, data, out, control, None)
}

/// [`run`] of a spec whose device is CUDA, by `kernels`.
///
/// A loss that is not finite is seen when the losses are next read: at a line of
/// the log, a checkpoint or a point of the curve. Policies are evaluated on the CPU,
/// as everyone who plays the policy file evaluates them.
///
/// # Errors
/// As [`run`]; and if the device fails.
pub fn run_on<D: Device>(
    kernels: &Kernels<D>,
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
    control: Control<'_>,
) -> Result<RunRecord, TrainError> {
    run_with(Box::new(OnDevice(kernels)), spec, data, out, control, None)
}

/// Refuses a spec of another device than `kind`, or of a setting it does not have.
pub(crate) fn check(kind: DeviceKind, spec: &RunSpec) -> Result<(), TrainError> {
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
    if let Some(finetune) = &spec.finetune {
        finetune.check(spec.method)?;
    }
    if let Method::Baseline(entry) = spec.method {
        if spec.device != DeviceKind::Cpu {
            return Err(TrainError::CpuOnly(entry.name));
        }
        spec.settings()?;
    }
    let anchor = &spec.config.anchor;
    given::check_method(anchor, spec.method)?;
    let around = spec.method == Method::Spar && anchor.file.is_some();
    if spec.method == Method::Spar && anchor.method.is_some() && !around {
        let why = "`anchor.method` names the policy to be around, and `anchor.file` does not say \
                   where it is: train that method first, as `spar train` does";
        return Err(TrainError::Config(why.to_owned()));
    }
    if around && spec.device != DeviceKind::Cpu {
        return Err(TrainError::CpuOnly(AROUND));
    }
    if around && anchor.sha256.is_none() {
        let why = "`anchor.sha256` is missing beside `anchor.file`: a spec says which policy it \
                   is; `TrainConfig::pinned` finds it";
        return Err(TrainError::Config(why.to_owned()));
    }
    if spec.device != DeviceKind::Cpu {
        let config = &spec.config;
        for (name, precision) in [
            ("precision", config.precision),
            ("detached_precision", config.detached_precision),
        ] {
            // An anchor's training has no passes without gradients.
            let reaches = name == "precision" || spec.method != Method::Bc;
            if reaches && !precision.is_single() {
                return Err(TrainError::Config(format!(
                    "`{name}` is {}, expected f32: only the CPU has it, and the device is {}",
                    precision.name(),
                    spec.device.name()
                )));
            }
        }
    }
    if spec.device != kind {
        return Err(TrainError::Config(format!(
            "`device` is {}, but the updates would be computed on {}",
            spec.device.name(),
            kind.name()
        )));
    }
    // Nothing of what follows reaches an anchor's training.
    if spec.device == DeviceKind::Cpu || spec.method != Method::Spar {
        return Ok(());
    }
    if !spec.config.rectify.ablation.is_none() {
        return Err(TrainError::CpuOnly("spar with an ablation"));
    }
    Ok(())
}

/// A run, fine-tuned `from` the state of an offline one if its spec says so.
pub(crate) fn run_with<'k>(
    backend: Box<dyn Backend<'k> + 'k>,
    spec: &RunSpec,
    data: &Transitions,
    out: &Path,
    control: Control<'_>,
    from: Option<&State>,
) -> Result<RunRecord, TrainError> {
    check(backend.kind(), spec)?;
    check_rewards(spec.method, data)?;
    if spec.finetune.is_some() != from.is_some() {
        let why =
            "a run with `finetune` starts from an offline run's checkpoint, and no other does";
        return Err(TrainError::Config(why.to_owned()));
    }
    // Borrowed for no longer than what is prepared here.
    let control = Control {
        anchor: control.anchor,
        commit: control.commit,
        command: control.command,
        stop_after: control.stop_after,
        stop: control.stop,
        every: control.every,
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
    folder.check_length(spec, checkpoint.as_ref())?;
    let anchor = control.anchor.as_deref();
    let mut trainer = standing(backend, spec, data, anchor, checkpoint.as_ref(), from)?;
    // Last: a run that is refused changes nothing in the folder.
    folder.begin(spec)?;
    let mut session = Session::new(spec, held, folder, control, checkpoint.as_ref())?;
    if spec.finetune.is_some() && session.reported.offline_returns.is_empty() {
        session.score_offline(&trainer.policy()?)?;
    }
    loop {
        session.stage(&mut trainer)?;
        if !trainer.next_stage()? {
            break;
        }
    }
    session.finish(&trainer.policy()?)
}

/// The trainer of the run `spec`, where its `checkpoint`, if there is one, or the run it is
/// fine-tuned `from` left off.
fn standing<'k>(
    backend: Box<dyn Backend<'k> + 'k>,
    spec: &RunSpec,
    data: &Transitions,
    anchor: Option<&Path>,
    checkpoint: Option<&State>,
    from: Option<&State>,
) -> Result<Trainer<'k>, TrainError> {
    let config = spec.config.clone();
    let mut trainer = Trainer::start(backend, spec.method, config, data, spec.seed)?;
    if let Some(given) = trainer.given() {
        let bounds = spec.offline.as_ref().map(|offline| &offline.action_bounds);
        given.check_bounds(&spec.config.anchor, bounds)?;
        if anchor.is_some() {
            let why = "there is an anchor run, and `anchor.file` is the anchor: give one of them";
            return Err(TrainError::Config(why.to_owned()));
        }
    }
    let own = |state: &State| state.get_count(spec.method.counter()).is_ok();
    match (checkpoint, anchor) {
        _ if spec.finetune.is_some() => trainer.go_online(spec, from, checkpoint)?,
        (Some(state), _) if own(state) => trainer.load(state)?,
        (_, Some(folder)) if spec.method.anchored() && spec.method != Method::Bc => {
            trainer.take_anchor(&read_anchor(folder, spec)?)?;
        }
        (Some(state), _) => trainer.load(state)?,
        (None, _) => {}
    }
    Ok(trainer)
}

/// A run under way.
struct Session<'a> {
    spec: &'a RunSpec,
    /// What the policy is compared with where it is not evaluated.
    held: Option<&'a Held>,
    folder: Folder,
    control: Control<'a>,
    reported: Reported,
    /// Where the numbers are shown.
    sinks: Vec<Box<dyn Sink>>,
    /// What the last line of the log says.
    metrics: Metrics,
    pace: Pace,
    /// Seconds spent before this process, and its start.
    spent: f64,
    started: Instant,
    reported_at: Instant,
    /// Whether the run was asked to stop: it does after the next update.
    asked: bool,
    /// Whether nobody listens any more.
    orphaned: bool,
}

impl<'a> Session<'a> {
    fn new(
        spec: &'a RunSpec,
        held: Option<&'a Held>,
        folder: Folder,
        control: Control<'a>,
        checkpoint: Option<&State>,
    ) -> Result<Self, TrainError> {
        let reported = match checkpoint {
            Some(state) => {
                let done = state.get_count(spec.counter());
                Reported::read(state, done.is_ok_and(|done| done == spec.updates()))?
            }
            None => Reported::default(),
        };
        let mut session = Self {
            spent: reported.wall_s,
            reported,
            sinks: sink::all(folder.path()),
            metrics: Metrics::default(),
            pace: Pace::default(),
            asked: false,
            orphaned: false,
            started: Instant::now(),
            reported_at: Instant::now(),
            spec,
            held,
            folder,
            control,
        };
        session.begin_reporting()?;
        Ok(session)
    }

    /// Every update of the stage that `trainer` is in, with all that follows one.
    fn stage(&mut self, trainer: &mut Trainer<'_>) -> Result<(), TrainError> {
        let config = &self.spec.config;
        let (phase, last) = (trainer.phase(), trainer.last_update());
        self.metrics = Metrics::default();
        self.pace.begin(phase, trainer.updates());
        while trainer.update()? {
            let update = trainer.updates();
            if trainer.at_hand() || self.is_read(update, last) {
                if !trainer.is_finite()? {
                    return Err(self.diverged(trainer)?);
                }
                self.log(trainer)?;
            }
            if phase == self.spec.phase() && update.is_multiple_of(config.eval_every) {
                let began = Instant::now();
                let policy = trainer.policy()?;
                self.curve_point(update, &policy, config.eval_episodes)?;
                self.pace.leave_out(began.elapsed());
            }
            self.after_update(trainer)?;
        }
        Ok(())
    }

    /// Whether what `update` measured is needed: for the log, or because what it
    /// led to is about to be kept or evaluated.
    fn is_read(&self, update: u64, last: u64) -> bool {
        let config = &self.spec.config;
        let every = [LOG_EVERY, config.checkpoint_every, config.eval_every];
        every.iter().any(|&n| update.is_multiple_of(n))
            || update == last
            || self.control.stop_after == Some(update)
            || self.asked
    }

    /// Checkpoint, progress and stopping: what follows every update.
    fn after_update(&mut self, trainer: &mut Trainer<'_>) -> Result<(), TrainError> {
        let (update, last) = (trainer.updates(), trainer.last_update());
        let stop = (self.control.stop_after == Some(update) || self.asked) && update < last;
        let every = self.spec.config.checkpoint_every;
        if update.is_multiple_of(every) || update == last || stop {
            self.checkpoint(trainer.save()?)?;
        }
        if stop {
            return Err(match self.orphaned {
                true => TrainError::Orphaned,
                false => TrainError::Stopped(update),
            });
        }
        let due = match self.control.every {
            Some(every) => update.is_multiple_of(every) || update == last,
            None => self.reported_at.elapsed() > REPORT_EVERY,
        };
        if due {
            self.reported_at = Instant::now();
            if self.control.every.is_some() {
                self.metrics = trainer.metrics()?;
            }
            self.orphaned = self.report(trainer.phase(), update).is_err();
        }
        // The next update is the last then: its losses are read before it is kept.
        self.asked = self.orphaned || (self.control.stop)();
        Ok(())
    }

    fn checkpoint(&mut self, mut state: State) -> Result<(), TrainError> {
        self.reported.wall_s = self.wall_s();
        self.reported.save(&mut state)?;
        self.folder.write_checkpoint(state, self.spec)
    }

    fn report(&mut self, phase: Phase, update: u64) -> Result<(), TrainError> {
        let config = &self.spec.config;
        let anchor = match self.control.anchor {
            Some(_) => 0,
            None => self.spec.anchor_updates(),
        };
        let (before, total) = match (self.spec.method, phase) {
            _ if self.spec.finetune.is_some() => (0, self.spec.updates()),
            (Method::Bc, _) => (0, anchor),
            (_, Phase::Anchor) => (0, anchor + config.updates),
            _ => (anchor, anchor + config.updates),
        };
        let progress = Progress {
            done: before + update,
            total,
            phase,
            updates_per_s: self.pace.since_shown(update),
            metrics: &self.metrics,
        };
        (self.control.report)(progress).map_err(|_| TrainError::Orphaned)
    }

    fn wall_s(&self) -> f64 {
        self.spent + self.started.elapsed().as_secs_f64()
    }
}

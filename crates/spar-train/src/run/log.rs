//! What a run says of its updates: the lines of `metrics.jsonl`, which are there as soon as
//! they are known, their copies for other programs, and the file a diverged run leaves.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use spar_baselines::Metrics;
use spar_core::RunStamp;
use spar_nn::{State, StateError};

use super::{LOG_EVERY, Session};
use crate::{
    control::Phase,
    error::TrainError,
    folder::{CurvePoint, ValidationPoint},
    sink::{self, Point},
    trainer::Trainer,
};

/// The file of the lines.
const LOG: &str = "metrics.jsonl";

/// The groups of points of the curves.
const EVAL: &str = "eval";
const VALIDATION: &str = "validation";

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
struct Line {
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<u64>,
    /// In the place of the update where a step in the environment is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    #[serde(flatten)]
    metrics: Metrics,
}

/// The first line of `metrics.jsonl`: whose it is.
#[derive(Serialize)]
struct Head {
    run: RunStamp,
}

/// When a point was measured, which no file of a run's results says.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Moment {
    at: f64,
    updates_per_s: Option<f64>,
}

/// The name that a point's [`Moment`] is kept under.
fn moment_of(group: &str, update: u64) -> String {
    format!("{group}/{update}")
}

/// What a run has said until now, kept in every checkpoint.
#[derive(Default)]
pub(super) struct Reported {
    /// Lines of `metrics.jsonl` after its head.
    pub(super) lines: Vec<String>,
    /// Its last line where that is one only because the run ends there: a longer run
    /// goes on without it.
    pub(super) last_line: Option<String>,
    /// Points of the learning curve.
    pub(super) curve: Vec<CurvePoint>,
    /// Points of the validation curve, where there is no environment.
    pub(super) validation: Vec<ValidationPoint>,
    /// Returns of the policy that is fine-tuned, of the final evaluation's episodes; none of
    /// a run that is not.
    pub(super) offline_returns: Vec<f64>,
    /// When each was said, for the sinks.
    pub(super) moments: BTreeMap<String, Moment>,
    /// Seconds spent.
    pub(super) wall_s: f64,
}

impl Reported {
    /// Everything said, as sinks take it, but for the curves' points of the last update,
    /// which the final evaluation gives. What checkpoints from before there were sinks do
    /// not say the time of was said at `at`.
    fn points(&self, last: u64, at: f64) -> Result<Vec<Point>, TrainError> {
        let lines = self.lines.iter().chain(&self.last_line);
        let lines = lines.map(|line| self.point_of(line, at));
        let curve = self.curve.iter().filter(|p| p.update < last);
        let curve = curve.map(|p| Ok(self.curve_point(p, at)));
        let validation = self.validation.iter().filter(|p| p.update < last);
        let validation = validation.map(|p| Ok(self.validation_point(p, at)));
        lines.chain(curve).chain(validation).collect()
    }

    fn point(&self, group: &str, update: u64, values: Vec<(String, f64)>, at: f64) -> Point {
        let moment = self.moments.get(&moment_of(group, update));
        Point {
            group: group.to_owned(),
            update,
            values,
            at: moment.map_or(at, |moment| moment.at),
            updates_per_s: moment.and_then(|moment| moment.updates_per_s),
        }
    }

    /// The point that a line of the log is.
    fn point_of(&self, line: &str, at: f64) -> Result<Point, TrainError> {
        let mut fields: Map<String, Value> = serde_json::from_str(line).map_err(io::Error::from)?;
        let group = fields.remove("phase");
        let (update, step) = (fields.remove("update"), fields.remove("step"));
        let update = update.or(step).and_then(|update| update.as_u64());
        let values = fields.iter();
        let values = values.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        let group = group.as_ref().and_then(Value::as_str).unwrap_or_default();
        Ok(self.point(group, update.unwrap_or_default(), values.collect(), at))
    }

    fn curve_point(&self, point: &CurvePoint, at: f64) -> Point {
        let score = point.normalized_score;
        let score = score.map(|score| ("normalized_score".to_owned(), score));
        let values = [("mean_return".to_owned(), point.mean_return)];
        let values = values.into_iter().chain(score).collect();
        self.point(EVAL, point.update, values, at)
    }

    fn validation_point(&self, point: &ValidationPoint, at: f64) -> Point {
        let values = vec![("validation_mse".to_owned(), point.validation_mse)];
        self.point(VALIDATION, point.update, values, at)
    }

    /// What `state` holds. `ends` says whether the run that resumes from it ends there.
    pub(super) fn read(state: &State, ends: bool) -> Result<Self, StateError> {
        fn entry<T: DeserializeOwned>(state: &State, name: &str) -> Result<T, StateError> {
            let text = state.metadata.get(name);
            let value = text.and_then(|text| serde_json::from_str(text).ok());
            value.ok_or_else(|| StateError::Missing(name.to_owned()))
        }
        Ok(Self {
            lines: entry(state, "log")?,
            last_line: if ends {
                entry(state, "log.last")?
            } else {
                None
            },
            curve: entry(state, "curve")?,
            // Checkpoints of runs with an environment have none.
            validation: match state.metadata.contains_key("validation") {
                true => entry(state, "validation")?,
                false => Vec::new(),
            },
            offline_returns: match state.metadata.contains_key("offline.returns") {
                true => entry(state, "offline.returns")?,
                false => Vec::new(),
            },
            // Checkpoints of earlier versions have none.
            moments: match state.metadata.contains_key("log.moments") {
                true => entry(state, "log.moments")?,
                false => BTreeMap::new(),
            },
            wall_s: entry(state, "wall_s")?,
        })
    }

    /// Adds it to `state`.
    pub(super) fn save(&self, state: &mut State) -> Result<(), TrainError> {
        let entries = [
            ("log", serde_json::to_string(&self.lines)),
            ("log.last", serde_json::to_string(&self.last_line)),
            ("curve", serde_json::to_string(&self.curve)),
            ("log.moments", serde_json::to_string(&self.moments)),
            ("wall_s", serde_json::to_string(&self.wall_s)),
        ];
        for (name, text) in entries {
            let text = text.map_err(io::Error::from)?;
            state.metadata.insert(name.to_owned(), text);
        }
        if !self.offline_returns.is_empty() {
            let text = serde_json::to_string(&self.offline_returns).map_err(io::Error::from)?;
            state.metadata.insert("offline.returns".to_owned(), text);
        }
        if !self.validation.is_empty() {
            let text = serde_json::to_string(&self.validation).map_err(io::Error::from)?;
            state.metadata.insert("validation".to_owned(), text);
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Keeps what the last update of `trainer` measured, where the log has a line of it.
    pub(super) fn log(&mut self, trainer: &mut Trainer<'_>) -> Result<(), TrainError> {
        let (phase, update) = (trainer.phase(), trainer.updates());
        let regular = update.is_multiple_of(LOG_EVERY);
        if !regular && update != trainer.last_update() {
            return Ok(());
        }
        let metrics = trainer.metrics()?;
        let online = phase == Phase::Online;
        let line = Line {
            phase,
            update: (!online).then_some(update),
            step: online.then_some(update),
            metrics: metrics.clone(),
        };
        let text = serde_json::to_string(&line).map_err(io::Error::from)?;
        let moment = Moment {
            at: spar_core::files::unix_time(),
            updates_per_s: self.pace.since_logged(phase, update),
        };
        self.metrics = metrics;
        self.reported
            .moments
            .insert(moment_of(phase.name(), update), moment);
        let point = self.reported.point_of(&text, moment.at)?;
        if phase == self.spec.phase() && !regular {
            self.reported.last_line = Some(text.clone());
        } else {
            self.reported.lines.push(text.clone());
        }
        // The file has every line from the moment it is known; on resuming, those after the
        // checkpoint are cut.
        if !self.folder.append(LOG, &format!("{text}\n"))? {
            self.write_log()?;
        }
        self.show(&point)
    }

    /// Copies a point to every sink.
    fn show(&mut self, point: &Point) -> Result<(), TrainError> {
        for sink in &mut self.sinks {
            sink.point(point)?;
        }
        Ok(())
    }

    /// Begins files and sinks with what the run has said up to its checkpoint.
    pub(super) fn begin_reporting(&mut self) -> Result<(), TrainError> {
        self.write_reported()?;
        let at = spar_core::files::unix_time();
        let spec = serde_json::to_value(self.spec).map_err(io::Error::from)?;
        let settings = sink::leaves(&spec);
        let run = sink::About { settings, at };
        let so_far = self.reported.points(self.spec.updates(), at)?;
        for sink in &mut self.sinks {
            sink.begin(&run, &so_far)?;
        }
        Ok(())
    }

    /// Writes the curve after its last point, and shows that: of the last update only once
    /// it `is_final`, since the final evaluation takes its place.
    pub(super) fn write_last_point(&mut self, is_final: bool) -> Result<(), TrainError> {
        let at = spar_core::files::unix_time();
        let moment = Moment {
            at,
            updates_per_s: None,
        };
        let last = match (self.reported.curve.last(), self.reported.validation.last()) {
            (Some(point), _) => self.reported.curve_point(point, at),
            (None, Some(point)) => self.reported.validation_point(point, at),
            (None, None) => return Ok(()),
        };
        let name = moment_of(&last.group, last.update);
        self.reported.moments.insert(name, moment);
        self.write_curves()?;
        if last.update < self.spec.updates() || is_final {
            self.show(&Point { at, ..last })?;
        }
        Ok(())
    }

    /// Writes `metrics.jsonl` and the curve.
    pub(super) fn write_reported(&mut self) -> Result<(), TrainError> {
        self.write_log()?;
        self.write_curves()
    }

    fn write_log(&mut self) -> Result<(), TrainError> {
        let run = self.spec.identity()?.stamp();
        let mut text = serde_json::to_string(&Head { run }).map_err(io::Error::from)?;
        text.push('\n');
        for line in self.reported.lines.iter().chain(&self.reported.last_line) {
            text.push_str(line);
            text.push('\n');
        }
        self.folder.write(LOG, text.as_bytes())
    }

    /// Writes `eval.csv`; without an environment `validation.csv`, unless nothing is held out.
    fn write_curves(&mut self) -> Result<(), TrainError> {
        match self.held {
            None => {
                let online = self.spec.finetune.is_some();
                self.folder.write_curve(&self.reported.curve, online)
            }
            Some(held) if held.episodes.is_empty() => Ok(()),
            Some(_) => self.folder.write_validation(&self.reported.validation),
        }
    }

    /// Writes the diagnostic file of a diverged run and returns its error.
    pub(super) fn diverged(&mut self, trainer: &mut Trainer<'_>) -> Result<TrainError, TrainError> {
        let range = |values: &[f32]| {
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            [low, high]
        };
        let (phase, update) = (trainer.phase(), trainer.updates());
        let metrics = trainer.metrics()?;
        let batch = trainer.batch();
        let content = serde_json::json!({
                "phase": phase,
                "update": update,
                // JSON has no NaN: what is not finite reads null here.
                "metrics": metrics,
                "batch_range": {
                    "obs": range(&batch.obs),
                    "actions": range(&batch.actions),
                    "rewards": range(&batch.rewards),
                    "next_obs": range(&batch.next_obs),
                },
                "reward_scale": trainer.reward_scale(),
                "spec": self.spec,
        });
        let name = "diagnostic.json";
        self.folder.write_json(name, &content)?;
        Ok(TrainError::NonFinite {
            phase: phase.name(),
            update,
            diagnostic: self.folder.file(name),
        })
    }
}

//! What `spar train` asks and says where there is no environment.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use spar_core::{RunRecord, Validation, units::is_outside};
use spar_data::{ActionBounds, BoundsSource, Dataset, Transitions};
use spar_train::{Offline, RunSpec};

use super::train::task_of;
use crate::{failure::Usage, output};

/// Where those options stand in the help.
const HEADING: &str = "A run without an environment";

/// Options of a run without an environment.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct OfflineArgs {
    /// Part of the episodes that is held out of training, to validate the policy on: at
    /// least one of two or more; 0 for none [default: 0.1]
    #[arg(long, value_name = "PART", value_parser = part, conflicts_with = "suite", help_heading = HEADING)]
    held_out: Option<f64>,
    /// Steps after which an episode counts as cut in data that flag no cuts [default: none
    /// is cut]
    #[arg(long, value_name = "N", value_parser = super::counts(u32::MAX), conflicts_with = "suite", help_heading = HEADING)]
    horizon: Option<u32>,
    /// Bounds of actions, LOW,HIGH for all components or LOW,HIGH,LOW,HIGH,... for each
    /// [default: those the data declare, else -1,1, or the data's own range if it is wider]
    #[arg(
        long,
        value_name = "LOW,HIGH",
        value_delimiter = ',',
        allow_hyphen_values = true,
        conflicts_with = "suite",
        help_heading = HEADING
    )]
    action_bounds: Vec<f32>,
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..1.0).contains(part));
    part.ok_or_else(|| "expected a number from 0 to below 1".to_owned())
}

impl OfflineArgs {
    /// The first of the options that is given.
    pub(super) fn first(&self) -> Option<&'static str> {
        let given = [
            ("--held-out", self.held_out.is_some()),
            ("--horizon", self.horizon.is_some()),
            ("--action-bounds", !self.action_bounds.is_empty()),
        ];
        given.into_iter().find(|(_, is)| *is).map(|(name, _)| name)
    }

    /// Whether a horizon cuts episodes that the data do not.
    pub(super) fn cuts(&self) -> bool {
        self.horizon.is_some()
    }

    /// What they mean for `data`, with a note where the bounds are the data's own range.
    pub(super) fn of(&self, data: &Dataset) -> Result<Offline> {
        Ok(Offline {
            held_out: self.held_out.unwrap_or(Offline::HELD_OUT),
            horizon: self.horizon.map(|horizon| horizon as usize),
            action_bounds: self.bounds(data)?,
        })
    }

    fn bounds(&self, data: &Dataset) -> Result<ActionBounds> {
        let pairs: Vec<(f32, f32)> = match self.action_bounds.as_slice() {
            [] => {
                let (bounds, source) = data.bounds();
                if source == BoundsSource::Range {
                    let (low, high) = bounds.components()[0];
                    output::note(&format!(
                        "the data declare no bounds of actions: their own range is taken, of \
                         action 0 [{low}, {high}]; --action-bounds gives others"
                    ));
                }
                return Ok(bounds);
            }
            &[low, high] => vec![(low, high); data.act_dim],
            each if each.len() == 2 * data.act_dim => each
                .chunks_exact(2)
                .map(|pair| (pair[0], pair[1]))
                .collect(),
            each => {
                return Err(Usage(format!(
                    "--action-bounds has {} numbers, expected 2, or {} for the {} components of \
                     an action",
                    each.len(),
                    2 * data.act_dim,
                    data.act_dim
                ))
                .into());
            }
        };
        let given = ActionBounds::try_from(pairs.clone());
        let given = given.map_err(|e| Usage(format!("--action-bounds: {e}")))?;
        for (i, &(low, high)) in pairs.iter().enumerate() {
            let mut of_component = data.actions.iter().skip(i).step_by(data.act_dim);
            if low == high && of_component.any(|&a| a != low) {
                let why = format!(
                    "--action-bounds: component {i} has the one value {low}, and the data have \
                     others; give its lowest and highest"
                );
                return Err(Usage(why).into());
            }
        }
        let beyond = data.actions.chunks_exact(data.act_dim).filter(|action| {
            let mut each = action.iter().zip(&pairs);
            each.any(|(&a, &bounds)| is_outside(a, bounds))
        });
        let (count, rows) = (beyond.count(), data.rows());
        if count > 0 {
            output::note(&format!(
                "actions of {count} of {rows} rows lie outside --action-bounds: a policy cannot do \
                 the same; give bounds that hold them"
            ));
        }
        Ok(given)
    }
}

/// Says on stderr what a run without an environment holds out, and what it does without.
pub(super) fn describe(spec: &RunSpec, data: &Transitions) {
    let Some(offline) = &spec.offline else {
        return;
    };
    let held = offline.held_out(data, spec.eval_seed);
    let rows: usize = held.iter().map(|held| held.rows.len()).sum();
    let all = data.dataset().episodes(offline.horizon()).count();
    let validated = match (held.len(), all) {
        (0, 1) => "the data have one episode, so none is held out and nothing is validated".into(),
        (0, _) => "no episode is held out and nothing is validated".to_owned(),
        (count, all) => format!(
            "held out of training: {count} of {all} episodes ({rows} rows); \
             validation.csv says how far the policy's actions are from theirs"
        ),
    };
    let env = task_of(&spec.dataset).map_or_else(String::new, |task| {
        let env = task.env();
        format!("; these are data of {env}: --env {env} evaluates the policy")
    });
    output::note(&format!(
        "no environment: there are no returns and no score; {validated}{env}"
    ));
    let set = data.dataset();
    let marked = set.timeouts.is_some() || set.ends.is_some() || set.breaks.is_some();
    if !marked && offline.horizon.is_none() {
        output::note(
            "the data flag no cuts (`timeouts`) and record no successors: episodes end at \
             `terminals` alone; --horizon N cuts them after N steps",
        );
    }
}

/// What `train --json` ends with where there is no environment.
#[derive(Serialize)]
struct Validated {
    /// There is none: the same field as of a run that has one.
    env: Option<String>,
    policy: String,
    /// Seed of which episodes are held out.
    seed: u64,
    unit: &'static str,
    /// Absent where no episode is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_mse: Option<f64>,
    held_out_episodes: usize,
    held_out_rows: usize,
}

/// Says how the policy of `record` did on what was held out.
pub(super) fn end(folder: &Path, record: &RunRecord, json: bool, silent: bool) -> Result<()> {
    let found = record.validation;
    let count = |field: fn(Validation) -> usize| found.map_or(0, field);
    let validated = Validated {
        env: record.env.clone(),
        policy: folder.join("policy.safetensors").display().to_string(),
        seed: record.eval_seed,
        unit: "validation_mse",
        validation_mse: found.map(|found| found.mse),
        held_out_episodes: count(|found| found.episodes),
        held_out_rows: count(|found| found.rows),
    };
    if json {
        return output::json(&validated);
    }
    if silent {
        return Ok(());
    }
    let Validated {
        validation_mse,
        held_out_episodes,
        held_out_rows,
        ..
    } = validated;
    let mse = validation_mse.map_or_else(|| "none".to_owned(), |mse| format!("{mse:.6}"));
    output::facts(&[
        (
            "episodes held out",
            format!("{held_out_episodes} ({held_out_rows} rows)"),
        ),
        ("validation mse", mse),
        ("score", "none: no environment".to_owned()),
    ])
}

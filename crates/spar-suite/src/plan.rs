//! Decides which runs a suite asks for, in which order they start and which
//! are done already. Pure functions: what happens to processes is in
//! `execute`, what is read from disk in `session`.

use std::{collections::BTreeMap, fmt::Display};

use spar_core::{FinishedRun, RunIdentity, Scope, Suite, TaskId};

/// What `spar protocol --settings` says of the runs of one task and method.
pub use spar_core::ColumnSettings as Settings;

use crate::Usage;

/// What of a suite is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Name of the suite.
    pub suite: String,
    /// Name of the preset.
    pub preset: String,
    /// What computes the updates: `cpu` or `cuda`.
    pub device: String,
    /// Tasks, in the suite's order.
    pub tasks: Vec<TaskId>,
    /// Methods, in the suite's order.
    pub methods: Vec<String>,
    /// Training seeds.
    pub seeds: Vec<u64>,
    /// Rows of locally generated `medium` data.
    pub data_rows: usize,
    /// Those of the methods whose runs grow out of their anchor's.
    pub anchored: Vec<String>,
    /// Those of the methods that are SPAR with other settings.
    pub variants: Vec<String>,
    /// What every run of a task and method is made with, as `spar` says.
    pub settings: BTreeMap<(TaskId, String), Settings>,
}

impl Selection {
    /// The named part of `suite`, on the CPU; an empty list means all of the
    /// suite's table. Methods may also be those the suite only has settings for;
    /// `all` means every one.
    ///
    /// # Errors
    /// One line listing what there is, for a name that is not there.
    pub fn new(
        suite: &Suite,
        preset: &str,
        tasks: &[String],
        methods: &[String],
        seeds: &[u64],
    ) -> Result<Self, Usage> {
        let usage = |e: spar_core::suite::SuiteError| Usage(e.to_string());
        let chosen = suite.preset(preset).map_err(usage)?;
        let tasks = choose(&suite.name, "task", &suite.tasks, tasks)?;
        let asked = suite.asked_methods(methods);
        let methods = choose(&suite.name, "method", &suite.all_methods(), &asked)?;
        Ok(Self {
            suite: suite.name.clone(),
            preset: preset.to_owned(),
            device: "cpu".to_owned(),
            tasks,
            settings: BTreeMap::new(),
            anchored: methods
                .iter()
                .filter(|method| suite.anchored(method))
                .cloned()
                .collect(),
            variants: methods
                .iter()
                .filter(|method| suite.variant.contains_key(*method))
                .cloned()
                .collect(),
            methods,
            seeds: if seeds.is_empty() {
                chosen.seeds.clone()
            } else {
                let mut seeds = seeds.to_vec();
                seeds.sort_unstable();
                seeds.dedup();
                seeds
            },
            data_rows: chosen.data_rows,
        })
    }
}

fn choose<T: Display + Clone>(
    suite: &str,
    what: &str,
    all: &[T],
    asked: &[String],
) -> Result<Vec<T>, Usage> {
    if let Some(got) = asked
        .iter()
        .find(|name| all.iter().all(|x| x.to_string() != **name))
    {
        let expected: Vec<_> = all.iter().map(T::to_string).collect();
        let expected = expected.join(", ");
        return Err(Usage(format!(
            "suite `{suite}` has no {what} `{got}`; expected one of: {expected}"
        )));
    }
    let wanted = |x: &&T| asked.is_empty() || asked.contains(&x.to_string());
    Ok(all.iter().filter(wanted).cloned().collect())
}

impl Selection {
    /// What runs have in common that may share a process: all that decides the launches of
    /// an update, as far as the settings say.
    fn kind(&self, run: &Run) -> String {
        let settings = self.settings.get(&(run.task, run.method.clone()));
        let config = settings.map(|settings| &settings.spec["config"]);
        let (env, method) = (run.task.env(), &run.method);
        let widths = [env.obs_dim(), env.act_dim()];
        serde_json::json!([method, run.anchored, widths, config]).to_string()
    }
}

/// Groups of at most `most` runs, by their places, that may share a process on a GPU: of one
/// method, with equal settings and widths. Those that wait for an anchor come behind all that
/// do not.
pub fn groups(
    runs: &[Run],
    waits_for: &[Option<usize>],
    selection: &Selection,
    most: usize,
) -> Vec<Vec<usize>> {
    let mut groups: Vec<(bool, String, Vec<usize>)> = Vec::new();
    for (place, (run, before)) in runs.iter().zip(waits_for).enumerate() {
        let (waits, kind) = (before.is_some(), selection.kind(run));
        let open = groups.iter_mut().find(|(group_waits, group_kind, group)| {
            (*group_waits, group_kind) == (waits, &kind) && group.len() < most.max(1)
        });
        match open {
            Some((_, _, group)) => group.push(place),
            None => groups.push((waits, kind, vec![place])),
        }
    }
    // Stable: else in the order of the runs.
    groups.sort_by_key(|(waits, ..)| *waits);
    groups.into_iter().map(|(_, _, group)| group).collect()
}

/// One training run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it is trained and evaluated on.
    pub task: TaskId,
    /// `bc`, `spar`, or another method of the suite.
    pub method: String,
    /// Training seed.
    pub seed: u64,
    /// Whether it grows out of the run `bc` of its task and seed.
    pub anchored: bool,
}

impl Run {
    /// `hopper-medium/spar/seed-0`: the run's name, and its folder below the
    /// suite's.
    pub fn name(&self) -> String {
        format!("{}/{}/seed-{}", self.task, self.method, self.seed)
    }

    /// The run whose policy this one is anchored to.
    pub fn anchor(&self) -> Option<Self> {
        self.anchored.then(|| Self {
            method: "bc".to_owned(),
            anchored: false,
            ..self.clone()
        })
    }

    /// The run that this one makes first, in its own folder, to be around its policy.
    pub fn base(&self, selection: &Selection) -> Option<Self> {
        let key = (self.task, self.method.clone());
        let method = selection.settings.get(&key)?.given("method")?;
        Some(Self {
            method: method.to_owned(),
            anchored: false,
            ..self.clone()
        })
    }

    /// Every field in which `done` is not what this run would write on data of this hash,
    /// in words; `None` if there is none.
    pub fn mismatch(
        &self,
        done: &FinishedRun,
        selection: &Selection,
        sha256: &str,
    ) -> Option<String> {
        let Some(here) = self.identity(selection, sha256) else {
            return Some("nobody says what it would be made with now".to_owned());
        };
        let differences = here.differences(&done.identity, Scope::Whole);
        let differing: Vec<String> = differences
            .iter()
            .map(|d| format!("its {} is {}, this plan's {}", d.field, d.there, d.here))
            .collect();
        (!differing.is_empty()).then(|| differing.join("; "))
    }

    /// What decides this run on data of this hash, as far as the selection's settings say.
    pub(crate) fn identity(&self, selection: &Selection, sha256: &str) -> Option<RunIdentity> {
        let key = (self.task, self.method.clone());
        selection.settings.get(&key)?.identity(self.seed, sha256)
    }
}

/// Every run of the selection, in the table's order.
pub fn runs(selection: &Selection) -> Vec<Run> {
    let mut runs = Vec::new();
    let given = |task: TaskId, method: &String| {
        let settings = selection.settings.get(&(task, method.clone()));
        settings.is_some_and(|s| s.given("file").is_some() || s.given("method").is_some())
    };
    for &task in &selection.tasks {
        for method in &selection.methods {
            for &seed in &selection.seeds {
                runs.push(Run {
                    task,
                    method: method.clone(),
                    seed,
                    anchored: selection.anchored.contains(method) && !given(task, method),
                });
            }
        }
    }
    runs
}

/// For each run, the index of the run it waits for: its anchor, where that is
/// among `runs` too.
pub fn waits_for(runs: &[Run]) -> Vec<Option<usize>> {
    let cell = |run: &Run| (run.task, run.seed);
    let anchors = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.method == "bc");
    let anchors: BTreeMap<_, _> = anchors.map(|(place, run)| (cell(run), place)).collect();
    runs.iter()
        .map(|run| anchors.get(&cell(&run.anchor()?)).copied())
        .collect()
}

/// What `spar train --calibrate` measured on this machine.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub struct Calibration {
    /// Updates of the method's own networks in one second.
    pub updates_per_s: f64,
    /// Updates of the anchor in one second.
    pub anchor_updates_per_s: f64,
    /// Updates of one run, without its anchor's.
    pub total_updates: f64,
    /// Updates of one anchor.
    pub anchor_updates: f64,
}

impl Calibration {
    /// Seconds of training of `run`; `anchored` if its anchor comes ready.
    pub fn seconds(&self, run: &Run, anchored: bool) -> f64 {
        let anchor = self.anchor_updates / self.anchor_updates_per_s.max(f64::MIN_POSITIVE);
        let own = self.total_updates / self.updates_per_s.max(f64::MIN_POSITIVE);
        match run.method.as_str() {
            "bc" => anchor,
            _ if run.anchored && !anchored => anchor + own,
            _ => own,
        }
    }
}

/// Costs before anything is measured, in no unit: an anchor is cheap.
pub fn guessed_cost(run: &Run) -> f64 {
    if run.method == "bc" { 1.0 } else { 8.0 }
}

/// Which job starts next: of those whose predecessor has ended, the one with
/// the most work behind it, so that nothing long is left for the end.
#[derive(Debug)]
pub struct Schedule {
    waits_for: Vec<Option<usize>>,
    /// A job's cost and that of the longest chain waiting for it.
    behind: Vec<f64>,
    started: Vec<bool>,
    ended: Vec<bool>,
}

impl Schedule {
    /// Jobs by their costs and the job each waits for. A job that waits for
    /// itself, in however many steps, never starts.
    pub fn new(costs: &[f64], waits_for: &[Option<usize>]) -> Self {
        let mut behind = costs.to_vec();
        // A chain is at most as long as there are jobs; most are of two.
        let mut grew = true;
        for _ in 0..costs.len() {
            if !std::mem::take(&mut grew) {
                break;
            }
            for (job, before) in waits_for.iter().enumerate() {
                if let Some(before) = *before
                    && before != job
                {
                    let chain = costs[before] + behind[job];
                    grew |= chain > behind[before];
                    behind[before] = behind[before].max(chain);
                }
            }
        }
        Self {
            waits_for: waits_for.to_vec(),
            behind,
            started: vec![false; costs.len()],
            ended: vec![false; costs.len()],
        }
    }

    /// The next job to start, which counts as started from now on; `None` if
    /// all have started or wait.
    pub fn start_next(&mut self) -> Option<usize> {
        let ready = |job: &usize| {
            !self.started[*job] && self.waits_for[*job].is_none_or(|before| self.ended[before])
        };
        let job = (0..self.started.len())
            .filter(ready)
            // The first of equals, for a stable order.
            .rev()
            .max_by(|a, b| self.behind[*a].total_cmp(&self.behind[*b]))?;
        self.started[job] = true;
        Some(job)
    }

    /// Says that `job` has ended, well or not: what waits for it may start.
    pub fn ended(&mut self, job: usize) {
        self.ended[job] = true;
    }
}

/// Seconds until `slots` processes side by side have done jobs of these costs:
/// never less than the longest chain.
pub fn makespan(costs: &[f64], waits_for: &[Option<usize>], slots: usize) -> f64 {
    let longest = Schedule::new(costs, waits_for)
        .behind
        .iter()
        .copied()
        .fold(0.0, f64::max);
    longest.max(costs.iter().sum::<f64>() / slots.max(1) as f64)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

//! The training step of a suite: which runs are left, what they
//! will cost, and one `spar train` for each.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
};

use spar_core::{FinishedRun, TaskId};

use crate::{
    Result, RunnerError, below,
    error::io,
    execute::{self, Job, Outcome},
    plan::{self, Calibration, Run, Schedule, Selection, Settings},
    progress::Screen,
    say,
    session::{Prepared, Session},
};

/// What is left of a selection.
pub(crate) struct Left<'d> {
    /// The runs to make, each with its data.
    pub(crate) runs: Vec<(Run, &'d Prepared)>,
    /// For each, the place of its anchor among them, where that is to be made too.
    pub(crate) waits_for: Vec<Option<usize>>,
    /// In words, runs that cannot be made.
    pub(crate) failures: Vec<String>,
}

/// What the runs that are left cost.
pub(crate) struct Costs {
    /// Of each: in seconds where they were measured, else in no unit.
    pub(crate) each: Vec<f64>,
    /// Updates a second of each method, in words, where they were measured.
    pub(crate) rates: Option<String>,
}

/// The folder of the run that `spar train` makes first, within the one around its policy.
const BASE: &str = "anchor";

impl Session<'_> {
    /// The folder of `run`, as its command names it.
    pub(crate) fn folder(&self, run: &Run) -> PathBuf {
        self.out.join(run.name())
    }

    /// What `run` left: `None` without a record, else whether it counts. One
    /// that does not fit `data`, where given, does not; it says why.
    pub(crate) fn record(
        &self,
        run: &Run,
        data: Option<&Prepared>,
    ) -> Option<std::result::Result<(), String>> {
        let folder = self.root.join(self.folder(run));
        let mismatch = match (FinishedRun::read(&folder), data) {
            (Ok(None), _) => return None,
            (Err(error), _) => return Some(Err(error.to_string())),
            (Ok(Some(_)), None) => None,
            (Ok(Some(done)), Some(data)) => run.mismatch(&done, &self.selection, &data.sha256),
        };
        let mismatch = mismatch.or_else(|| {
            let base = run.base(&self.selection)?;
            let data = data?;
            match FinishedRun::read(&folder.join(BASE)) {
                Ok(Some(done)) => base.mismatch(&done, &self.selection, &data.sha256),
                Ok(None) => Some(format!("the run in its folder `{BASE}` is gone")),
                Err(error) => Some(error.to_string()),
            }
        });
        Some(mismatch.map_or(Ok(()), |why| {
            Err(format!(
                "{} does not count: {why}",
                folder.join("DONE").display()
            ))
        }))
    }

    /// Asks `spar` what every run is made with: all of its settings, the defaults among
    /// them, which only the trainer knows.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let Selection {
            preset,
            device,
            tasks,
            methods,
            ..
        } = &self.selection;
        let mut command = self.spar(&["protocol", "--settings", preset, "--device", device]);
        let tasks: Vec<String> = tasks.iter().map(TaskId::to_string).collect();
        command.args(["--tasks", &tasks.join(",")]);
        command.args(["--methods", &methods.join(",")]);
        command.arg("--").arg(&self.suite_file);
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(io(format!("cannot start {}", self.spar.display())))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let mut lines = said.lines().rev();
            let error = lines.find_map(|line| line.strip_prefix("error: "));
            return Err(match error {
                // It names the file and what in it is wrong.
                Some(error) => RunnerError::Settings(error.to_owned()),
                None => {
                    let line = said.lines().last().unwrap_or("it said nothing");
                    let said = format!("{}: {line}", output.status);
                    child("protocol --settings", said)
                }
            });
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let settings: Settings = serde_json::from_str(line)
                .map_err(|e| child("protocol --settings", format!("it printed `{line}`: {e}")))?;
            let key = (settings.task, settings.column.clone());
            self.selection.settings.insert(key, settings);
        }
        Ok(())
    }

    /// Whether `run` is finished, on `data` and with the settings of now.
    pub(crate) fn is_done(&self, run: &Run, data: &Prepared) -> bool {
        matches!(self.record(run, Some(data)), Some(Ok(())))
    }

    /// `spar train` for `run`, as it stands when called: an anchor that is
    /// done is used.
    fn train_command(&self, run: &Run, data: &Prepared) -> Command {
        let seed = run.seed.to_string();
        let task = run.task.to_string();
        let mut command = self.spar(&["train", "--preset", &self.selection.preset]);
        command.arg("--suite").arg(&self.suite_file);
        command.args(["--task", &task, "--seed", &seed]);
        if self.selection.variants.contains(&run.method) {
            command.args(["--method", "spar", "--variant", &run.method]);
        } else {
            command.args(["--method", &run.method]);
        }
        if self.selection.device != "cpu" {
            command.args(["--device", &self.selection.device]);
        }
        command.arg("--dataset").arg(&data.path);
        command.args(["--expect-sha256", &data.sha256]);
        command.arg("--out").arg(self.folder(run));
        if let Some(anchor) = run.anchor().filter(|anchor| self.is_done(anchor, data)) {
            command.arg("--anchor").arg(self.folder(&anchor));
        }
        command
    }

    /// The runs that are left, of those with data, and what is to be said of the others.
    pub(crate) fn left<'d>(&mut self, data: &'d BTreeMap<TaskId, Prepared>) -> Result<Left<'d>> {
        if self.selection.settings.is_empty() {
            self.settle()?;
        }
        let all = plan::runs(&self.selection);
        let total = all.len();
        let left: Vec<Run> = all
            .into_iter()
            .filter(|run| match self.record(run, data.get(&run.task)) {
                None => true,
                Some(Ok(())) => false,
                Some(Err(why)) => {
                    say!("warning: {why}");
                    true
                }
            })
            .collect();
        let (ready, lacking): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|run| data.contains_key(&run.task));
        say!(
            "{total} runs: {} are done, {} to do",
            total - ready.len() - lacking.len(),
            ready.len()
        );
        let runs: Vec<(Run, &Prepared)> = ready
            .into_iter()
            .filter_map(|run| data.get(&run.task).map(|data| (run, data)))
            .collect();
        let plain: Vec<Run> = runs.iter().map(|(run, _)| run.clone()).collect();
        Ok(Left {
            waits_for: plan::waits_for(&plain),
            runs,
            failures: lacking
                .iter()
                .map(|run| format!("{}: it has no data", run.name()))
                .collect(),
        })
    }

    /// Does every run that is left; returns the failures.
    pub(crate) fn train(&mut self, data: &BTreeMap<TaskId, Prepared>) -> Result<Vec<String>> {
        let left = self.left(data)?;
        let Left {
            runs, waits_for, ..
        } = &left;
        let mut failures = left.failures.clone();
        if runs.is_empty() {
            return Ok(failures);
        }
        let costs = self.costs(&left);
        if let Some(rates) = &costs.rates {
            let seconds = plan::makespan(&costs.each, waits_for, self.train_slots);
            say!(
                "estimate: {} for {} runs, {} at a time ({rates}; evaluations are left out, and \
                 runs side by side may slow each other)",
                in_words(seconds),
                runs.len(),
                self.train_slots
            );
        }
        if self.stopped() {
            return Ok(failures);
        }
        if self.together {
            failures.extend(self.train_together(&left, &costs));
            return Ok(failures);
        }
        let jobs: Vec<_> = runs.iter().map(|(run, data)| self.job(run, data)).collect();
        let names = runs.iter().map(|(run, _)| run.name()).collect();
        let measured = costs.rates.is_some();
        let slots = self.train_slots;
        let mut screen = Screen::new(names, &costs.each, measured, waits_for, slots, false);
        let schedule = Schedule::new(&costs.each, waits_for);
        let outcomes = execute::run(&jobs, schedule, slots, &|| self.stopped(), &mut screen);
        for (job, outcome) in jobs.iter().zip(outcomes) {
            if let Outcome::Failed(why) = outcome {
                failures.push(self.failure(job, &why));
            }
        }
        Ok(failures)
    }

    /// The process that trains `run`.
    pub(crate) fn job<'j>(&'j self, run: &'j Run, data: &'j Prepared) -> Job<'j> {
        Job {
            name: run.name(),
            command: Box::new(|| {
                let mut command = self.train_command(run, data);
                command.args(["--progress", "json"]);
                command
            }),
            log: Some(self.root.join(self.folder(run)).join("log.txt")),
        }
    }

    /// That `job` failed, and where to read on.
    pub(crate) fn failure(&self, job: &Job<'_>, why: &str) -> String {
        let log = job.log.clone().unwrap_or_default();
        format!(
            "{}: {why} (log: {})",
            job.name,
            below(self.root, log).display()
        )
    }

    /// What each run costs, in seconds if a short measurement succeeds.
    pub(crate) fn costs(&self, left: &Left<'_>) -> Costs {
        let Left {
            runs, waits_for, ..
        } = left;
        // One measurement a method, on its first run; an anchor's rate comes with
        // every other's.
        let mut measured: BTreeMap<&str, Calibration> = BTreeMap::new();
        let only_anchors = runs.iter().all(|(run, _)| run.method == "bc");
        let guess = || Costs {
            each: runs
                .iter()
                .map(|(run, _)| plan::guessed_cost(run))
                .collect(),
            rates: None,
        };
        for (run, data) in runs {
            let method = run.method.as_str();
            if measured.contains_key(method) || (method == "bc" && !only_anchors) {
                continue;
            }
            match self.calibrate(run, data) {
                Ok(calibration) => drop(measured.insert(method, calibration)),
                Err(error) => {
                    if !self.stopped() {
                        say!("warning: no estimate of the time: {error}");
                    }
                    return guess();
                }
            }
        }
        let Some(anchors) = anchors(&measured) else {
            return guess();
        };
        let each = runs.iter().zip(waits_for).map(|((run, data), before)| {
            let anchored = before.is_some()
                || run
                    .anchor()
                    .is_some_and(|anchor| self.is_done(&anchor, data));
            let calibration = measured.get(run.method.as_str()).unwrap_or(anchors);
            calibration.seconds(run, anchored)
        });
        let rates: Vec<String> = measured
            .iter()
            .map(|(method, c)| match *method {
                "bc" => format!("bc {:.0}", c.anchor_updates_per_s),
                method => format!("{method} {:.0}", c.updates_per_s),
            })
            .collect();
        Costs {
            each: each.collect(),
            rates: Some(format!(
                "updates/s measured for a moment: {}",
                rates.join(", ")
            )),
        }
    }

    fn calibrate(&self, run: &Run, data: &Prepared) -> Result<Calibration> {
        let output = self
            .train_command(run, data)
            .arg("--calibrate")
            .stdin(Stdio::null())
            .output()
            .map_err(io(format!("cannot start {}", self.spar.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().last().unwrap_or("it said nothing");
            return Err(child(
                "train --calibrate",
                format!("{}: {line}", output.status),
            ));
        }
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .map_err(|e| child("train --calibrate", format!("it printed `{line}`: {e}")))
    }
}

/// A time, as a user plans with it.
pub(crate) fn in_words(seconds: f64) -> String {
    let hours = seconds / 3600.0;
    if hours < 2.0 {
        format!("{:.0} minutes", (60.0 * hours).ceil())
    } else {
        format!("{hours:.1} hours")
    }
}

/// A measurement that knows an anchor's rate and length.
fn anchors<'a>(measured: &'a BTreeMap<&str, Calibration>) -> Option<&'a Calibration> {
    let longest =
        |a: &&Calibration, b: &&Calibration| a.anchor_updates.total_cmp(&b.anchor_updates);
    measured.values().max_by(longest)
}

/// What `spar command` said instead of what it was asked for.
fn child(command: &'static str, said: String) -> RunnerError {
    RunnerError::Child { command, said }
}

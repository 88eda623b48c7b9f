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

impl Session<'_> {
    fn folder(&self, run: &Run) -> PathBuf {
        self.out.join(run.name())
    }

    /// What `run` left: `None` without a record, else whether it counts. One
    /// that does not fit `data`, where given, does not; it says why.
    fn record(
        &self,
        run: &Run,
        data: Option<&Prepared>,
    ) -> Option<std::result::Result<(), String>> {
        let folder = self.root.join(self.folder(run));
        let mismatch = match (FinishedRun::read(&folder), data) {
            (Ok(None), _) => return None,
            (Err(error), _) => return Some(Err(error.to_string())),
            (Ok(Some(_)), None) => None,
            (Ok(Some(done)), Some(data)) => {
                run.mismatch(&done, &self.selection, &data.identity.sha256)
            }
        };
        Some(mismatch.map_or(Ok(()), |why| {
            Err(format!(
                "{} does not count: {why}",
                folder.join("DONE").display()
            ))
        }))
    }

    /// Asks `spar` what every run is made with: all of its settings, the defaults among
    /// them, which only the trainer knows.
    fn settle(&mut self) -> Result<()> {
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
            let line = said.lines().last().unwrap_or("it said nothing");
            return Err(child(
                "protocol --settings",
                format!("{}: {line}", output.status),
            ));
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let settings: Settings = serde_json::from_str(line)
                .map_err(|e| child("protocol --settings", format!("it printed `{line}`: {e}")))?;
            let key = (settings.task, settings.column.clone());
            self.selection.settings.insert(key, settings);
        }
        Ok(())
    }

    fn is_done(&self, run: &Run, data: &Prepared) -> bool {
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
        command.arg("--out").arg(self.folder(run));
        if let Some(anchor) = run.anchor().filter(|anchor| self.is_done(anchor, data)) {
            command.arg("--anchor").arg(self.folder(&anchor));
        }
        command
    }

    /// Does every run that is left; returns the failures.
    pub(crate) fn train(&mut self, data: &BTreeMap<TaskId, Prepared>) -> Result<Vec<String>> {
        self.settle()?;
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
        let mut failures: Vec<_> = lacking
            .iter()
            .map(|run| format!("{}: it has no data", run.name()))
            .collect();
        say!(
            "{total} runs: {} are done, {} to do",
            total - ready.len() - lacking.len(),
            ready.len()
        );
        if ready.is_empty() {
            return Ok(failures);
        }
        let runs: Vec<(Run, &Prepared)> = ready
            .into_iter()
            .filter_map(|run| data.get(&run.task).map(|data| (run, data)))
            .collect();
        let plain: Vec<Run> = runs.iter().map(|(run, _)| run.clone()).collect();
        let waits_for = plan::waits_for(&plain);
        let (costs, measured) = self.costs(&runs, &waits_for);
        if self.stopped() {
            return Ok(failures);
        }
        let jobs: Vec<_> = runs
            .iter()
            .map(|(run, data)| Job {
                name: run.name(),
                command: Box::new(|| {
                    let mut command = self.train_command(run, data);
                    command.args(["--progress", "json"]);
                    command
                }),
                log: Some(self.root.join(self.folder(run)).join("log.txt")),
            })
            .collect();
        let names = plain.iter().map(Run::name).collect();
        let mut screen = Screen::new(names, &costs, measured, &waits_for, self.train_slots, false);
        let schedule = Schedule::new(&costs, &waits_for);
        let outcomes = execute::run(
            &jobs,
            schedule,
            self.train_slots,
            &|| self.stopped(),
            &mut screen,
        );
        for (job, outcome) in jobs.iter().zip(outcomes) {
            if let Outcome::Failed(why) = outcome {
                let log = job
                    .log
                    .as_deref()
                    .map(|log| below(self.root, log.to_owned()));
                let log = log.unwrap_or_default();
                failures.push(format!("{}: {why} (log: {})", job.name, log.display()));
            }
        }
        Ok(failures)
    }

    /// What each run costs, in seconds if a short measurement succeeds, and
    /// whether it did. Says how long the whole will take.
    fn costs(&self, runs: &[(Run, &Prepared)], waits_for: &[Option<usize>]) -> (Vec<f64>, bool) {
        // One measurement a method, on its first run; an anchor's rate comes with
        // every other's.
        let mut measured: BTreeMap<&str, Calibration> = BTreeMap::new();
        let only_anchors = runs.iter().all(|(run, _)| run.method == "bc");
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
                    let guess = runs.iter().map(|(run, _)| plan::guessed_cost(run));
                    return (guess.collect(), false);
                }
            }
        }
        let Some(anchors) = anchors(&measured) else {
            return (Vec::new(), false);
        };
        let costs: Vec<f64> = runs
            .iter()
            .zip(waits_for)
            .map(|((run, data), before)| {
                let anchored = before.is_some()
                    || run
                        .anchor()
                        .is_some_and(|anchor| self.is_done(&anchor, data));
                let calibration = measured.get(run.method.as_str()).unwrap_or(anchors);
                calibration.seconds(run, anchored)
            })
            .collect();
        let hours = plan::makespan(&costs, waits_for, self.train_slots) / 3600.0;
        let time = if hours < 2.0 {
            format!("{:.0} minutes", (60.0 * hours).ceil())
        } else {
            format!("{hours:.1} hours")
        };
        let rates: Vec<String> = measured
            .iter()
            .map(|(method, c)| match *method {
                "bc" => format!("bc {:.0}", c.anchor_updates_per_s),
                method => format!("{method} {:.0}", c.updates_per_s),
            })
            .collect();
        say!(
            "estimate: {time} for {} runs, {} at a time (updates/s measured for a moment: {}; \
             evaluations are left out, and runs side by side may slow each other)",
            runs.len(),
            self.train_slots,
            rates.join(", ")
        );
        (costs, true)
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

//! Several runs in one process, which share every launch on a GPU: `spar train-together` trains
//! a group of them, one group after the other.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    below,
    execute::{self, Job, Outcome, Watch},
    plan::{self, Run, Schedule},
    progress::Screen,
    session::Session,
    training::{Costs, Left},
};

/// What the processes said on stderr, in the folder of the runs.
const LOG: &str = "together.txt";

/// A line of `spar train-together`: of a run, by its place in the group.
#[derive(Debug, Deserialize)]
struct Line {
    run: usize,
    said: Said,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// As of `spar train --progress json`.
    Progress(Value),
    Finished,
    Stopped,
    Failed(String),
}

/// Looks on at groups, for whoever looks on at their runs.
struct Groups<'a, W> {
    groups: &'a [Vec<usize>],
    /// How each run ended, as far as it has.
    outcomes: Vec<Option<Outcome>>,
    watch: W,
}

impl<'a, W: Watch> Groups<'a, W> {
    fn new(groups: &'a [Vec<usize>], watch: W) -> Self {
        let runs = groups.iter().map(Vec::len).sum();
        Self {
            groups,
            outcomes: vec![None; runs],
            watch,
        }
    }

    fn run_ended(&mut self, run: usize, outcome: Outcome) {
        if self.outcomes[run].is_none() {
            self.watch.ended(run, &outcome);
            self.outcomes[run] = Some(outcome);
        }
    }
}

impl<W: Watch> Watch for Groups<'_, W> {
    fn started(&mut self, group: usize) {
        for &run in &self.groups[group] {
            self.watch.started(run);
        }
    }

    fn said(&mut self, group: usize, line: &str) {
        let Ok(Line { run, said }) = serde_json::from_str(line) else {
            return;
        };
        let Some(&run) = self.groups[group].get(run) else {
            return;
        };
        match said {
            Said::Progress(progress) => self.watch.said(run, &progress.to_string()),
            Said::Finished => self.run_ended(run, Outcome::Finished(String::new())),
            Said::Stopped => self.run_ended(run, Outcome::Stopped),
            Said::Failed(why) => self.run_ended(run, Outcome::Failed(why)),
        }
    }

    fn logged(&mut self, group: usize, line: &str) {
        if let Some(&run) = self.groups[group].first() {
            self.watch.logged(run, line);
        }
    }

    /// Whatever the process says at its end, it says of the runs it has said nothing of.
    fn ended(&mut self, group: usize, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Finished(_) => Outcome::Failed("its process said nothing of it".to_owned()),
            outcome => outcome.clone(),
        };
        for &run in &self.groups[group] {
            self.run_ended(run, outcome.clone());
        }
    }

    fn tick(&mut self) {
        self.watch.tick();
    }
}

impl Session<'_> {
    /// Does every run of `left` in groups that share a process; returns the failures.
    pub(crate) fn train_together(&self, left: &Left<'_>, costs: &Costs) -> Vec<String> {
        let Left {
            runs, waits_for, ..
        } = left;
        let plain: Vec<Run> = runs.iter().map(|(run, _)| run.clone()).collect();
        let groups = plan::groups(&plain, waits_for, &self.selection, self.train_slots);
        let log = self.root.join(&self.out).join(LOG);
        let jobs: Vec<_> = groups
            .iter()
            .map(|group| self.group(group, left, log.clone()))
            .collect();
        // One after the other: an anchor's group before those that wait for it.
        let behind: Vec<_> = (0..groups.len())
            .map(|group| group.checked_sub(1))
            .collect();
        let sum = |group: &Vec<usize>| group.iter().map(|&run| costs.each[run]).sum();
        let sums: Vec<f64> = groups.iter().map(sum).collect();
        let names = plain.iter().map(Run::name).collect();
        let measured = costs.rates.is_some();
        let slots = self.train_slots;
        let screen = Screen::new(names, &costs.each, measured, waits_for, slots, false);
        let mut watch = Groups::new(&groups, screen);
        let schedule = Schedule::new(&sums, &behind);
        execute::run(&jobs, schedule, 1, &|| self.stopped(), &mut watch);
        let log = below(self.root, log);
        let failed = |(run, outcome): (&Run, Option<Outcome>)| match outcome {
            Some(Outcome::Failed(why)) => {
                Some(format!("{}: {why} (log: {})", run.name(), log.display()))
            }
            _ => None,
        };
        plain
            .iter()
            .zip(watch.outcomes)
            .filter_map(failed)
            .collect()
    }

    /// The process that trains the runs at the places `group`.
    fn group<'j>(&'j self, group: &'j [usize], left: &'j Left<'_>, log: PathBuf) -> Job<'j> {
        let words = |&run: &usize| {
            let (run, data) = &left.runs[run];
            let command = (self.job(run, data).command)();
            let words = command.get_args().map(|word| word.to_string_lossy());
            Value::from_iter(words.map(|word| Value::from(word.into_owned()))).to_string()
        };
        let first = group.first().map(|&run| left.runs[run].0.name());
        Job {
            name: format!("{} runs from {} on", group.len(), first.unwrap_or_default()),
            command: Box::new(move || {
                let mut command = self.spar(&["train-together"]);
                command.args(group.iter().map(words));
                command
            }),
            log: Some(log),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Noted(Vec<String>);

    impl Watch for Noted {
        fn started(&mut self, job: usize) {
            self.0.push(format!("{job} started"));
        }
        fn said(&mut self, job: usize, line: &str) {
            self.0.push(format!("{job} {line}"));
        }
        fn logged(&mut self, job: usize, line: &str) {
            self.0.push(format!("{job} logged {line}"));
        }
        fn ended(&mut self, job: usize, outcome: &Outcome) {
            self.0.push(format!("{job} {outcome:?}"));
        }
        fn tick(&mut self) {}
    }

    #[test]
    fn what_a_process_says_of_its_runs_is_said_of_each() {
        let groups = [vec![2, 0, 3], vec![1]];
        let mut watch = Groups::new(&groups, Noted::default());
        watch.started(0);
        watch.said(0, r#"{"run":1,"said":{"progress":{"done":1}}}"#);
        watch.said(0, r#"{"run":0,"said":"finished"}"#);
        watch.said(0, r#"{"run":1,"said":{"failed":"why"}}"#);
        watch.said(0, r#"{"run":9,"said":"finished"}"#);
        watch.said(0, "nothing of ours");
        watch.ended(0, &Outcome::Failed("exit status: 1".to_owned()));
        watch.started(1);
        watch.ended(1, &Outcome::Finished(String::new()));
        assert_eq!(
            watch.watch.0,
            [
                "2 started",
                "0 started",
                "3 started",
                r#"0 {"done":1}"#,
                r#"2 Finished("")"#,
                r#"0 Failed("why")"#,
                r#"3 Failed("exit status: 1")"#,
                "1 started",
                r#"1 Failed("its process said nothing of it")"#,
            ]
        );
    }
}

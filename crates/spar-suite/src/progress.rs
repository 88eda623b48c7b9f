//! Shows how far the work is: bars on a terminal, a plain line now and then
//! elsewhere. Everything goes to stderr; stdout is for results.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::{
    execute::{Outcome, Watch},
    plan::makespan,
    say,
};

/// A line of `spar train --progress json`.
#[derive(Debug, Deserialize)]
struct Report {
    /// Updates done.
    done: f64,
    /// Updates of the whole run.
    total: f64,
    /// What it is doing.
    phase: String,
}

/// How far one job is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// What the whole job costs.
    pub cost: f64,
    /// Part of it that is done, 0 to 1.
    pub fraction: f64,
    /// Part of it that was done since it was first seen at work: a resumed
    /// job starts at some fraction.
    pub gained: f64,
    /// Seconds in which that was gained.
    pub busy_s: f64,
}

/// Seconds until everything is done with `slots` jobs at a time, from the pace
/// of what was done so far. Before anything was done: by the costs alone if
/// they are seconds, else unknown.
pub fn seconds_left(
    work: &[Work],
    waits_for: &[Option<usize>],
    slots: usize,
    costs_are_seconds: bool,
) -> Option<f64> {
    let cost: f64 = work.iter().map(|w| w.gained * w.cost).sum();
    let busy: f64 = work.iter().map(|w| w.busy_s).sum();
    let pace = if cost > 0.0 {
        busy / cost
    } else if costs_are_seconds {
        1.0
    } else {
        return None;
    };
    let left: Vec<f64> = work
        .iter()
        .map(|w| pace * w.cost * (1.0 - w.fraction))
        .collect();
    Some(makespan(&left, waits_for, slots))
}

/// What is known of a job's time.
#[derive(Clone, Copy, Default)]
struct Seen {
    started: Option<Instant>,
    /// When the job first said how far it was, and how far.
    first: Option<(Instant, f64)>,
    ended: Option<Instant>,
}

/// The onlooker that draws.
pub struct Screen {
    names: Vec<String>,
    waits_for: Vec<Option<usize>>,
    slots: usize,
    costs_are_seconds: bool,
    /// Whether the jobs' stderr is shown.
    shows_log: bool,
    work: Vec<Work>,
    seen: Vec<Seen>,
    phases: Vec<String>,
    bars: Option<Bars>,
    next_line: Instant,
}

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    each: Vec<Option<ProgressBar>>,
}

/// How often a plain line is printed where there is no terminal.
const PLAIN: Duration = Duration::from_secs(30);
/// Steps of a bar.
const STEPS: f64 = 1000.0;

impl Screen {
    /// For jobs of these names and costs; `shows_log` prints their stderr.
    pub fn new(
        names: Vec<String>,
        costs: &[f64],
        costs_are_seconds: bool,
        waits_for: &[Option<usize>],
        slots: usize,
        shows_log: bool,
    ) -> Self {
        let work = costs.iter().map(|&cost| Work {
            cost,
            ..Work::default()
        });
        let bars = stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let overall = all.add(ProgressBar::new(STEPS as u64));
            overall.set_style(style("{wide_msg} {bar:12} {percent:>3}%"));
            let each = vec![None; names.len()];
            Bars { all, overall, each }
        });
        Self {
            waits_for: waits_for.to_vec(),
            slots,
            costs_are_seconds,
            shows_log,
            work: work.collect(),
            seen: vec![Seen::default(); names.len()],
            phases: vec![String::new(); names.len()],
            bars,
            next_line: Instant::now() + PLAIN,
            names,
        }
    }

    fn print(&self, line: &str) {
        match &self.bars {
            // A terminal that is gone is no reason to stop.
            Some(bars) => drop(bars.all.println(line)),
            None => say!("{line}"),
        }
    }

    fn measure(&mut self) {
        for (work, seen) in self.work.iter_mut().zip(&self.seen) {
            let end = seen.ended.unwrap_or_else(Instant::now);
            let (since, fraction) = match (seen.first, seen.started) {
                (Some(first), _) => first,
                (None, Some(started)) => (started, 0.0),
                (None, None) => continue,
            };
            work.gained = work.fraction - fraction;
            work.busy_s = if work.gained > 0.0 {
                end.duration_since(since).as_secs_f64()
            } else {
                0.0
            };
        }
    }

    fn overall(&self) -> (f64, String) {
        let total: f64 = self.work.iter().map(|w| w.cost).sum();
        let done: f64 = self.work.iter().map(|w| w.cost * w.fraction).sum();
        let ended = self.seen.iter().filter(|s| s.ended.is_some()).count();
        let left = seconds_left(
            &self.work,
            &self.waits_for,
            self.slots,
            self.costs_are_seconds,
        );
        let text = format!("{ended}/{} done, {}", self.names.len(), in_words(left));
        (done / total, text)
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.names.len())
            .filter(|&job| self.seen[job].started.is_some() && self.seen[job].ended.is_none())
    }

    /// What a job is at and for how long: short, beside its name in 80 columns.
    fn job_text(&self, job: usize) -> String {
        let work = self.work[job];
        let left = work.busy_s / work.gained * (1.0 - work.fraction);
        match Duration::try_from_secs_f64(left) {
            Ok(left) => format!("{}, {:#} left", self.phases[job], HumanDuration(left)),
            Err(_) => self.phases[job].clone(),
        }
    }

    fn draw(&mut self) {
        self.measure();
        let (fraction, text) = self.overall();
        if let Some(bars) = &self.bars {
            bars.overall.set_position((fraction * STEPS) as u64);
            bars.overall.set_message(text);
            for job in self.running() {
                if let Some(bar) = &bars.each[job] {
                    bar.set_position((self.work[job].fraction * STEPS) as u64);
                    bar.set_message(self.job_text(job));
                }
            }
        } else if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + PLAIN;
            let running: Vec<_> = self
                .running()
                .map(|job| {
                    format!(
                        "{} {:.0}%",
                        self.names[job],
                        100.0 * self.work[job].fraction
                    )
                })
                .collect();
            say!("{text}; at work: {}", running.join(", "));
        }
    }
}

impl Watch for Screen {
    fn started(&mut self, job: usize) {
        self.seen[job].started = Some(Instant::now());
        let Some(bars) = &mut self.bars else {
            say!("{}: started", self.names[job]);
            return;
        };
        let bar = bars
            .all
            .insert_before(&bars.overall, ProgressBar::new(STEPS as u64));
        bar.set_style(style("{prefix} {bar:12} {percent:>3}% {wide_msg}"));
        let width = self.names.iter().map(String::len).max().unwrap_or(0);
        bar.set_prefix(format!("{:width$}", self.names[job]));
        bars.each[job] = Some(bar);
    }

    fn said(&mut self, job: usize, line: &str) {
        let Ok(report) = serde_json::from_str::<Report>(line) else {
            return;
        };
        if report.total > 0.0 {
            let fraction = (report.done / report.total).clamp(0.0, 1.0);
            self.work[job].fraction = fraction;
            self.seen[job]
                .first
                .get_or_insert((Instant::now(), fraction));
        }
        self.phases[job] = report.phase;
    }

    fn logged(&mut self, job: usize, line: &str) {
        if self.shows_log {
            self.print(&format!("{}: {line}", self.names[job]));
        }
    }

    fn ended(&mut self, job: usize, outcome: &Outcome) {
        self.seen[job].ended = Some(Instant::now());
        self.work[job].fraction = 1.0;
        if matches!(outcome, Outcome::Failed(_)) {
            // It says nothing about the pace, and nothing of it is left to do.
            self.work[job].cost = 0.0;
        }
        if let Some(bar) = self.bars.as_mut().and_then(|bars| bars.each[job].take()) {
            bar.finish_and_clear();
        }
        match outcome {
            Outcome::Failed(why) => self.print(&format!("{}: failed: {why}", self.names[job])),
            Outcome::Finished(_) => self.print(&format!("{}: done", self.names[job])),
            Outcome::Stopped => {}
        }
        self.draw();
    }

    fn tick(&mut self) {
        self.draw();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            // What follows is printed where the bars were.
            drop(bars.all.clear());
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// `about 12 minutes left`.
fn in_words(seconds: Option<f64>) -> String {
    match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(time)) => format!("about {} left", HumanDuration(time)),
        _ => "time left not known yet".to_owned(),
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;

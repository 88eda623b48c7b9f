//! How far `spar train` is, for whoever is there to hear it.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use spar_train::{Phase, Progress};

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a run is, to whoever is there.
pub(super) enum ProgressLine {
    /// A program, on stdout.
    Json,
    /// A person at a terminal, on stderr.
    Bar(ProgressBar),
    /// A file, on stderr.
    Lines(Instant),
}

impl ProgressLine {
    /// For a program if `json` is wanted, else for whoever is at stderr.
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if io::stderr().is_terminal() {
            // Drawn only when there is something new: a ticking thread would make
            // candle's pool spin.
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = "{prefix:>6} [{bar:20}] {pos}/{len}, {eta} left, {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            Self::Bar(bar)
        } else {
            Self::Lines(Instant::now())
        }
    }

    pub(super) fn show(&mut self, progress: Progress<'_>) -> io::Result<()> {
        let Progress {
            done, total, phase, ..
        } = progress;
        match self {
            Self::Json => {
                let mut out = io::stdout().lock();
                serde_json::to_writer(&mut out, &progress)?;
                out.write_all(b"\n")?;
                out.flush()?;
            }
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_prefix(phase.name());
                bar.set_message(how(progress));
                bar.set_position(done);
            }
            Self::Lines(last) if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                // Whoever read it is gone; the run is wanted all the same.
                let line = format!("{}: {done} of {total} {}", phase.name(), unit(phase));
                let line = match how(progress) {
                    how if how.is_empty() => line,
                    how => format!("{line}, {how}"),
                };
                let _ = writeln!(io::stderr(), "{line}");
            }
            Self::Lines(_) => {}
        }
        Ok(())
    }
}

/// Most numbers of a line: what does not fit a terminal is cut there.
const SHOWN: usize = 4;

/// What is counted.
fn unit(phase: Phase) -> &'static str {
    match phase {
        Phase::Online => "steps",
        _ => "updates",
    }
}

/// How fast it is, and its losses; other numbers where a method names none so.
fn how(progress: Progress<'_>) -> String {
    let rate = progress.updates_per_s;
    let unit = unit(progress.phase);
    let rate = rate.map(|rate| match rate < 10.0 {
        true => format!("{rate:.1} {unit}/s"),
        false => format!("{rate:.0} {unit}/s"),
    });
    let all = &progress.metrics.0;
    let losses: Vec<_> = all
        .iter()
        .filter(|(name, _)| name.ends_with("loss"))
        .collect();
    let shown = if losses.is_empty() {
        all.iter().collect()
    } else {
        losses
    };
    let numbers = shown.into_iter().take(SHOWN);
    let numbers = numbers.map(|(name, value)| format!("{name} {value:.4}"));
    rate.into_iter()
        .chain(numbers)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_come_before_other_numbers_and_nothing_is_said_of_what_is_unknown() {
        let of = |numbers: &[(&'static str, f32)], updates_per_s| {
            let metrics = numbers.iter().fold(Default::default(), with);
            how(Progress {
                done: 1,
                total: 2,
                phase: Phase::Spar,
                updates_per_s,
                metrics: &metrics,
            })
        };
        assert_eq!(of(&[], None), "");
        assert_eq!(
            of(&[("spread", 0.25)], Some(3.21)),
            "3.2 updates/s, spread 0.2500"
        );
        let both = of(&[("spread", 0.25), ("q_loss", 1.5)], Some(812.3));
        assert_eq!(both, "812 updates/s, q_loss 1.5000");
    }

    fn with(
        metrics: spar_baselines::Metrics,
        (name, value): &(&'static str, f32),
    ) -> spar_baselines::Metrics {
        metrics.with(name, *value)
    }
}

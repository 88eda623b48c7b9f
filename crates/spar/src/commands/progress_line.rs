//! How far `spar train` is, for whoever is there to hear it.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use spar_train::Progress;

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
            let style = "{msg:>6} [{bar:30}] {pos}/{len} updates, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            Self::Bar(bar)
        } else {
            Self::Lines(Instant::now())
        }
    }

    pub(super) fn show(&mut self, progress: Progress) -> io::Result<()> {
        let Progress { done, total, phase } = progress;
        match self {
            Self::Json => {
                let mut out = io::stdout().lock();
                serde_json::to_writer(&mut out, &progress)?;
                out.write_all(b"\n")?;
                out.flush()?;
            }
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_message(phase.name());
                bar.set_position(done);
            }
            Self::Lines(last) if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                // Whoever read it is gone; the run is wanted all the same.
                let _ = writeln!(io::stderr(), "{}: {done} of {total} updates", phase.name());
            }
            Self::Lines(_) => {}
        }
        Ok(())
    }
}

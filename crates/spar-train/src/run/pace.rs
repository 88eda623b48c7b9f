//! How fast updates are, for whoever looks on.

use std::time::{Duration, Instant};

use crate::control::Phase;

/// Updates per second between two lines of the log, and between two looks.
#[derive(Default)]
pub(super) struct Pace {
    phase: Option<Phase>,
    logged: Option<(u64, Instant)>,
    shown: Option<(u64, Instant)>,
    /// Per second, smoothed over the last looks.
    smooth: Option<f64>,
}

/// How much of what is shown the last look decides.
const WEIGHT: f64 = 0.3;

impl Pace {
    /// A stage begins, or is resumed, after `update`.
    pub(super) fn begin(&mut self, phase: Phase, update: u64) {
        let now = Instant::now();
        *self = Self {
            phase: Some(phase),
            logged: Some((update, now)),
            shown: Some((update, now)),
            smooth: None,
        };
    }

    /// The last `time` was spent on something else.
    pub(super) fn leave_out(&mut self, time: Duration) {
        for (_, since) in self.logged.iter_mut().chain(&mut self.shown) {
            *since += time;
        }
    }

    /// Updates per second since it was last asked.
    pub(super) fn since_logged(&mut self, phase: Phase, update: u64) -> Option<f64> {
        let rate = rate(self.logged, update).filter(|_| self.phase == Some(phase));
        self.logged = Some((update, Instant::now()));
        rate
    }

    /// Updates per second now, as far as it is known.
    pub(super) fn since_shown(&mut self, update: u64) -> Option<f64> {
        if let Some(now) = rate(self.shown, update) {
            let before = self.smooth.unwrap_or(now);
            self.smooth = Some(before + WEIGHT * (now - before));
            self.shown = Some((update, Instant::now()));
        }
        self.smooth
    }
}

fn rate(since: Option<(u64, Instant)>, update: u64) -> Option<f64> {
    let (before, since) = since?;
    let (updates, seconds) = (update.saturating_sub(before), since.elapsed().as_secs_f64());
    (updates > 0 && seconds > 0.0).then(|| updates as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_are_left_out_and_phases_are_kept_apart() {
        let mut pace = Pace::default();
        assert_eq!(pace.since_shown(5), None);
        pace.begin(Phase::Anchor, 100);
        std::thread::sleep(Duration::from_millis(20));
        let with = pace.since_shown(110).unwrap_or_default();
        assert!(with > 0.0 && with <= 500.0, "{with}");
        // All that time was an evaluation.
        pace.begin(Phase::Anchor, 100);
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(200));
        pace.leave_out(began.elapsed());
        let without = pace.since_logged(Phase::Anchor, 200).unwrap_or(f64::MAX);
        assert!(without > 1000.0, "{without}");
        assert_eq!(pace.since_logged(Phase::Spar, 250), None);
    }
}

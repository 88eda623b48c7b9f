//! Whether the rows of a file follow each other.
//!
//! D4RL's layout says what follows a row by the row after it. A file that was shuffled,
//! that holds transitions (what `qlearning_dataset` returns), or that several recordings
//! were joined in, has the same layout and other successors: they stand in
//! `next_observations` and nowhere else. They are therefore compared with the row after,
//! and believed.

use std::ops::Range;

use crate::{dataset::Ends, error::DataError};

/// How far a recorded successor may be from the next row's observation, relative to
/// numbers above 1: what is lost between two types of floats of at least 32 bits, or in
/// text of seven digits.
const TOLERANCE: f32 = 1e-6;
/// Rows looked at together.
const BAND: usize = 4096;

/// The flags of a file's rows.
#[derive(Clone, Copy)]
pub(crate) struct Flags<'a> {
    pub(crate) terminals: &'a [bool],
    pub(crate) timeouts: Option<&'a [bool]>,
}

impl Flags<'_> {
    /// Whether a flag says that an episode ends with `row`.
    fn end(&self, row: usize) -> bool {
        self.terminals[row] || self.timeouts.is_some_and(|timeouts| timeouts[row])
    }
}

/// What comparing the recorded successors shows.
pub(crate) struct Compared {
    /// The rows without a flag whose successor is another one than the next row, with that
    /// successor.
    pub(crate) breaks: Ends,
    /// Terminals that are not cut as well and whose successor is the next row.
    pub(crate) followed: usize,
}

/// Compares the recorded successors of all rows with the rows after them, both `width`
/// wide and added to a buffer by `observations` and `next`.
///
/// In a file that has such rows, or no flags of cuts, the last row's successor is one as
/// well: its rows are transitions. In another it is left out, as D4RL's loader does.
pub(crate) fn breaks(
    width: usize,
    flags: Flags<'_>,
    mut observations: impl FnMut(Range<usize>, &mut Vec<f32>) -> Result<(), DataError>,
    mut next: impl FnMut(Range<usize>, &mut Vec<f32>) -> Result<(), DataError>,
) -> Result<Compared, DataError> {
    let rows = flags.terminals.len();
    let mut followed = 0;
    let mut found = Ends {
        stops: Vec::new(),
        observations: Vec::new(),
    };
    let (mut after, mut recorded) = (Vec::new(), Vec::new());
    for from in (0..rows).step_by(BAND) {
        let to = rows.min(from + BAND);
        recorded.clear();
        next(from..to, &mut recorded)?;
        after.clear();
        observations(from + 1..rows.min(to + 1), &mut after)?;
        for (row, successor) in (from..to).zip(recorded.chunks_exact(width)) {
            let broken = match after.chunks_exact(width).nth(row - from) {
                Some(after) => !same(successor, after),
                None => !found.stops.is_empty() || flags.timeouts.is_none(),
            };
            if broken && !flags.end(row) {
                found.stops.push(row + 1);
                found.observations.extend_from_slice(successor);
            }
            let cut = flags.timeouts.is_some_and(|timeouts| timeouts[row]);
            followed += usize::from(!broken && flags.terminals[row] && !cut && row + 1 < rows);
        }
    }
    Ok(Compared {
        breaks: found,
        followed,
    })
}

fn same(a: &[f32], b: &[f32]) -> bool {
    let near = |(&a, &b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0);
    a.iter().zip(b).all(near)
}

/// [`breaks`] of arrays in memory.
pub(crate) fn breaks_in_memory(
    width: usize,
    flags: Flags<'_>,
    observations: &[f32],
    next: &[f32],
) -> Result<Compared, DataError> {
    let part = |all: &[f32], rows: Range<usize>, out: &mut Vec<f32>| {
        out.extend_from_slice(&all[rows.start * width..rows.end * width]);
        Ok(())
    };
    breaks(
        width,
        flags,
        |rows, out| part(observations, rows, out),
        |rows, out| part(next, rows, out),
    )
}

/// What a user should know of the `breaks` among `rows`, if there are any.
pub(crate) fn note(breaks: &Ends, rows: usize, obeyed: bool) -> Option<String> {
    // The last row has none after it to disagree with.
    let between = breaks.stops.iter().filter(|&&stop| stop < rows).count();
    let first = breaks.stops.first().filter(|_| between > 0)? - 1;
    let what = match obeyed {
        true => {
            "an episode is cut there and the recorded successor used; `--next following` takes \
                 the next row instead"
        }
        false => "every row has the recorded successor, and an episode is cut there",
    };
    Some(format!(
        "next_observations of {between} of {rows} rows are not the observation of the row that \
         follows, first in row {first}: the rows are shuffled, joined or saved transitions; {what}"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(obs: &[f32], next: &[f32], flags: Flags<'_>) -> Ends {
        let read = |all: &[f32], rows: Range<usize>, out: &mut Vec<f32>| {
            out.extend_from_slice(&all[rows]);
            Ok(())
        };
        breaks(
            1,
            flags,
            |r, out| read(obs, r, out),
            |r, out| read(next, r, out),
        )
        .unwrap()
        .breaks
    }

    fn flags<'a>(terminals: &'a [bool], timeouts: &'a [bool]) -> Flags<'a> {
        Flags {
            terminals,
            timeouts: Some(timeouts),
        }
    }

    #[test]
    fn rows_that_do_not_follow_are_found_across_bands() {
        let rows = 2 * BAND + 5;
        let obs: Vec<f32> = (0..rows).map(|i| i as f32).collect();
        let mut next: Vec<f32> = obs.iter().map(|x| x + 1.0).collect();
        let (mut terminals, mut timeouts) = (vec![false; rows], vec![false; rows]);
        let none = found(&obs, &next, flags(&terminals, &timeouts));
        assert!(none.stops.is_empty());
        // Rounding is none; flagged rows end anyway.
        next[7] = 8.000_001;
        for row in [3, BAND - 1, BAND, rows - 1] {
            next[row] = -1.0;
        }
        (terminals[3], timeouts[BAND]) = (true, true);
        let broken = found(&obs, &next, flags(&terminals, &timeouts));
        assert_eq!(broken.stops, [BAND, rows]);
        assert_eq!(broken.observations, [-1.0, -1.0]);
        let note = note(&broken, rows, true).unwrap();
        assert!(note.contains(&format!("of 1 of {rows} rows")), "{note}");
        assert!(
            note.contains(&format!("first in row {}", BAND - 1)),
            "{note}"
        );
    }
}

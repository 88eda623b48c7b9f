//! Which job arrays make the runs that are left.
//!
//! One array holds runs of one method, since an array has one time limit. Within it a job has
//! the number that its anchor has in the anchors' array, so that Slurm's `aftercorr` starts
//! it when that very one has succeeded; `afterok` would have every run wait for the slowest
//! anchor, and none start where one anchor failed.

use std::collections::BTreeMap;

use super::plan_file::Planned;

/// A run that is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending<'p> {
    pub(super) line: &'p Planned,
    /// What it takes, where that was measured.
    pub(super) seconds: Option<f64>,
}

/// A job array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    /// Its name in the plan: method, part of the cells, and whether it waits.
    pub(super) name: String,
    /// Method or variant.
    pub(super) column: String,
    /// Numbers of its jobs in the array.
    pub(super) ids: Vec<usize>,
    /// What is added to such a number to have the run's in the plan.
    pub(super) offset: usize,
    /// The array whose job of the same number has to succeed before.
    pub(super) after: Option<usize>,
    /// What its longest run takes, where that was measured.
    seconds: Option<f64>,
}

/// What a run may take beyond its measured updates: evaluations, the reading of data, a slow
/// start.
const BESIDE_S: f64 = 600.0;

/// How much slower a node may be than the machine the updates were measured on.
const SLOWER: f64 = 2.0;

impl Array {
    /// Minutes that each job is given.
    pub(super) fn minutes(&self) -> Option<u64> {
        let seconds = self.seconds?;
        Some(((SLOWER * seconds + BESIDE_S) / 60.0).ceil() as u64)
    }

    /// Its numbers as Slurm writes them: `0-8,10`.
    pub(super) fn ranges(&self) -> String {
        let mut parts: Vec<(usize, usize)> = Vec::new();
        for &id in &self.ids {
            match parts.last_mut() {
                Some((_, last)) if *last + 1 == id => *last = id,
                _ => parts.push((id, id)),
            }
        }
        let parts = parts.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        parts.collect::<Vec<_>>().join(",")
    }
}

/// The arrays of what is left, anchors first, at most `size` jobs each; `cells` is how many
/// runs of one method a plan has.
pub(super) fn of(pending: &BTreeMap<usize, Pending<'_>>, cells: usize, size: usize) -> Vec<Array> {
    // By method, part and whether they wait, in this order.
    let mut groups: BTreeMap<(usize, usize, bool), Array> = BTreeMap::new();
    for (&index, Pending { line, seconds }) in pending {
        let (rank, cell) = (index / cells, index % cells);
        let (part, id) = (cell / size, cell % size);
        let waits = line
            .anchor
            .is_some_and(|anchor| pending.contains_key(&anchor));
        let column = line.column();
        let array = groups.entry((rank, part, waits)).or_insert_with(|| Array {
            name: format!("{column}-{part}{}", if waits { "-anchored" } else { "" }),
            column: column.to_owned(),
            ids: Vec::new(),
            offset: rank * cells + part * size,
            after: None,
            seconds: Some(0.0),
        });
        array.ids.push(id);
        array.seconds = match (array.seconds, seconds) {
            (Some(longest), Some(seconds)) => Some(longest.max(*seconds)),
            _ => None,
        };
    }
    let places: Vec<_> = groups.keys().copied().collect();
    let anchors = |part: usize| places.iter().position(|place| *place == (0, part, false));
    groups
        .into_iter()
        .map(|((_, part, waits), array)| Array {
            after: if waits { anchors(part) } else { None },
            ..array
        })
        .collect()
}

#[cfg(test)]
#[path = "arrays_tests.rs"]
mod tests;

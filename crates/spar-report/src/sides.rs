//! The two folders of a comparison: which runs each holds, whatever its folders are called,
//! and which run of the one is compared with which of the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use spar_core::TaskId;

use crate::{
    ReportError, find, names,
    read::{self, Run},
};

/// A run of either folder. Its task is a suite's by name, or what the data are called.
pub(crate) type Sided = Run<String>;

/// What one of the folders holds.
pub(crate) struct Side {
    pub(crate) runs: Vec<Sided>,
    /// Folders of runs that are not finished, and say no more.
    pub(crate) unfinished: usize,
    /// Whether the folder is that of one run.
    single: bool,
}

/// Which runs are compared with each other, beside those of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Those of one method and seed.
    Alike,
    /// Those of one seed: each folder holds one method alone.
    Methods,
    /// The one with the other: each folder is that of one run.
    Singles,
}

impl Pairing {
    /// Each way in which `a` and `b` may be paired, the closest first.
    fn of(a: &Side, b: &Side) -> impl Iterator<Item = Self> {
        let methods = a.method().is_some() && b.method().is_some();
        let singles = a.single && b.single;
        let open = [(Self::Methods, methods), (Self::Singles, singles)];
        let open = open.into_iter().filter(|(_, open)| *open);
        [Self::Alike]
            .into_iter()
            .chain(open.map(|(pairing, _)| pairing))
    }

    /// The run of `others` that `run` is compared with.
    pub(crate) fn twin<'a>(self, run: &Sided, others: &'a [Sided]) -> Option<&'a Sided> {
        others.iter().find(|other| {
            let (method, seed) = (other.method == run.method, other.seed == run.seed);
            other.task == run.task
                && match self {
                    Self::Alike => method && seed,
                    Self::Methods => seed,
                    Self::Singles => true,
                }
        })
    }
}

impl Side {
    /// The method of its finished runs, if they have one alone.
    fn method(&self) -> Option<&str> {
        let finished = self.runs.iter().filter(|run| run.outcome.is_ok());
        let methods: BTreeSet<&str> = finished.map(|run| run.method.as_str()).collect();
        match methods.len() {
            1 => methods.into_iter().next(),
            _ => None,
        }
    }
}

/// The finished runs of `a` and `b` that are compared, and by what they are paired; none
/// where they have nothing in common.
pub(crate) fn paired<'a>(a: &'a Side, b: &'a Side) -> (Pairing, Vec<(&'a Sided, &'a Sided)>) {
    let pairs = |pairing: Pairing| {
        let pairs = a.runs.iter();
        let pairs = pairs.filter_map(|one| Some((one, pairing.twin(one, &b.runs)?)));
        let finished = pairs.filter(|(one, other)| one.outcome.is_ok() && other.outcome.is_ok());
        (pairing, finished.collect::<Vec<_>>())
    };
    let mut ways = Pairing::of(a, b).map(pairs);
    let found = ways.find(|(_, pairs)| !pairs.is_empty());
    found.unwrap_or((Pairing::Alike, Vec::new()))
}

/// What the folders `a` and `b` hold.
pub(crate) fn of(a: &Path, b: &Path) -> Result<[Side; 2], ReportError> {
    let mut sides = [side(a)?, side(b)?];
    // Data are told by their bytes: two files of one name are two rows, by two names.
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for run in sides.iter().flat_map(|side| &side.runs) {
        if let Some((id, sha256)) = data(run) {
            ids.entry(id).or_default().insert(sha256);
        }
    }
    for run in sides.iter_mut().flat_map(|side| &mut side.runs) {
        if let Some((id, sha256)) = data(run) {
            let several = ids.get(&id).is_some_and(|files| files.len() > 1);
            run.task = names::data(&id, &sha256, several);
        }
    }
    Ok(sides)
}

/// Name and hash of the data of a finished run that is of no task.
fn data(run: &Sided) -> Option<(String, String)> {
    let record = &run.outcome.as_ref().ok()?.record;
    let of_task = record.task.parse::<TaskId>().is_ok();
    (!of_task).then(|| (record.task.clone(), record.dataset.sha256.clone()))
}

fn side(folder: &Path) -> Result<Side, ReportError> {
    if let Some(run) = any(folder)? {
        return Ok(Side {
            runs: vec![run],
            unfinished: 0,
            single: true,
        });
    }
    let laid_out = read::laid_out(folder)?.into_iter().map(|run| Run {
        task: run.task.to_string(),
        method: run.method,
        seed: run.seed,
        outcome: run.outcome,
    });
    let mut side = Side {
        runs: laid_out.collect(),
        unfinished: 0,
        single: false,
    };
    if side.runs.is_empty() {
        let below = find::below(folder)?;
        let tuned = below.tuned.iter().filter_map(|run| run.file.parent());
        let folders = below.played.iter().map(PathBuf::as_path).chain(tuned);
        let runs: Result<Vec<_>, _> = folders.map(any).collect();
        side.runs = runs?.into_iter().flatten().collect();
        side.unfinished = below.unfinished;
        refuse_twice(&side.runs)?;
    }
    match side.runs.is_empty() {
        true => Err(ReportError::NoRuns(folder.to_owned())),
        false => Ok(side),
    }
}

/// The finished run in `folder`, of what it says it is of.
fn any(folder: &Path) -> Result<Option<Sided>, ReportError> {
    let found = read::read_any(folder)?;
    Ok(found.map(|done| Run {
        task: done.record.task.clone(),
        method: done.record.method.clone(),
        seed: done.record.seed,
        outcome: Ok(done),
    }))
}

/// Refuses two runs that either may be meant by.
fn refuse_twice(runs: &[Sided]) -> Result<(), ReportError> {
    let mut seen: BTreeMap<_, &Path> = BTreeMap::new();
    for run in runs {
        let Ok(done) = &run.outcome else { continue };
        let data = &done.record.dataset.sha256;
        let twin = seen.insert((&run.task, data, &run.method, run.seed), &done.file);
        if let Some(twin) = twin {
            return Err(ReportError::SeedTwice {
                method: run.method.clone(),
                seed: run.seed,
                first_file: twin.to_owned(),
                second_file: done.file.clone(),
            });
        }
    }
    Ok(())
}

//! Whether runs were made with the settings that their suite has now: numbers of others would
//! pass for the suite's.

use std::path::Path;

use spar_core::{ColumnSettings, FinishedRun, RunIdentity, Scope, TaskId};

use crate::{ReportError, results::Reason};

/// The folder of the run that `spar train` makes first, within the one around its policy.
const BASE: &str = "anchor";

/// Why there are no numbers of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Absent {
    pub(crate) reason: Reason,
    /// Of a run with other settings: in which it differs, in words.
    pub(crate) difference: Option<String>,
}

impl From<Reason> for Absent {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            difference: None,
        }
    }
}

/// Refuses the finished run of `task`, `column` and `seed` in `folder`, if `settings` say that
/// it would be made otherwise now, or the run that it is around. Its device is no matter, and
/// of a column that they do not hold nothing is known.
pub(crate) fn check(
    settings: &[ColumnSettings],
    (task, column, seed): (TaskId, &str, u64),
    folder: &Path,
    done: &RunIdentity,
) -> Result<Option<Absent>, ReportError> {
    let Some(here) = ColumnSettings::find(settings, task, column) else {
        return Ok(None);
    };
    if let Some(words) = differs(here, seed, done) {
        return Ok(Some(other(words)));
    }
    let base = here.given("method");
    let base = base.and_then(|method| ColumnSettings::find(settings, task, method));
    let Some(base) = base else {
        return Ok(None);
    };
    // One that is gone says nothing of the run around it.
    let made = FinishedRun::read(&folder.join(BASE))?;
    let words = made.and_then(|made| differs(base, seed, &made.identity));
    Ok(words.map(|words| other(format!("of the run in `{BASE}` {words}"))))
}

fn other(words: String) -> Absent {
    Absent {
        reason: Reason::OtherSettings,
        difference: Some(words),
    }
}

/// In what `done` differs from the run of `seed` that `here` describes, in words.
fn differs(here: &ColumnSettings, seed: u64, done: &RunIdentity) -> Option<String> {
    let here = here.identity(seed, &done.stamp().data_sha256)?;
    let differences = here.differences(done, Scope::Seeds);
    let first = differences.first()?;
    let more = match differences.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(format!(
        "its {} is {}, the suite's {}{more}",
        first.field, first.there, first.here
    ))
}

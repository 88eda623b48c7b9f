//! Where a file in D4RL's layout says that episodes end.
//!
//! D4RL has `terminals` and `timeouts`. Others write the same, or nearly the same, under
//! other names, and a name that is not known makes one endless episode of a file in
//! silence. Known names are therefore read, and arrays that look like ends and are not
//! read are named.

use spar_core::printable;

use crate::error::DataError;

/// The environment ended the episode in this step.
pub(crate) const TERMINALS: [&str; 9] = [
    "terminals",
    "terminations",
    "terminated",
    "terminal",
    "is_terminal",
    "dones",
    "done",
    "next.terminated",
    "next.done",
];
/// Of these, old gym sets at cuts as well.
const DONES: [&str; 3] = ["dones", "done", "next.done"];
/// The episode was cut after this step.
const CUTS: [&str; 10] = [
    "timeouts",
    "truncations",
    "truncated",
    "truncateds",
    "truncates",
    "timeout",
    "time_outs",
    "infos/timeouts",
    "infos/TimeLimit.truncated",
    "next.truncated",
];
/// An episode ends with this step, either way.
const ENDS: [&str; 7] = [
    "episode_terminals",
    "episode_ends",
    "episode_end",
    "ends",
    "is_last",
    "last",
    "dones_float",
];
/// An episode begins with this step.
const STARTS: [&str; 4] = ["episode_starts", "is_first", "episode_start", "first"];
/// 0 where the environment ended the episode: `OGBench` has it beside `terminals`, which
/// then mark every end.
pub(crate) const MASKS: &str = "masks";
/// What names of such arrays have in them.
const HINTS: [&str; 12] = [
    "done", "term", "trunc", "timeout", "episode", "traj", "end", "last", "first", "start",
    "reset", "cut",
];
/// Unknown keys looked at.
const MOST: usize = 256;

/// How an array of flags says where episodes are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// After the row.
    After,
    /// After the row, terminal rows too.
    End,
    /// Before the row.
    Before,
}

/// A file that arrays of flags are looked for in.
pub(crate) trait FlagSource {
    /// The names at its root.
    fn names(&self) -> Vec<String>;
    /// Whether there is something at `name`.
    fn has(&self, name: &str) -> bool;
    /// The flags at `name`, one a row.
    fn read_flags(&self, name: &str, rows: usize) -> Result<Vec<bool>, DataError>;
    /// The same if that is what is there, and of a type of flags, or called like something
    /// in `hints`; `None` if it is anything else.
    fn guess_flags(&self, name: &str, rows: usize, hints: &[&str]) -> Option<Vec<bool>>;
}

/// Which arrays of a file are its flags.
pub(crate) struct FlagNames {
    rows: usize,
    terminals: &'static str,
    masks: bool,
    cuts: Option<(Cut, &'static str)>,
}

/// The flags of all rows.
pub(crate) struct Flagged {
    pub(crate) terminals: Vec<bool>,
    /// `None` if the file has nothing that says where episodes are cut.
    pub(crate) timeouts: Option<Vec<bool>>,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

impl FlagNames {
    /// Finds them in `source`, which has `rows` rows.
    pub(crate) fn of(source: &impl FlagSource, rows: usize) -> Self {
        let cuts = cuts(|name| source.has(name));
        // Where there is none, the error is of D4RL's name.
        let terminals = TERMINALS.into_iter().find(|name| source.has(name));
        let terminals = terminals.unwrap_or(TERMINALS[0]);
        Self {
            rows,
            terminals,
            masks: cuts.is_none() && terminals == TERMINALS[0] && source.has(MASKS),
            cuts,
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static str> {
        let masks = self.masks.then_some(MASKS);
        let cuts = self.cuts.map(|(_, name)| name);
        [self.terminals].into_iter().chain(cuts).chain(masks)
    }

    /// Whether anything says where episodes are cut.
    pub(crate) fn has_cuts(&self) -> bool {
        self.cuts.is_some() || self.masks
    }

    /// Reads them.
    pub(crate) fn read(&self, source: &impl FlagSource) -> Result<Flagged, DataError> {
        let mut notes = Vec::new();
        let name = self.terminals;
        let mut terminals = source.read_flags(name, self.rows)?;
        if name != TERMINALS[0] {
            notes.push(format!("`{name}` is read as `terminals`"));
        }
        let mut timeouts = None;
        if let Some((cut, name)) = self.cuts {
            let mut flags = source.read_flags(name, self.rows)?;
            let of = match cut {
                Cut::After => String::new(),
                Cut::End => {
                    except(&mut flags, &terminals);
                    " where no terminal is".to_owned()
                }
                Cut::Before => {
                    // A row before a first one is a last one.
                    flags.rotate_left(1);
                    if let Some(last) = flags.last_mut() {
                        *last = false;
                    }
                    except(&mut flags, &terminals);
                    " of the rows before".to_owned()
                }
            };
            if name != CUTS[0] {
                notes.push(format!("`{name}` is read as `timeouts`{of}"));
            }
            timeouts = Some(flags);
        }
        if self.masks {
            let masks = source.read_flags(MASKS, self.rows)?;
            let ends = std::mem::replace(
                &mut terminals,
                masks.into_iter().map(|mask| !mask).collect(),
            );
            let mut cuts = ends;
            except(&mut cuts, &terminals);
            timeouts = Some(cuts);
            notes.push(format!(
                "`{MASKS}` of 0 are read as `terminals`, other `terminals` as `timeouts`, as in OGBench"
            ));
        }
        if DONES.contains(&name) {
            match &timeouts {
                Some(timeouts) => except(&mut terminals, timeouts),
                None => notes.push(format!(
                    "nothing tells whether `{name}` are also set where an episode was only cut: \
                     every one is taken for a termination"
                )),
            }
        }
        notes.extend(self.unread(source, &terminals, timeouts.as_deref()));
        Ok(Flagged {
            terminals,
            timeouts,
            notes,
        })
    }

    /// A note for each array that is not read and looks as if it said where episodes end.
    pub(crate) fn unread(
        &self,
        source: &impl FlagSource,
        terminals: &[bool],
        timeouts: Option<&[bool]>,
    ) -> Vec<String> {
        let known = [
            "observations",
            "actions",
            "rewards",
            "next_observations",
            "next_actions",
        ];
        let read = |name: &str| known.contains(&name) || self.all().any(|flags| flags == name);
        let names = source.names();
        let unknown = names.iter().filter(|name| !read(name)).take(MOST);
        let note = |name: &String| {
            let flags = source.guess_flags(name, self.rows, &HINTS)?;
            let ended = |row: usize| terminals[row] || timeouts.is_some_and(|t| t[row]);
            let set = flags.iter().filter(|&&flag| flag).count();
            let first = (0..self.rows).find(|&row| flags[row] && !ended(row))?;
            Some(format!(
                "`{}` looks like flags, set in {set} of {} rows (first where no episode is \
                 known to end: row {first}), and is not read; if it marks ends of episodes, name it \
                 `timeouts` (cut) or `terminals`",
                printable(name),
                self.rows
            ))
        };
        unknown.filter_map(note).collect()
    }
}

/// What says where episodes are cut, of the names `there`.
fn cuts(there: impl Fn(&str) -> bool) -> Option<(Cut, &'static str)> {
    let kinds = [
        (Cut::After, &CUTS[..]),
        (Cut::End, &ENDS),
        (Cut::Before, &STARTS),
    ];
    kinds.into_iter().find_map(|(cut, names)| {
        let name = names.iter().find(|name| there(name))?;
        Some((cut, *name))
    })
}

/// The name of what says where episodes are cut, of those `there`.
pub(crate) fn cut_name(there: impl Fn(&str) -> bool) -> Option<&'static str> {
    cuts(there).map(|(_, name)| name)
}

/// Takes away from `flags` what `others` have.
fn except(flags: &mut [bool], others: &[bool]) {
    for (flag, &other) in flags.iter_mut().zip(others) {
        *flag &= !other;
    }
}

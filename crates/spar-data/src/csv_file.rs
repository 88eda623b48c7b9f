//! CSV files: one row a step, one column a number, named in the first line.
//!
//! | columns | what they are |
//! |---|---|
//! | `obs_0`, `obs_1`, ... (`observation`, `observations`, `state`; `obs.0`, `obs[0]`) | the observation |
//! | `action_0`, ... or `action` (`act`) | the action |
//! | `reward` (`rewards`) | the reward |
//! | `next_obs_0`, ... | the observation after the step |
//! | `terminal`, `timeout` and their other names | how an episode ends |
//! | `episode` (`episode_id`, `episode_index`, ...) | an episode ends where it changes |

use std::{collections::BTreeMap, fs::File, path::Path};

use spar_core::printable;

use crate::{
    dataset::Dataset,
    error::DataError,
    flags::{FlagNames, FlagSource, TERMINALS},
    read::Checked,
    reading::{Asked, Next},
    table::Table,
};

const OBSERVATIONS: [&str; 5] = ["observations", "observation", "obs", "state", "states"];
const NEXT: [&str; 5] = [
    "next_observations",
    "next_observation",
    "next_obs",
    "next_state",
    "next_states",
];
const ACTIONS: [&str; 3] = ["actions", "action", "act"];
const REWARDS: [&str; 2] = ["rewards", "reward"];
/// Columns that number episodes.
const EPISODES: [&str; 7] = [
    "episode",
    "episode_id",
    "episode_index",
    "episode_idx",
    "trajectory",
    "trajectory_id",
    "traj_id",
];
/// What the ends that those show are called.
const ENDS: &str = "episode_ends";

/// Most columns of a file.
const MOST_COLUMNS: usize = 4096;

/// The lines of a file.
struct Lines<'a> {
    path: &'a Path,
    names: Vec<String>,
    /// Column by column; text where a column is asked for as such.
    numbers: Vec<Vec<f32>>,
    /// The first line of each episode but the first, where a column tells.
    starts: Option<Vec<usize>>,
    rows: usize,
}

/// Reads the file `checked`.
pub(crate) fn read(checked: &Checked, asked: Asked<'_>) -> Result<Dataset, DataError> {
    let lines = Lines::read(checked.path())?;
    let reading = asked.reading;
    let observed = match &reading.observations[..] {
        [] => lines.vector(&OBSERVATIONS)?,
        names => {
            let mut all = Vec::new();
            for name in names {
                all.extend(lines.vector(&[name])?);
            }
            all
        }
    };
    let acted = lines.vector(&ACTIONS)?;
    let next = match reading.next {
        Next::Following => None,
        _ => lines.vector_if_present(&NEXT)?,
    };
    if let Some(next) = &next
        && next.len() != observed.len()
    {
        let got = [lines.rows, next.len()];
        return Err(lines.shape(NEXT[0], format!("{} columns", observed.len()), &got));
    }
    let rewards = lines.vector(&REWARDS)?;
    if rewards.len() != 1 {
        return Err(lines.shape(
            REWARDS[0],
            "1 column".to_owned(),
            &[lines.rows, rewards.len()],
        ));
    }
    let mut flagged = FlagNames::of(&lines, lines.rows).read(&lines)?;
    let names = |columns: &[usize]| -> String {
        let names: Vec<&str> = columns.iter().map(|&i| &*lines.names[i]).collect();
        printable(&names.join(",")).into_owned()
    };
    flagged.notes.push(format!(
        "observations are the columns {}; actions {}",
        names(&observed),
        names(&acted)
    ));
    let integers = |&i: &usize| lines.numbers[i].iter().all(|x| x.fract() == 0.0);
    let integers = acted.iter().all(integers);
    let table = Table {
        obs_dim: observed.len(),
        observations: lines.rows_of(&observed),
        act_dim: acted.len(),
        actions: lines.rows_of(&acted),
        rewards: lines.rows_of(&rewards),
        flagged,
        next_observations: next.map(|next| lines.rows_of(&next)),
        qpos: None,
        qvel: None,
        integers,
    };
    table.dataset(checked.path(), checked.scan()?.sha256, asked)
}

impl<'a> Lines<'a> {
    fn read(path: &'a Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            path: path.into(),
            doing: "read the data file",
            source,
        };
        let wrong = |e: csv::Error| match e.into_kind() {
            csv::ErrorKind::Io(source) => io(source),
            csv::ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => {
                let line = pos.map_or(0, |pos| pos.line());
                damaged(
                    path,
                    format!("line {line}"),
                    format!("{len} columns, expected {expected_len}"),
                )
            }
            other => damaged(path, "text".to_owned(), format!("{other:?}")),
        };
        let separator = separator(path).map_err(io)?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .delimiter(separator)
            .from_path(path)
            .map_err(wrong)?;
        let names = reader.headers().map_err(wrong)?;
        let names: Vec<String> = names
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect();
        if names.len() > MOST_COLUMNS {
            let why = format!("{} columns, expected at most {MOST_COLUMNS}", names.len());
            return Err(damaged(path, "line 1".to_owned(), why));
        }
        let mut seen = BTreeMap::new();
        for (i, name) in names.iter().enumerate() {
            if seen.insert(name, i).is_some() {
                let why = format!("column `{}` is there twice", printable(name));
                return Err(damaged(path, "line 1".to_owned(), why));
            }
        }
        let episodes = EPISODES
            .iter()
            .find_map(|name| seen.get(&(*name).to_owned()).copied());
        // What is not used may hold anything.
        let used: Vec<bool> = names.iter().map(|name| is_known(name)).collect();
        let mut lines = Self {
            path,
            numbers: vec![Vec::new(); names.len()],
            starts: episodes.map(|_| Vec::new()),
            names,
            rows: 0,
        };
        let (mut record, mut before) = (csv::StringRecord::new(), String::new());
        while reader.read_record(&mut record).map_err(wrong)? {
            for (i, field) in record.iter().enumerate() {
                match number(field) {
                    Some(x) => lines.numbers[i].push(x),
                    None if used[i] => {
                        let line = record.position().map_or(0, csv::Position::line);
                        let why = format!(
                            "column `{}` is `{}`, expected a number",
                            printable(&lines.names[i]),
                            printable(field)
                        );
                        return Err(damaged(path, format!("line {line}"), why));
                    }
                    None => lines.numbers[i].push(f32::NAN),
                }
            }
            if let (Some(at), Some(starts)) = (episodes, &mut lines.starts) {
                let here = record.get(at).unwrap_or_default();
                if lines.rows > 0 && here != before {
                    starts.push(lines.rows);
                }
                before.clear();
                before.push_str(here);
            }
            lines.rows += 1;
        }
        if lines.rows == 0 {
            return Err(damaged(
                path,
                "text".to_owned(),
                "no line after the first".to_owned(),
            ));
        }
        Ok(lines)
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|there| there == name)
    }

    /// The columns of the vector called one of `names`, in its order.
    fn vector(&self, names: &[&str]) -> Result<Vec<usize>, DataError> {
        self.vector_if_present(names)?
            .ok_or_else(|| DataError::MissingKey {
                path: self.path.into(),
                key: names[0].into(),
                expected: "columns obs_0, obs_1, ..., action_0, ..., reward and terminal; \
                       --observations names other columns",
            })
    }

    fn vector_if_present(&self, names: &[&str]) -> Result<Option<Vec<usize>>, DataError> {
        for name in names {
            if let Some(whole) = self.column(name) {
                return Ok(Some(vec![whole]));
            }
            let parts = self.names.iter().enumerate();
            let parts = parts.filter_map(|(i, there)| Some((index_of(there, name)?, i)));
            let parts: BTreeMap<usize, usize> = parts.collect();
            let Some((&first, _)) = parts.first_key_value() else {
                continue;
            };
            // From 0 on, or from 1.
            if first > 1
                || parts
                    .keys()
                    .zip(first..)
                    .any(|(&got, expected)| got != expected)
            {
                let why = format!("columns `{name}` are not numbered from 0 or 1 on without a gap");
                return Err(damaged(
                    self.path,
                    "line 1".to_owned(),
                    printable(&why).into_owned(),
                ));
            }
            return Ok(Some(parts.into_values().collect()));
        }
        Ok(None)
    }

    fn rows_of(&self, columns: &[usize]) -> Vec<f32> {
        let rows = 0..self.rows;
        rows.flat_map(|row| columns.iter().map(move |&i| self.numbers[i][row]))
            .collect()
    }

    fn shape(&self, key: &str, expected: String, got: &[usize]) -> DataError {
        DataError::Shape {
            path: self.path.into(),
            key: key.into(),
            expected,
            got: format!("{got:?}"),
        }
    }
}

impl FlagSource for Lines<'_> {
    fn names(&self) -> Vec<String> {
        let vectors = [&OBSERVATIONS[..], &ACTIONS, &NEXT, &REWARDS, &EPISODES].concat();
        let part = |there: &String| {
            let mut vectors = vectors.iter();
            vectors.any(|name| there == name || index_of(there, name).is_some())
        };
        let others = self.names.iter().filter(|there| !part(there));
        others.cloned().collect()
    }

    fn has(&self, name: &str) -> bool {
        let counted = self.starts.is_some();
        // With numbers of episodes, a file may have neither.
        let there = |name: &&str| self.column(name).is_some();
        let unsaid =
            name == TERMINALS[0] && !TERMINALS.iter().any(|name| self.column(name).is_some());
        there(&name) || (counted && (name == ENDS || unsaid))
    }

    fn read_flags(&self, name: &str, rows: usize) -> Result<Vec<bool>, DataError> {
        if let Some(column) = self.column(name) {
            let flag = |(row, &got): (usize, &f32)| match got {
                0.0 => Ok(false),
                1.0 => Ok(true),
                _ => Err(DataError::Flag {
                    path: self.path.into(),
                    key: name.into(),
                    row,
                    got: got.into(),
                }),
            };
            return self.numbers[column].iter().enumerate().map(flag).collect();
        }
        let mut flags = vec![false; rows];
        match (name, &self.starts) {
            (ENDS, Some(starts)) => {
                for &start in starts {
                    flags[start - 1] = true;
                }
                // The file ends with its last episode.
                if let Some(last) = flags.last_mut() {
                    *last = true;
                }
                Ok(flags)
            }
            (name, Some(_)) if name == TERMINALS[0] => Ok(flags),
            _ => Err(DataError::MissingKey {
                path: self.path.into(),
                key: name.into(),
                expected: "a column terminal or terminated, of 0 and 1, or episode, which numbers \
                           episodes",
            }),
        }
    }

    fn guess_flags(&self, name: &str, rows: usize, hints: &[&str]) -> Option<Vec<bool>> {
        let lower = name.to_lowercase();
        if !hints.iter().any(|hint| lower.contains(hint)) {
            return None;
        }
        self.read_flags(name, rows).ok()
    }
}

/// The index that column `there` has as a part of the vector `name`.
fn index_of(there: &str, name: &str) -> Option<usize> {
    let rest = there.strip_prefix(name)?;
    let digits = match rest.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => rest.strip_prefix(['_', '.', '/', ':']).unwrap_or(rest),
    };
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

/// Whether a column of this name is a part of an observation, an action or a reward.
fn is_known(name: &str) -> bool {
    let vectors = [&OBSERVATIONS[..], &ACTIONS, &NEXT, &REWARDS].concat();
    vectors
        .iter()
        .any(|vector| name == *vector || index_of(name, vector).is_some())
}

/// A number, or a flag as one.
fn number(field: &str) -> Option<f32> {
    match field {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => field.parse().ok(),
    }
}

/// What stands between the columns of the first line: a comma, or where there is none a
/// tab or a semicolon.
fn separator(path: &Path) -> std::io::Result<u8> {
    use std::io::{BufRead, BufReader, Read};
    let mut line = Vec::new();
    let most = 1 << 20;
    BufReader::new(File::open(path)?.take(most)).read_until(b'\n', &mut line)?;
    let found = [b',', b'\t', b';']
        .into_iter()
        .find(|byte| line.contains(byte));
    Ok(found.unwrap_or(b','))
}

fn damaged(path: &Path, place: String, reason: String) -> DataError {
    DataError::Damaged {
        path: path.into(),
        place,
        reason,
    }
}

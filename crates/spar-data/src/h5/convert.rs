//! From one layout to the other, an episode at a time: of a whole data set only the
//! flags of a D4RL file are held, two bytes a row.
//!
//! Minari keeps an episode's last observation and D4RL's layout does not, except
//! in files with `next_observations`: those convert there and back row for row. D4RL's
//! loader drops a cut episode's last row all the same, so a file that is written with them
//! from Minari's layout says that they are to be used ([`META_NEXT`]).
//! From others, a step whose next observation nobody recorded is left out, as
//! D4RL's own loader does, and [`Converted`] counts what was.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde_json::{Map, Value};
use spar_core::{DatasetIdentity, EnvId};

use super::{
    d4rl::{D4rl, Identified},
    groups::Groups,
    joined::Joined,
    named_env,
    source::Source,
    writer::{MetaValue, Row, Writer},
};
use crate::{
    dataset::{Dataset, EpisodeEnd, Layout, Marks, episodes},
    error::DataError,
    flags::Flagged,
    identity::{META_DATASET, META_NEXT, META_ORIGIN, META_RECORDED},
    minari::{About, Episode, EpisodeRows, Episodes, MinariWriter, refuse_existing},
    past,
    precheck::{Kind, Scanned},
    read::Checked,
    reading::{Asked, Next, Parts, Reading},
    successors::{self, Flags},
};

/// For data that do not need one to tell where episodes are cut.
const NO_HORIZON: usize = usize::MAX;

/// Data to be converted. Both ways, what is wrong with a number is found on the way
/// to it, and nothing is left behind then.
pub struct Conversion {
    checked: Checked,
    scanned: Scanned,
    /// `None` for what is read whole: archives, tables, other programs' HDF5.
    layout: Option<Layout>,
    env: Option<EnvId>,
    reading: Reading,
}

/// What became of converted data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The data as they are now.
    pub identity: DatasetIdentity,
    /// Rows left out, one an episode at most: the last of a cut episode, whose
    /// next observation is not recorded.
    pub left_out: usize,
    /// Terminated episodes whose last observation is not recorded. The one before
    /// stands in its place, which no learner looks at: the step is terminal.
    pub repeated: usize,
    /// What a user should know about the data before, one line each.
    pub notes: Vec<String>,
}

impl Conversion {
    /// The data at `path`, which may be all that
    /// [`Dataset::read`](crate::Dataset::read) takes. With `env`, data whose widths
    /// are not its are refused, the actions of a Minari data set are declared to lie in
    /// `[-1, 1]` as all of its do, and an old file without timeouts is cut at its
    /// horizon. `reading` says how they are read.
    ///
    /// # Errors
    /// As [`Dataset::read`](crate::Dataset::read), as far as no array is concerned.
    pub fn open(path: &Path, env: Option<EnvId>, reading: Reading) -> Result<Self, DataError> {
        let checked = Checked::at(path, &reading)?;
        let scanned = checked.scan()?;
        let layout = match checked.kind() {
            Kind::Hdf5 => {
                let source = checked.open()?;
                let layout = source.layout;
                Groups::of(&source).is_none().then_some(layout)
            }
            // Read whole.
            _ => None,
        };
        Ok(Self {
            checked,
            scanned,
            layout,
            env,
            reading,
        })
    }

    /// How the data are laid out now, if in one of the layouts that are written.
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// Writes them as the Minari data set `id` to the folder `folder`, whole or not
    /// at all.
    ///
    /// # Errors
    /// [`DataError::Exists`] if something is at `folder`, [`DataError::BadId`],
    /// [`DataError::SameLayout`] for data of a Minari data set,
    /// [`DataError::NotConverted`] for data in neither layout,
    /// [`DataError::NoCuts`] for a file without timeouts where no environment is named,
    /// [`DataError::Write`], and what [`Dataset::read`](crate::Dataset::read) refuses.
    pub fn to_minari(self, folder: &Path, id: &str) -> Result<Converted, DataError> {
        let asked = asked(self.env, &self.reading);
        if self.layout.is_none() {
            let path = self.checked.path().into();
            return Err(DataError::NotConverted { path });
        }
        let source = self.checked.open()?;
        if self.layout == Some(Layout::Minari) {
            let episodes = self.checked.episodes(&source, asked)?;
            return Err(same_layout(
                episodes.identity(self.scanned.sha256),
                Layout::Minari,
            ));
        }
        let file = D4rl::open(&source, asked)?;
        let Identified {
            metadata,
            identity,
            named,
            mut notes,
        } = file.identify(self.scanned)?;
        let tells = file.flags.has_cuts() || file.next_observations.is_some();
        let horizon = match self.env {
            Some(env) => env.horizon(),
            None if tells => NO_HORIZON,
            None => return Err(DataError::NoCuts { id: identity.id }),
        };
        let mut fields = source_fields(&identity, &metadata);
        if let Some(env) = named_env::one(&named) {
            fields.insert("spar_env".to_owned(), env.name().into());
        }
        let about = About {
            id: id.to_owned(),
            obs_dim: file.observations.width(),
            act_dim: file.actions.width(),
            action_bounds: self.env.map(|_| (-1.0, 1.0)),
            fields,
        };
        let mut writer = MinariWriter::create(folder, about)?;
        let flagged = file.flags.read(&source)?;
        let (breaks, past_terminals, note) = breaks(&source, asked, &flagged)?;
        notes.extend(flagged.notes.iter().cloned().chain(note));
        let marks = (breaks, past_terminals);
        let (left_out, repeated) = write_episodes(file, flagged, marks, horizon, &mut writer)?;
        Ok(Converted {
            identity: writer.finish()?,
            left_out,
            repeated,
            notes,
        })
    }

    /// Writes them as a file in D4RL's layout to `path`, whole or not at all, that has the
    /// same transitions. Data in neither layout are written row for row, with
    /// `next_observations` where they record them.
    ///
    /// Of a Minari data set every step has its successor, and the file says so
    /// ([`META_NEXT`]).
    /// An episode's last row carries the flags it has; one with neither is marked as
    /// cut, since D4RL's layout tells episodes by nothing else. Flags within an
    /// episode do not end it in Minari: such a termination is kept, such a truncation
    /// is not.
    ///
    /// # Errors
    /// [`DataError::Exists`] if something is at `path`, [`DataError::SameLayout`] for
    /// data in D4RL's layout, [`DataError::NoRewards`], [`DataError::Write`], and what
    /// [`Dataset::read`](crate::Dataset::read) refuses.
    pub fn to_d4rl(self, path: &Path) -> Result<Converted, DataError> {
        if self.layout.is_none() {
            return self.whole_to_d4rl(path);
        }
        let asked = asked(self.env, &self.reading);
        let source = self.checked.open()?;
        if self.layout == Some(Layout::D4rl) {
            let file = D4rl::open(&source, asked)?;
            return Err(same_layout(
                file.identify(self.scanned)?.identity,
                Layout::D4rl,
            ));
        }
        refuse_existing(path)?;
        let episodes = self.checked.episodes(&source, asked)?;
        let notes = episodes.notes()?;
        let identity = episodes.identity(self.scanned.sha256);
        let fields = source_fields(&identity, &episodes.about().shown());
        let text = |(key, value): (String, Value)| Some((key, value.as_str()?.into()));
        let mut metadata: BTreeMap<String, MetaValue> =
            fields.into_iter().filter_map(text).collect();
        metadata.insert(META_ORIGIN.into(), "minari".into());
        metadata.insert(META_DATASET.into(), identity.id.clone().into());
        // Of every step, the one after a cut included, as in Minari's layout.
        metadata.insert(META_NEXT.into(), META_RECORDED.into());
        if let Some(env) = named_env::one(&episodes.about().named()) {
            metadata.insert("spar_env".to_owned(), env.name().into());
        }
        Ok(Converted {
            identity: write_rows(episodes, path, &metadata, &identity.id)?,
            left_out: 0,
            repeated: 0,
            notes,
        })
    }

    /// [`Self::to_d4rl`] of data in neither layout, which are read whole and written row for
    /// row: what has no successor is dropped on reading, and not here as well.
    fn whole_to_d4rl(self, path: &Path) -> Result<Converted, DataError> {
        refuse_existing(path)?;
        let mut data = Dataset::read_as(self.checked.path(), self.env, &self.reading)?;
        if data.timeouts.is_none() && data.breaks.is_none() {
            let Some(env) = self.env else {
                let id = data.identity.id;
                return Err(DataError::NoCuts { id });
            };
            data.timeouts = Some(data.cut_at(env.horizon()));
        }
        Ok(Converted {
            identity: data.save(path)?,
            left_out: 0,
            repeated: 0,
            notes: data.notes,
        })
    }
}

/// Everything, of `env` if one is named.
fn asked(env: Option<EnvId>, reading: &Reading) -> Asked<'_> {
    let parts = Parts::Everything;
    Asked {
        env,
        reading,
        parts,
    }
}

/// Where the rows of `source` do not follow each other, whether its recording goes on past
/// terminals, and what to say of the former.
fn breaks(
    source: &Source<'_>,
    asked: Asked<'_>,
    flagged: &Flagged,
) -> Result<(Marks, bool, Option<String>), DataError> {
    let file = D4rl::open(source, asked)?;
    let flags = Flags {
        terminals: &flagged.terminals,
        timeouts: flagged.timeouts.as_deref(),
    };
    let Some(next) = file.next_observations else {
        return Ok((Marks::None, past::runs(flags), None));
    };
    let rows = file.observations.rows();
    let width = file.observations.width();
    let (mut now, mut next) = (file.observations.cursor(), next.cursor());
    let found = successors::breaks(
        width,
        flags,
        |rows: Range<usize>, out| now.append(rows, out),
        |rows: Range<usize>, out| next.append(rows, out),
    )?;
    let past_terminals = past::shown(flags, &found);
    let found = found.breaks;
    let note = successors::note(&found, rows, asked.reading.next != Next::Recorded);
    Ok((Marks::Breaks(found.stops), past_terminals, note))
}

/// The error of data that are asked for in the `layout` they have.
fn same_layout(identity: DatasetIdentity, layout: Layout) -> DataError {
    DataError::SameLayout {
        id: identity.id,
        layout: layout.name(),
    }
}

/// Hands every episode of `file` to `writer`. Returns how many last rows were left
/// out, and how many last observations repeated.
fn write_episodes(
    file: D4rl<'_>,
    flagged: Flagged,
    (breaks, past_terminals): (Marks, bool),
    horizon: usize,
    writer: &mut MinariWriter,
) -> Result<(usize, usize), DataError> {
    let Flagged {
        terminals,
        timeouts,
        ..
    } = flagged;
    let obs_dim = file.observations.width();
    let mut observations = file.observations.cursor();
    let mut next_observations = file.next_observations.map(Joined::cursor);
    let mut actions = file.actions.cursor::<f32>();
    let mut rewards = file.rewards.cursor::<f32>();
    let mut qpos = file.qpos.map(|array| array.cursor::<f64>());
    let mut qvel = file.qvel.map(|array| array.cursor::<f64>());
    let (mut left_out, mut repeated) = (0, 0);
    let flags = Flags {
        terminals: &terminals,
        timeouts: timeouts.as_deref(),
    };
    for episode in episodes(flags, past_terminals, breaks, horizon) {
        let mut rows = episode.rows;
        let (mut before, mut last) = (Vec::new(), Vec::new());
        observations.append(rows.clone(), &mut before)?;
        let end = before.len() - obs_dim;
        match (&mut next_observations, episode.end) {
            (Some(next), _) => next.append(rows.end - 1..rows.end, &mut last)?,
            (None, EpisodeEnd::Terminal) => {
                last.extend_from_slice(&before[end..]);
                repeated += 1;
            }
            (None, _) => {
                last = before.split_off(end);
                rows.end -= 1;
                left_out += 1;
            }
        }
        if rows.is_empty() {
            continue;
        }
        let mut truncations = match &timeouts {
            Some(timeouts) => timeouts[rows.clone()].to_vec(),
            None => vec![false; rows.len()],
        };
        if episode.end == EpisodeEnd::Timeout
            && let Some(cut) = truncations.last_mut()
        {
            *cut = true;
        }
        let mut state = [Vec::new(), Vec::new()];
        for (cursor, values) in [&mut qpos, &mut qvel].into_iter().zip(&mut state) {
            if let Some(cursor) = cursor {
                cursor.append(rows.clone(), values)?;
            }
        }
        let (mut acted, mut rewarded) = (Vec::new(), Vec::new());
        actions.append(rows.clone(), &mut acted)?;
        rewards.append(rows.clone(), &mut rewarded)?;
        writer.push(&EpisodeRows {
            observations: &before,
            last: &last,
            actions: &acted,
            rewards: &rewarded,
            terminations: &terminals[rows.clone()],
            truncations: &truncations,
            qpos: qpos.is_some().then_some(&state[0]),
            qvel: qvel.is_some().then_some(&state[1]),
        })?;
    }
    Ok((left_out, repeated))
}

/// Writes every step of `episodes` to the file `path`.
fn write_rows(
    mut episodes: Episodes<'_>,
    path: &Path,
    metadata: &BTreeMap<String, MetaValue>,
    id: &str,
) -> Result<DatasetIdentity, DataError> {
    let mut writer = None;
    let count = episodes.count();
    for i in 0..count {
        let episode = episodes.open(i)?.read()?;
        let widths @ [obs_dim, act_dim, nq, nv] = episodes.widths();
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(Writer::create(path, obs_dim, act_dim, nq, nv, metadata)?),
        };
        push_rows(&episode, widths, i + 1 < count, writer)?;
    }
    let Some(writer) = writer else {
        return Err(DataError::NoTransitions {
            id: id.to_owned(),
            rows: 0,
        });
    };
    episodes.about().agrees("total_steps", writer.rows())?;
    writer.finish()
}

/// Writes one episode, after which there are `more` or not.
fn push_rows(
    episode: &Episode,
    [obs_dim, act_dim, nq, nv]: [usize; 4],
    more: bool,
    writer: &mut Writer,
) -> Result<(), DataError> {
    let steps = episode.rewards.len();
    for row in 0..steps {
        let last = row + 1 == steps;
        let (terminal, flagged) = (episode.terminations[row], episode.truncations[row]);
        let unmarked = more && !terminal && !flagged;
        let state = |values: &Option<Vec<f64>>, width: usize| match values {
            Some(values) => values[row * width..][..width].to_vec(),
            None => Vec::new(),
        };
        writer.push(&Row {
            obs: &episode.observations[row * obs_dim..][..obs_dim],
            action: &episode.actions[row * act_dim..][..act_dim],
            reward: episode.rewards[row],
            terminal,
            timeout: last && (flagged || unmarked),
            next_obs: &episode.observations[(row + 1) * obs_dim..][..obs_dim],
            qpos: &state(&episode.qpos, nq),
            qvel: &state(&episode.qvel, nv),
        })?;
    }
    Ok(())
}

/// What a converted data set says of where it comes from.
pub(crate) fn source_fields(
    identity: &DatasetIdentity,
    metadata: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let mut fields = Map::from_iter([
        (
            "description".to_owned(),
            format!(
                "converted by spar from {} ({})",
                identity.id, identity.origin
            )
            .into(),
        ),
        ("spar_source".to_owned(), identity.id.clone().into()),
        (
            "spar_source_origin".to_owned(),
            identity.origin.to_string().into(),
        ),
        (
            "spar_source_sha256".to_owned(),
            identity.sha256.clone().into(),
        ),
    ]);
    let said = |key| metadata.get(key);
    if let Some(algorithm) = said("algorithm").or(said("algorithm_name")) {
        fields.insert("algorithm_name".to_owned(), algorithm.clone().into());
    }
    fields
}

//! The arrays of a file in D4RL's layout.

use std::{collections::BTreeMap, ops::Range};

use spar_core::DatasetIdentity;

use super::{
    array::Array,
    joined::Joined,
    metadata,
    named_env::{self, Named},
    source::Source,
};
use crate::{
    dataset::Dataset,
    error::DataError,
    flags::FlagNames,
    identity::{META_NEXT, META_RECORDED, identify},
    past,
    precheck::Scanned,
    read::check_env,
    reading::{Asked, Next, Parts},
    remarks,
    successors::{self, Flags},
};

/// An open file whose arrays fit each other; no number has been read.
pub(crate) struct D4rl<'a> {
    source: &'a Source<'a>,
    asked: Asked<'a>,
    pub(crate) observations: Joined<'a>,
    pub(crate) actions: Array<'a>,
    pub(crate) rewards: Array<'a>,
    pub(crate) flags: FlagNames,
    pub(crate) next_observations: Option<Joined<'a>>,
    pub(crate) qpos: Option<Array<'a>>,
    pub(crate) qvel: Option<Array<'a>>,
}

/// What is known of a file besides its arrays.
pub(crate) struct Identified {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) identity: DatasetIdentity,
    /// What says which environment they are of.
    pub(crate) named: Vec<Named>,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

impl Identified {
    /// What follows a row where `asked` is asked for, of a file with `recorded` successors or
    /// without.
    fn next(&self, asked: Next, recorded: bool) -> Next {
        let said = self.metadata.get(META_NEXT).map(String::as_str);
        match asked {
            Next::Checked if recorded && said == Some(META_RECORDED) => Next::Recorded,
            asked => asked,
        }
    }
}

impl<'a> D4rl<'a> {
    /// Finds the arrays of `source` and holds them against each other, and against
    /// the environment if one is asked for.
    pub(crate) fn open(source: &'a Source<'a>, asked: Asked<'a>) -> Result<Self, DataError> {
        let Asked {
            env,
            reading,
            parts,
        } = asked;
        let names = &reading.observations;
        let observations = source.joined("observations", names, None, None)?;
        let (rows, obs_dim) = (observations.rows(), observations.width());
        let actions = source.matrix("actions", Some(rows), None)?;
        check_env(source.path, env, obs_dim, actions.width())?;
        let optional = |key| match parts {
            Parts::Everything => source.matrix_if_present(key, Some(rows), None),
            Parts::Training => Ok(None),
        };
        let next = "next_observations";
        let next_observations = if !source.exists(next) || reading.next == Next::Following {
            None
        } else if source.is_group(next) {
            Some(source.joined(next, names, Some(rows), Some(obs_dim))?)
        } else {
            Some(source.matrix(next, Some(rows), Some(obs_dim))?.into())
        };
        Ok(Self {
            source,
            asked,
            observations,
            actions,
            rewards: source.column("rewards", rows)?,
            flags: checked_flags(source, rows)?,
            next_observations,
            qpos: optional("infos/qpos")?,
            qvel: optional("infos/qvel")?,
        })
    }

    /// What a file whose bytes were `scanned` says of itself, and which data it holds.
    ///
    /// # Errors
    /// [`DataError::OtherEnv`], and what is wrong with its texts.
    pub(crate) fn identify(&self, scanned: Scanned) -> Result<Identified, DataError> {
        let (path, rows) = (self.source.path, self.observations.rows());
        let metadata = metadata::read(self.source, Some(scanned.heaps_end))?;
        let (identity, mut notes) = identify(path, scanned.sha256, rows, &metadata);
        let named = named_env::of_file(&metadata, &identity);
        notes.extend(named_env::check(path, &self.asked, &named)?);
        Ok(Identified {
            metadata,
            identity,
            named,
            notes,
        })
    }

    /// All of it, in memory; `scanned` is called last.
    pub(crate) fn read(
        self,
        scanned: impl FnOnce() -> Result<Scanned, DataError>,
    ) -> Result<Dataset, DataError> {
        let observations = self.observations.read()?;
        let actions = self.actions.read()?;
        let rewards = self.rewards.read()?;
        let flagged = self.flags.read(self.source)?;
        let [qpos, qvel] = [&self.qpos, &self.qvel].map(|array| array.as_ref().map(Array::read));
        let (qpos, qvel) = (qpos.transpose()?, qvel.transpose()?);
        let (obs_dim, act_dim) = (self.observations.width(), self.actions.width());
        let integers = self.actions.holds_integers();
        let action_bounds = self.source.declared_bounds(act_dim);
        let Asked { reading, parts, .. } = self.asked;
        let flags = Flags {
            terminals: &flagged.terminals,
            timeouts: flagged.timeouts.as_deref(),
        };
        let (next_observations, compared) = match &self.next_observations {
            Some(array) if parts == Parts::Everything || reading.next == Next::Recorded => {
                let next = array.read()?;
                let compared = successors::breaks_in_memory(obs_dim, flags, &observations, &next)?;
                (Some(next), Some(compared))
            }
            _ => (None, None),
        };
        let identified = self.identify(scanned()?)?;
        let next = identified.next(reading.next, self.next_observations.is_some());
        let mut next_observations = next_observations;
        let compared = match self.next_observations {
            Some(array) if next_observations.is_none() && next == Next::Recorded => {
                let recorded = array.read()?;
                let found = successors::breaks_in_memory(obs_dim, flags, &observations, &recorded);
                next_observations = Some(recorded);
                Some(found?)
            }
            // Banded, so that training does not hold them.
            Some(array) if next_observations.is_none() => {
                let mut next = array.cursor();
                let now = |rows: Range<usize>, out: &mut Vec<f32>| {
                    out.extend_from_slice(&observations[rows.start * obs_dim..rows.end * obs_dim]);
                    Ok(())
                };
                let found =
                    successors::breaks(obs_dim, flags, now, |rows, out| next.append(rows, out));
                Some(found?)
            }
            _ => compared,
        };
        let past_terminals = compared
            .as_ref()
            .is_some_and(|compared| past::shown(flags, compared));
        let Identified {
            metadata,
            identity,
            named,
            mut notes,
        } = identified;
        notes.extend(flagged.notes);
        let mut data = Dataset {
            obs_dim,
            act_dim,
            observations,
            actions,
            rewards,
            rewarded: true,
            terminals: flagged.terminals,
            timeouts: flagged.timeouts,
            past_terminals,
            next_observations,
            next,
            breaks: compared.map(|compared| compared.breaks),
            ends: None,
            qpos,
            qvel,
            action_bounds,
            metadata,
            identity,
            notes,
        };
        remarks::add(
            &mut data,
            self.asked.env.or(named_env::one(&named)),
            integers,
        )?;
        Ok(data)
    }

    /// Has the library do all that it is going to do for [`Self::read`].
    pub(crate) fn rehearse(&self) -> Result<(), DataError> {
        let optional = [&self.qpos, &self.qvel]
            .into_iter()
            .filter_map(Option::as_ref);
        let mut all = [&self.actions, &self.rewards].into_iter().chain(optional);
        all.try_for_each(Array::rehearse)?;
        let mut joined = [&self.observations]
            .into_iter()
            .chain(&self.next_observations);
        joined.try_for_each(Joined::rehearse)?;
        for name in self.flags.all() {
            self.source
                .flags(name, self.observations.rows())?
                .rehearse()?;
        }
        // All rows are ends: nothing is found, after everything was looked at.
        let ends = vec![true; self.observations.rows()];
        self.flags.unread(self.source, &ends, None);
        self.source.declared_bounds(self.actions.width());
        metadata::read(self.source, None).map(drop)
    }
}

/// The flags of a file of `rows` rows, whose types and shapes are right.
fn checked_flags(source: &Source<'_>, rows: usize) -> Result<FlagNames, DataError> {
    let names = FlagNames::of(source, rows);
    for name in names.all() {
        source.flags(name, rows)?;
    }
    Ok(names)
}

//! The arrays of a file in D4RL's layout.

use std::collections::BTreeMap;

use spar_core::{DatasetIdentity, EnvId};

use crate::{
    array::Array,
    dataset::Dataset,
    error::DataError,
    identity::identify,
    metadata,
    precheck::Scanned,
    read::{Parts, check_env},
    source::Source,
};

/// An open file whose arrays fit each other; no number has been read.
pub(crate) struct D4rl<'a> {
    source: &'a Source<'a>,
    pub(crate) observations: Array<'a>,
    pub(crate) actions: Array<'a>,
    pub(crate) rewards: Array<'a>,
    pub(crate) terminals: Array<'a>,
    pub(crate) timeouts: Option<Array<'a>>,
    pub(crate) next_observations: Option<Array<'a>>,
    pub(crate) qpos: Option<Array<'a>>,
    pub(crate) qvel: Option<Array<'a>>,
}

/// What is known of a file besides its arrays.
pub(crate) struct Identified {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) identity: DatasetIdentity,
    /// What a user should know.
    pub(crate) notes: Vec<String>,
}

impl<'a> D4rl<'a> {
    /// Finds the arrays of `source` and holds them against each other, and against
    /// `env` if one is named.
    pub(crate) fn open(
        source: &'a Source<'a>,
        env: Option<EnvId>,
        parts: Parts,
    ) -> Result<Self, DataError> {
        let observations = source.matrix("observations", None, None)?;
        let (rows, obs_dim) = (observations.rows(), observations.width());
        let actions = source.matrix("actions", Some(rows), None)?;
        check_env(source.path, env, obs_dim, actions.width())?;
        let optional = |key, width| match parts {
            Parts::Everything => source.matrix_if_present(key, Some(rows), width),
            Parts::Training => Ok(None),
        };
        Ok(Self {
            source,
            observations,
            actions,
            rewards: source.column("rewards", rows)?,
            terminals: source.flags("terminals", rows)?,
            timeouts: match source.exists("timeouts") {
                true => Some(source.flags("timeouts", rows)?),
                false => None,
            },
            next_observations: optional("next_observations", Some(obs_dim))?,
            qpos: optional("infos/qpos", None)?,
            qvel: optional("infos/qvel", None)?,
        })
    }

    /// What a file whose bytes were `scanned` says of itself, and which data it holds.
    pub(crate) fn identify(&self, scanned: Scanned) -> Identified {
        let (path, rows) = (self.source.path, self.observations.rows());
        let metadata = metadata::read(path, &self.source.file, Some(scanned.heaps_end));
        let (identity, notes) = identify(path, scanned.sha256, rows, &metadata);
        Identified {
            metadata,
            identity,
            notes,
        }
    }

    /// All of it, in memory; `scanned` is called last.
    pub(crate) fn read(
        self,
        scanned: impl FnOnce() -> Result<Scanned, DataError>,
    ) -> Result<Dataset, DataError> {
        let observations = self.observations.read()?;
        let actions = self.actions.read()?;
        let rewards = self.rewards.read()?;
        let terminals = self.terminals.flags()?;
        let timeouts = self.timeouts.as_ref().map(Array::flags).transpose()?;
        let next_observations = self.next_observations.as_ref().map(Array::read);
        let next_observations = next_observations.transpose()?;
        let [qpos, qvel] = [&self.qpos, &self.qvel].map(|array| array.as_ref().map(Array::read));
        let (qpos, qvel) = (qpos.transpose()?, qvel.transpose()?);
        let Identified {
            metadata,
            identity,
            notes,
        } = self.identify(scanned()?);
        Ok(Dataset {
            obs_dim: self.observations.width(),
            act_dim: self.actions.width(),
            observations,
            actions,
            rewards,
            terminals,
            timeouts,
            next_observations,
            ends: None,
            qpos,
            qvel,
            metadata,
            identity,
            notes,
        })
    }

    /// Has the library do all that it is going to do for [`Self::read`].
    pub(crate) fn rehearse(&self) -> Result<(), DataError> {
        let always = [
            &self.observations,
            &self.actions,
            &self.rewards,
            &self.terminals,
        ];
        let optional = [
            &self.timeouts,
            &self.next_observations,
            &self.qpos,
            &self.qvel,
        ];
        let all = always
            .into_iter()
            .chain(optional.into_iter().filter_map(Option::as_ref));
        metadata::read(self.source.path, &self.source.file, None);
        all.into_iter().try_for_each(Array::rehearse)
    }
}

//! A path in, checked arrays out: the checks before any layout is known, and the
//! reader of D4RL's.

use std::path::Path;

use spar_core::{EnvId, files::sha256_file};

use crate::{
    dataset::{Dataset, Layout},
    error::DataError,
    identity::identify,
    metadata,
    minari::{self, Description},
    precheck::precheck,
    source::Source,
};

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    Everything,
    Training,
}

pub(crate) fn read_file(
    path: &Path,
    env: Option<EnvId>,
    parts: Parts,
) -> Result<Dataset, DataError> {
    let path = &*minari::locate(path);
    let described = Description::beside(path)?;
    let length = precheck(path)?;
    let sha256 = sha256_file(path).map_err(|source| DataError::Io {
        path: path.into(),
        doing: "read the data file",
        source,
    })?;
    let source = Source::open(path, length)?;
    match source.layout {
        Layout::D4rl => read_d4rl(&source, sha256, env, parts),
        Layout::Minari => minari::read(&source, described, sha256, env, parts),
    }
}

fn read_d4rl(
    source: &Source<'_>,
    sha256: String,
    env: Option<EnvId>,
    parts: Parts,
) -> Result<Dataset, DataError> {
    let (obs_dim, observations) = source.matrix::<f32>("observations", None)?;
    let rows = observations.len() / obs_dim;
    let (act_dim, actions) = source.matrix::<f32>("actions", Some(rows))?;
    check_env(source.path, env, obs_dim, act_dim)?;
    let rewards = source.column("rewards", rows)?;
    let terminals = source.flags("terminals", rows)?;
    let timeouts = source.if_present("timeouts", |key| source.flags(key, rows))?;

    let (mut next_observations, mut qpos, mut qvel) = (None, None, None);
    if parts == Parts::Everything {
        let matrix64 = |key: &str| Ok(source.matrix::<f64>(key, Some(rows))?.1);
        next_observations = source.if_present("next_observations", |key| {
            let (width, values) = source.matrix::<f32>(key, Some(rows))?;
            if width != obs_dim {
                let got = [rows, width];
                return Err(source.shape_error(key, format!("[{rows}, {obs_dim}]"), &got));
            }
            Ok(values)
        })?;
        qpos = source.if_present("infos/qpos", matrix64)?;
        qvel = source.if_present("infos/qvel", matrix64)?;
    }

    let metadata = metadata::read(source.path, &source.file);
    let (identity, notes) = identify(source.path, sha256, rows, &metadata);
    Ok(Dataset {
        obs_dim,
        act_dim,
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

/// Refuses widths that are not `env`'s.
pub(crate) fn check_env(
    path: &Path,
    env: Option<EnvId>,
    obs_dim: usize,
    act_dim: usize,
) -> Result<(), DataError> {
    let Some(env) = env else { return Ok(()) };
    let widths = [
        ("observations", env.obs_dim(), obs_dim),
        ("actions", env.act_dim(), act_dim),
    ];
    match widths
        .into_iter()
        .find(|(_, expected, got)| expected != got)
    {
        None => Ok(()),
        Some((key, expected, got)) => Err(DataError::WrongEnv {
            path: path.into(),
            key,
            env,
            expected,
            got,
        }),
    }
}

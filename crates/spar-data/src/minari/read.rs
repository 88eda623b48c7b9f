//! Episodes in, one validated [`Dataset`] out.

use spar_core::{DatasetIdentity, EnvId, Origin};

use super::description::{Description, mend};
use crate::{
    dataset::{Dataset, Ends},
    error::DataError,
    read::{Parts, check_env},
    source::{Source, damaged},
};

/// Reads every episode of `source`, described by the `metadata.json` beside it
/// or else by its attributes.
pub(crate) fn read(
    source: &Source<'_>,
    described: Option<Description>,
    sha256: String,
    env: Option<EnvId>,
    parts: Parts,
) -> Result<Dataset, DataError> {
    let path = source.path;
    let about = described.unwrap_or_else(|| Description::of_attributes(path, &source.file));
    let obs_dim = about.width("observation_space", "observations")?;
    let act_dim = about.width("action_space", "actions")?;
    let groups = source
        .file
        .member_names()
        .map_err(|e| damaged(path, "file", &e))?;
    let groups = groups
        .iter()
        .filter(|name| name.starts_with("episode_"))
        .count();
    let episodes = about.count("total_episodes")?.unwrap_or(groups);
    about.agrees("total_episodes", groups)?;

    for (key, what) in [("observations", "observations"), ("actions", "actions")] {
        refuse_spaces(source, &format!("episode_0/{key}"), what)?;
    }
    let mut all = Flat::new(obs_dim, act_dim, parts);
    for episode in 0..episodes {
        all.read(source, episode)?;
        if episode == 0 {
            check_env(path, env, all.widths[OBS], all.widths[ACT])?;
            all.reserve(about.count("total_steps")?.unwrap_or(0));
        }
    }
    let rows = all.rewards.len();
    about.agrees("total_steps", rows)?;
    Ok(Dataset {
        obs_dim: all.widths[OBS],
        act_dim: all.widths[ACT],
        observations: all.observations,
        actions: all.actions,
        rewards: all.rewards,
        terminals: all.terminations,
        timeouts: Some(all.truncations),
        next_observations: None,
        ends: Some(all.ends),
        qpos: all.qpos.values,
        qvel: all.qvel.values,
        metadata: about.shown(),
        identity: DatasetIdentity {
            id: about.id(path),
            origin: Origin::Minari,
            sha256,
            rows,
        },
        notes: Vec::new(),
    })
}

/// Refuses what is no array of rows, whether the description says so or not.
fn refuse_spaces(source: &Source<'_>, key: &str, what: &'static str) -> Result<(), DataError> {
    let got = if source.is_group(key) {
        "groups of arrays (a Dict or Tuple space)".to_owned()
    } else {
        match source.shape(key)? {
            None => return Ok(()),
            Some(shape) if shape.len() == 2 => return Ok(()),
            Some(shape) => format!("arrays of shape {shape:?} an episode"),
        }
    };
    Err(DataError::Space {
        path: source.path.into(),
        what,
        got,
        mend: mend(what),
    })
}

/// Places in [`Flat::widths`].
const OBS: usize = 0;
const ACT: usize = 1;

/// The episodes so far, one after the other.
struct Flat {
    /// Of observations and actions; 0 until known.
    widths: [usize; 2],
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    terminations: Vec<bool>,
    truncations: Vec<bool>,
    ends: Ends,
    qpos: State,
    qvel: State,
}

impl Flat {
    fn new(obs_dim: Option<usize>, act_dim: Option<usize>, parts: Parts) -> Self {
        let state = || State {
            width: 0,
            values: (parts == Parts::Everything).then(Vec::new),
        };
        Self {
            widths: [obs_dim.unwrap_or(0), act_dim.unwrap_or(0)],
            observations: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            terminations: Vec::new(),
            truncations: Vec::new(),
            ends: Ends {
                stops: Vec::new(),
                observations: Vec::new(),
            },
            qpos: state(),
            qvel: state(),
        }
    }

    /// Asks for room for `steps`, so that memory stays near the data's size. The
    /// number is the description's and may be absurd: what cannot be had is not
    /// missed, and what is not used is never touched.
    fn reserve(&mut self, steps: usize) {
        let [obs, act] = self.widths.map(|width| steps.saturating_mul(width));
        let more = |v: &mut Vec<f32>, n: usize| v.try_reserve_exact(n.saturating_sub(v.len())).ok();
        more(&mut self.observations, obs);
        more(&mut self.actions, act);
        more(&mut self.rewards, steps);
    }

    fn read(&mut self, source: &Source<'_>, episode: usize) -> Result<(), DataError> {
        let key = |name: &str| format!("episode_{episode}/{name}");
        let actions = self.matrix(source, ACT, &key("actions"), None)?;
        let steps = actions.len() / self.widths[ACT];
        let observations = self.matrix(source, OBS, &key("observations"), Some(steps + 1))?;
        let (before, after) = observations.split_at(steps * self.widths[OBS]);
        self.observations.extend_from_slice(before);
        self.ends.observations.extend_from_slice(after);
        self.actions.extend(actions);
        self.rewards.extend(source.column(&key("rewards"), steps)?);
        self.terminations
            .extend(source.flags(&key("terminations"), steps)?);
        self.truncations
            .extend(source.flags(&key("truncations"), steps)?);
        self.ends.stops.push(self.rewards.len());
        self.qpos.read(source, &key("infos/qpos"), steps)?;
        self.qvel.read(source, &key("infos/qvel"), steps)
    }

    /// Rows as wide as the description or the first episode says.
    fn matrix(
        &mut self,
        source: &Source<'_>,
        which: usize,
        key: &str,
        rows: Option<usize>,
    ) -> Result<Vec<f32>, DataError> {
        let (width, values) = source.matrix::<f32>(key, rows)?;
        let expected = &mut self.widths[which];
        if *expected == 0 {
            *expected = width;
        }
        if width == *expected {
            return Ok(values);
        }
        let rows = values.len() / width;
        Err(source.shape_error(key, format!("[{rows}, {expected}]"), &[rows, width]))
    }
}

/// A part of the simulator's state, `None` where an episode does not record it.
///
/// Minari keeps one info more than steps, the first of the reset: the infos
/// before each step. Without that one they are taken to be the same, as this
/// project writes them.
struct State {
    width: usize,
    values: Option<Vec<f64>>,
}

impl State {
    fn read(&mut self, source: &Source<'_>, key: &str, steps: usize) -> Result<(), DataError> {
        let Some(values) = &mut self.values else {
            return Ok(());
        };
        let Some((width, state)) = source.if_present(key, |key| source.matrix::<f64>(key, None))?
        else {
            self.values = None;
            return Ok(());
        };
        if values.is_empty() {
            self.width = width;
        }
        let rows = state.len() / width;
        if width != self.width || (rows != steps && rows != steps + 1) {
            let expected = format!("[{steps} or {}, {}]", steps + 1, self.width);
            return Err(source.shape_error(key, expected, &[rows, width]));
        }
        values.extend_from_slice(&state[..steps * width]);
        Ok(())
    }
}

//! Episodes one after the other, and all of them as one validated [`Dataset`].

use spar_core::{DatasetIdentity, Origin};

use super::description::{Description, remedy};
use crate::{
    dataset::{Dataset, Ends},
    error::DataError,
    h5::{
        array::Array,
        joined::Joined,
        named_env,
        source::{Source, damaged},
    },
    precheck::Scanned,
    read::check_env,
    reading::{Asked, Parts},
    remarks,
};

/// The episodes of an open file, in order.
pub(crate) struct Episodes<'a> {
    source: &'a Source<'a>,
    about: Description,
    asked: Asked<'a>,
    count: usize,
    /// Of observations and actions, as the description or the first episode says.
    widths: [Option<usize>; 2],
    qpos: State,
    qvel: State,
}

/// A part of the simulator's state. It counts as recorded if every episode has it.
///
/// Minari keeps one info more than steps, the first of the reset: the infos
/// before each step. Without that one they are taken to be the same, as this
/// project writes them.
struct State {
    name: &'static str,
    recorded: bool,
    width: Option<usize>,
}

/// The arrays of one episode, which fit each other.
pub(crate) struct EpisodeArrays<'a> {
    steps: usize,
    observations: Joined<'a>,
    actions: Array<'a>,
    rewards: Array<'a>,
    terminations: Array<'a>,
    truncations: Array<'a>,
    qpos: Option<Array<'a>>,
    qvel: Option<Array<'a>>,
}

/// One episode of `steps` steps.
pub(crate) struct Episode {
    /// `[steps + 1, obs_dim]`.
    pub(crate) observations: Vec<f32>,
    /// `[steps, act_dim]`.
    pub(crate) actions: Vec<f32>,
    /// `[steps]`.
    pub(crate) rewards: Vec<f32>,
    /// `[steps]`.
    pub(crate) terminations: Vec<bool>,
    /// `[steps]`.
    pub(crate) truncations: Vec<bool>,
    /// `[steps, nq]`, before each step.
    pub(crate) qpos: Option<Vec<f64>>,
    /// `[steps, nv]`, before each step.
    pub(crate) qvel: Option<Vec<f64>>,
}

impl<'a> Episodes<'a> {
    /// Those of `source`, described by the `metadata.json` beside it or else by its
    /// attributes.
    pub(crate) fn new(
        source: &'a Source<'a>,
        described: Option<Description>,
        asked: Asked<'a>,
    ) -> Result<Self, DataError> {
        let path = source.path;
        let about = match described {
            Some(about) => about,
            None => Description::of_attributes(path, &source.file)?,
        };
        let joined = !asked.reading.observations.is_empty();
        let obs = match joined {
            // The space is of what is joined.
            true => None,
            false => about.width("observation_space", "observations")?,
        };
        let widths = [obs, about.width("action_space", "actions")?];
        let groups = source
            .file
            .member_names()
            .map_err(|e| damaged(path, "file", &e))?;
        let groups = groups
            .iter()
            .filter(|name| name.starts_with("episode_"))
            .count();
        let count = about.count("total_episodes")?.unwrap_or(groups);
        about.agrees("total_episodes", groups)?;
        let whole = ["observations", "actions"].into_iter();
        for what in whole.skip(usize::from(joined)) {
            refuse_spaces(source, &format!("episode_0/{what}"), what)?;
        }
        let state = |name| {
            let there = |episode| source.exists(&format!("episode_{episode}/{name}"));
            State {
                name,
                recorded: asked.parts == Parts::Everything && (0..count).all(there),
                width: None,
            }
        };
        let [qpos, qvel] = ["infos/qpos", "infos/qvel"].map(state);
        Ok(Self {
            source,
            about,
            asked,
            count,
            widths,
            qpos,
            qvel,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What the data set says of itself.
    pub(crate) fn about(&self) -> &Description {
        &self.about
    }

    /// Widths of observations, actions and the two parts of the simulator's state (0
    /// where not recorded), once an episode has been opened.
    pub(crate) fn widths(&self) -> [usize; 4] {
        let [obs, act] = self.widths;
        [obs, act, self.qpos.width, self.qvel.width].map(|width| width.unwrap_or(0))
    }

    /// What a user should know of what they say of themselves.
    ///
    /// # Errors
    /// [`DataError::OtherEnv`].
    pub(crate) fn notes(&self) -> Result<Vec<String>, DataError> {
        named_env::check(self.source.path, &self.asked, &self.about.named())
    }

    /// Which data these are, whose bytes have the hash `sha256`; their rows have not
    /// been counted.
    pub(crate) fn identity(&self, sha256: String) -> DatasetIdentity {
        DatasetIdentity {
            id: self.about.id(self.source.path),
            origin: Origin::Minari,
            sha256,
            rows: 0,
        }
    }

    /// The arrays of one episode, as wide as those before.
    pub(crate) fn open(&mut self, episode: usize) -> Result<EpisodeArrays<'a>, DataError> {
        let source = self.source;
        let key = |name: &str| format!("episode_{episode}/{name}");
        let [obs, act] = &mut self.widths;
        let actions = source.matrix(&key("actions"), None, *act)?;
        let steps = actions.rows();
        let names = &self.asked.reading.observations;
        let observations = source.joined(&key("observations"), names, Some(steps + 1), *obs)?;
        (*obs, *act) = (Some(observations.width()), Some(actions.width()));
        check_env(
            source.path,
            self.asked.env,
            observations.width(),
            actions.width(),
        )?;
        Ok(EpisodeArrays {
            steps,
            observations,
            actions,
            rewards: source.column(&key("rewards"), steps)?,
            terminations: source.flags(&key("terminations"), steps)?,
            truncations: source.flags(&key("truncations"), steps)?,
            qpos: self.qpos.open(source, episode, steps)?,
            qvel: self.qvel.open(source, episode, steps)?,
        })
    }
}

impl State {
    fn open<'a>(
        &mut self,
        source: &'a Source<'a>,
        episode: usize,
        steps: usize,
    ) -> Result<Option<Array<'a>>, DataError> {
        if !self.recorded {
            return Ok(None);
        }
        let key = format!("episode_{episode}/{}", self.name);
        let array = source.matrix(&key, None, self.width)?;
        let (rows, width) = (array.rows(), array.width());
        if rows != steps && rows != steps + 1 {
            let expected = format!("[{steps} or {}, {width}]", steps + 1);
            return Err(source.shape_error(&key, expected, &[rows, width]));
        }
        self.width = Some(width);
        Ok(Some(array))
    }
}

impl EpisodeArrays<'_> {
    /// Its numbers.
    pub(crate) fn read(self) -> Result<Episode, DataError> {
        let state = |array: Option<Array<'_>>| -> Result<Option<Vec<f64>>, DataError> {
            let Some(array) = array else { return Ok(None) };
            let mut values = array.read()?;
            values.truncate(self.steps * array.width());
            Ok(Some(values))
        };
        Ok(Episode {
            observations: self.observations.read()?,
            actions: self.actions.read()?,
            rewards: self.rewards.read()?,
            terminations: self.terminations.flags()?,
            truncations: self.truncations.flags()?,
            qpos: state(self.qpos)?,
            qvel: state(self.qvel)?,
        })
    }

    /// Has the library do all that it is going to do for [`Self::read`].
    pub(crate) fn rehearse(&self) -> Result<(), DataError> {
        let always = [
            &self.actions,
            &self.rewards,
            &self.terminations,
            &self.truncations,
        ];
        let optional = [&self.qpos, &self.qvel].into_iter();
        let mut all = always
            .into_iter()
            .chain(optional.filter_map(Option::as_ref));
        self.observations.rehearse()?;
        all.try_for_each(Array::rehearse)
    }
}

/// Reads all `episodes`; `scanned` is called last.
pub(crate) fn read(
    mut episodes: Episodes<'_>,
    scanned: impl FnOnce() -> Result<Scanned, DataError>,
) -> Result<Dataset, DataError> {
    let asked = episodes.asked;
    let notes = episodes.notes()?;
    let state = || (asked.parts == Parts::Everything).then(Vec::new);
    let mut data = Dataset {
        obs_dim: 0,
        act_dim: 0,
        observations: Vec::new(),
        actions: Vec::new(),
        rewards: Vec::new(),
        rewarded: true,
        terminals: Vec::new(),
        timeouts: None,
        past_terminals: false,
        next_observations: None,
        next: asked.reading.next,
        breaks: None,
        ends: None,
        qpos: state(),
        qvel: state(),
        action_bounds: None,
        metadata: episodes.about().shown(),
        identity: episodes.identity(String::new()),
        notes,
    };
    let mut integers = false;
    let (mut truncations, mut stops, mut last) = (Vec::new(), Vec::new(), Vec::new());
    let mut ended_early = (0, None);
    let declared = episodes.about().count("total_steps")?.unwrap_or(0);
    for i in 0..episodes.count() {
        let arrays = episodes.open(i)?;
        integers |= arrays.actions.holds_integers();
        let episode = arrays.read()?;
        if i == 0 {
            [data.obs_dim, data.act_dim, ..] = episodes.widths();
            reserve(&mut data, declared);
        }
        let (before, after) = episode
            .observations
            .split_at(episode.rewards.len() * data.obs_dim);
        data.observations.extend_from_slice(before);
        last.extend_from_slice(after);
        data.actions.extend(episode.actions);
        data.rewards.extend(episode.rewards);
        let early = |flags: &[bool]| flags.iter().rev().skip(1).any(|&flag| flag);
        if early(&episode.terminations) || early(&episode.truncations) {
            ended_early.0 += 1;
            ended_early.1.get_or_insert(stops.len());
        }
        data.terminals.extend(episode.terminations);
        truncations.extend(episode.truncations);
        stops.push(data.rewards.len());
        let states = [
            (&mut data.qpos, episode.qpos),
            (&mut data.qvel, episode.qvel),
        ];
        for (all, more) in states {
            match (all.as_mut(), more) {
                (Some(all), Some(more)) => all.extend(more),
                _ => *all = None,
            }
        }
    }
    data.identity.rows = data.rewards.len();
    data.identity.sha256 = scanned()?.sha256;
    episodes.about().agrees("total_steps", data.identity.rows)?;
    data.timeouts = Some(truncations);
    data.ends = Some(Ends {
        stops,
        observations: last,
    });
    data.action_bounds = episodes.about().bounds("action_space", data.act_dim);
    if let (count, Some(first)) = ended_early {
        data.notes.push(format!(
            "{count} episodes, first number {first}, have a termination or truncation before their \
             last step: nothing is learned of what follows it there"
        ));
    }
    let named = named_env::one(&episodes.about().named());
    remarks::add(&mut data, asked.env.or(named), integers)?;
    Ok(data)
}

/// Asks for memory for `steps`, so that memory stays near the data's size. The
/// number is the description's and may be absurd: what cannot be had is not
/// missed, and what is not used is never touched.
fn reserve(data: &mut Dataset, steps: usize) {
    let more = |v: &mut Vec<f32>, width: usize| {
        let n = steps.saturating_mul(width);
        v.try_reserve_exact(n).ok();
    };
    more(&mut data.observations, data.obs_dim);
    more(&mut data.actions, data.act_dim);
    more(&mut data.rewards, 1);
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
        remedy: remedy(what),
    })
}

//! Which environment data say they are of.
//!
//! Widths alone do not tell: HalfCheetah and Walker2d have the same.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use spar_core::{DatasetIdentity, EnvId, Origin, printable};

use crate::{error::DataError, identity::META_DATASET, reading::Asked};

/// Metadata that name an environment, so that one that is not known is worth a note.
const ENVIRONMENTS: [&str; 8] = [
    "env",
    "env_id",
    "env_name",
    "env_spec",
    "env_args",
    "environment",
    "gym_env",
    "spar_env",
];
/// Metadata that name data, of whatever. What a file is called says nothing, so that the
/// name of what data were converted from is none of them.
const DATA: [&str; 4] = [META_DATASET, "dataset_id", "dataset", "task"];

/// What says which environment data are of.
pub(crate) struct Named {
    pub(crate) key: String,
    pub(crate) value: String,
    /// `None` if it is none that is known here.
    pub(crate) env: Option<EnvId>,
}

impl Named {
    /// What `value`, at `key`, says; `None` if nothing.
    pub(crate) fn of(key: &str, value: &str) -> Option<Self> {
        let last = key.rsplit('/').next().unwrap_or(key);
        let strict = ENVIRONMENTS.contains(&last);
        if !strict && !DATA.contains(&last) {
            return None;
        }
        let value = printable(&id_in(value)).into_owned();
        let env = env_of(&value);
        (strict || env.is_some()).then(|| Self {
            key: printable(key).into_owned(),
            value,
            env,
        })
    }
}

/// What a file in D4RL's layout with this `metadata` says.
pub(crate) fn of_file(
    metadata: &BTreeMap<String, String>,
    identity: &DatasetIdentity,
) -> Vec<Named> {
    let official = (identity.origin == Origin::Official).then(|| Named {
        key: "sha256".to_owned(),
        value: identity.id.clone(),
        env: env_of(&identity.id),
    });
    let said = metadata
        .iter()
        .filter_map(|(key, value)| Named::of(key, value));
    official.into_iter().chain(said).collect()
}

/// The environment that data say they are of, if it is one.
pub(crate) fn one(named: &[Named]) -> Option<EnvId> {
    let first = named.iter().find_map(|named| named.env)?;
    let same = |named: &Named| named.env.is_none_or(|env| env == first);
    named.iter().all(same).then_some(first)
}

/// Refuses data that name another environment than the one asked for, unless the user
/// says so. Returns what else is to be said.
pub(crate) fn check(
    path: &Path,
    asked: &Asked<'_>,
    named: &[Named],
) -> Result<Vec<String>, DataError> {
    let Some(env) = asked.env else {
        return Ok(Vec::new());
    };
    let mut notes = Vec::new();
    for Named {
        key,
        value,
        env: found,
    } in named
    {
        match found {
            Some(found) if *found == env => {}
            Some(found) if !asked.reading.other_env => {
                return Err(DataError::OtherEnv {
                    path: path.into(),
                    key: key.clone(),
                    named: value.clone(),
                    found: *found,
                    env,
                });
            }
            Some(found) => notes.push(format!(
                "`{key}` is `{value}`: data of {found}, read as {env}'s because --other-env says so"
            )),
            None => notes.push(format!(
                "`{key}` is `{value}`, an environment that is not known here: taken for {env} by \
                 its widths alone"
            )),
        }
    }
    Ok(notes)
}

/// The id in a specification in JSON, else the text.
fn id_in(text: &str) -> String {
    let spec = text.trim_start().starts_with('{').then(|| {
        let spec: Value = serde_json::from_str(text).ok()?;
        let keys = ["id", "env_id", "env_name"].iter();
        keys.filter_map(|key| spec.get(key)?.as_str().map(str::to_owned))
            .next()
    });
    spec.flatten().unwrap_or_else(|| text.to_owned())
}

/// Names of environments that are words of everyday language: only the first word of an id,
/// or one after [`COLLECTIONS`], is one of them.
const WORDS: [&str; 6] = ["ant", "pen", "hammer", "door", "relocate", "kitchen"];

/// What stands before an environment's name in an id.
const COLLECTIONS: [&str; 6] = ["d4rl", "mujoco", "gym", "gymnasium", "minari", "adroit"];

/// The environment in an id, as in `HalfCheetah-v5`, `mujoco/hopper/medium-v0`,
/// `walker2d-medium-local` or `maze2d-umaze-dense-v1`: parts of the id that side by side are
/// its name. Where several are, the longest.
fn env_of(id: &str) -> Option<EnvId> {
    let lower = id.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let names = |env: EnvId| {
        let whole: String = env.name().split('-').collect();
        let starts = |&first: &usize| {
            let mut rest = whole.as_str();
            for part in &parts[first..] {
                match rest.strip_prefix(part) {
                    Some("") => return true,
                    Some(left) => rest = left,
                    None => return false,
                }
            }
            false
        };
        let mut found = (0..parts.len()).filter(starts);
        match WORDS.contains(&env.name()) {
            true => found.any(|at| at == 0 || COLLECTIONS.contains(&parts[at - 1])),
            false => found.next().is_some(),
        }
    };
    let found = EnvId::all().into_iter().filter(|env| names(*env));
    found.max_by_key(|env| env.name().len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_environments() {
        for (id, env) in [
            ("HalfCheetah-v5", Some(EnvId::HALF_CHEETAH)),
            ("half_cheetah", Some(EnvId::HALF_CHEETAH)),
            ("mujoco/hopper/medium-v0", Some(EnvId::HOPPER)),
            ("D4RL/walker2d/expert-v2", Some(EnvId::WALKER2D)),
            ("gym:Walker2d-v4", Some(EnvId::WALKER2D)),
            ("halfcheetah-medium-local", Some(EnvId::HALF_CHEETAH)),
            ("Ant-v4", Some("ant".parse().unwrap())),
            ("D4RL/door/human-v2", Some("door".parse().unwrap())),
            ("open the door", None),
            (
                "maze2d-umaze-dense-v1",
                Some("maze2d-umaze-dense".parse().unwrap()),
            ),
            (
                "antmaze-large-play-v2",
                Some("antmaze-large".parse().unwrap()),
            ),
            ("HopperBulletEnv-v0", None),
            ("", None),
        ] {
            assert_eq!(env_of(id), env, "{id}");
        }
        let spec = r#"{"id": "HalfCheetah-v5", "entry_point": "x:Hopper"}"#;
        assert_eq!(Named::of("env_spec", spec).unwrap().value, "HalfCheetah-v5");
        assert!(Named::of("algorithm", "hopper").is_none());
        assert!(Named::of("dataset_id", "mine-v0").is_none());
        assert!(Named::of("run/env", "Reacher-v4").unwrap().env.is_none());
    }
}

//! Names that are not known, and the identity of data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{env::EnvId, names::NotAName};

/// A name that is not one of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{got}`; expected one of: {expected}")]
pub struct UnknownName {
    /// What kind of name was asked for.
    pub what: &'static str,
    /// The name that was given.
    pub got: String,
    /// The names that would have done.
    pub expected: String,
}

/// Why an environment or a task was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// Its name cannot be one.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// Another one has its name.
    #[error("{what} `{name}`: there is already another one with this name; give it another")]
    Taken {
        /// `environment` or `task`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A field is out of its range.
    #[error("{what} `{name}`: {field} is {got}, expected {expected}")]
    Field {
        /// `environment`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What would have done.
        expected: &'static str,
    },
}

/// Where a data set comes from. It travels into every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An official D4RL file, proven by its sha256.
    Official,
    /// Generated here by D4RL's recipe from this project's behaviour policies.
    Local,
    /// A Minari data set, or a file converted from one.
    Minari,
    /// Any other file a user brought.
    User,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Official => "official",
            Self::Local => "local",
            Self::Minari => "minari",
            Self::User => "user",
        })
    }
}

/// Which data a result was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetIdentity {
    /// `hopper-medium-v2`, `hopper-medium-local`, `mujoco/hopper/medium-v0`, or a
    /// user file's name.
    pub id: String,
    /// Official, local, of Minari or the user's own.
    pub origin: Origin,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Rows in the file.
    pub rows: usize,
}

impl DatasetIdentity {
    /// [`EnvId::normalized_score`] of a return in these data, or in `env` by what
    /// was trained on them. `None` for Minari's, which were recorded in other
    /// versions of the environments and have no reference scores of D4RL's.
    pub fn normalized_score(&self, env: EnvId, episode_return: f64) -> Option<f64> {
        match self.origin {
            Origin::Minari => None,
            Origin::Official | Origin::Local | Origin::User => env.normalized_score(episode_return),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn minari_s_data_have_no_reference_scores() {
        let of = |origin| DatasetIdentity {
            id: "hopper-medium-v2".to_owned(),
            origin,
            sha256: "0".repeat(64),
            rows: 1,
        };
        let score = |origin| of(origin).normalized_score(EnvId::HOPPER, 1000.0);
        assert_eq!(score(Origin::Minari), None);
        for origin in [Origin::Official, Origin::Local, Origin::User] {
            assert_eq!(score(origin), EnvId::HOPPER.normalized_score(1000.0));
        }
        let text = serde_json::to_string(&Origin::Minari);
        assert_eq!(text.unwrap(), format!("\"{}\"", Origin::Minari));
    }
}

//! Hyper-parameters of the anchor.

use serde::{Deserialize, Serialize};

/// Hyper-parameters of behaviour cloning (CORL's `any_percent_bc.py` uses two
/// hidden layers of 256, Adam 3e-4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Adam's learning rate.
    pub lr: f32,
    /// Gradient updates before the anchor is frozen.
    pub updates: u64,
    /// A policy file that is the anchor instead: of this program, or another's network.
    /// Nothing is cloned then, and nothing above has a meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of that file: what makes it this anchor and not another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A method whose policy is the anchor instead, as in `bc-diffusion`: it is trained first,
    /// on the same data with the same seed, and is then the policy of `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How often a policy of `file` or `method` that draws its action does so in each state of
    /// the data, at most [`MOST_DRAWS`]: what is rectified there is the draw nearest to the
    /// data's action. The more there are, the smaller the residuals and the closer the policy
    /// stays to its base. Absent in records, it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draws: Option<usize>,
}

/// The most draws in a state: each is a pass over all the data.
pub const MOST_DRAWS: usize = 64;

/// The draws in a state where none are named.
pub const DRAWS: usize = 2;

impl AnchorConfig {
    /// Whether the anchor is not cloned, but of a file or of another method.
    pub fn is_given(&self) -> bool {
        self.file.is_some() || self.method.is_some()
    }

    /// The same, with the number of draws it has by default if it needs one and names none.
    #[must_use]
    pub fn with_draws(mut self) -> Self {
        if self.is_given() {
            self.draws.get_or_insert(DRAWS);
        }
        self
    }
}

impl Default for AnchorConfig {
    /// CORL's networks and learning rate, for the 20,000 updates after which the anchor's
    /// returns no longer rise on D4RL's MuJoCo tasks.
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            lr: 3e-4,
            updates: 20_000,
            file: None,
            sha256: None,
            method: None,
            draws: None,
        }
    }
}

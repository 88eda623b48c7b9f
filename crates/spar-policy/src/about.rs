//! What a policy file says of its policy.

use serde::{Deserialize, Serialize};
use spar_core::DatasetIdentity;

/// Where a policy comes from. Text is as it stands in the file: show it through
/// `spar_core::printable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The method's name, as in `bc`.
    pub method: String,
    /// The name of the environment it was trained for, which need not be one that this
    /// program knows; absent if it was trained without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Task id or file name.
    pub task: String,
    /// The data it was trained on.
    pub dataset: DatasetIdentity,
    /// Training seed.
    pub seed: u64,
    /// Updates of the method's own networks.
    pub updates: u64,
}

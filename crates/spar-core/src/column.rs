//! What the runs of one column of a suite's table are made with. Only the trainer knows all
//! of it, the defaults among them: `spar protocol --settings` says it, `spar-suite` takes
//! runs for finished by it, and `spar-report` for the suite's.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{RunIdentity, TaskId};

/// The runs of one task and method: what they have in common, whatever their seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnSettings {
    /// The task.
    pub task: TaskId,
    /// The method, or the variant of SPAR.
    pub column: String,
    /// Whether the method grows out of an anchor.
    pub anchored: bool,
    /// Their `spec.json`, without what differs between them: seed and data.
    pub spec: Value,
}

impl ColumnSettings {
    /// Those of `task` and `column` among `all`.
    pub fn find<'a>(all: &'a [Self], task: TaskId, column: &str) -> Option<&'a Self> {
        let of = |settings: &&Self| settings.task == task && settings.column == column;
        all.iter().find(of)
    }

    /// What the anchor is instead of the run `bc`: a policy's `file`, or a `method`.
    pub fn given(&self, what: &str) -> Option<&str> {
        self.spec["config"]["anchor"][what].as_str()
    }

    /// What decides the run of `seed` on data of this hash; `None` if the settings are none.
    pub fn identity(&self, seed: u64, data_sha256: &str) -> Option<RunIdentity> {
        let mut spec = self.spec.clone();
        let fields = spec.as_object_mut()?;
        fields.insert("seed".to_owned(), seed.into());
        fields.insert("dataset".to_owned(), json!({ "sha256": data_sha256 }));
        RunIdentity::of(&spec, self.anchored).ok()
    }
}

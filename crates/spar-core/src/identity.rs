//! What makes two runs the same run: one function over one table of settings, for
//! everyone who asks. `spar-train` asks before it resumes a folder, a checkpoint or an
//! anchor, `spar suite run` before it takes a run for one of its plan, and
//! `spar-report` before it averages seeds.
//!
//! The table is made of the JSON a run writes to `spec.json`, so that those who do not
//! link the trainer can compare too. It leaves out what decides nothing of a run's
//! numbers (`Kind`), and two files of data are the same data if their bytes are.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sha256_hex;

/// Fields that came after runs had been recorded without them, each with the value that
/// stands for what those runs did. An old record is compared as if it held them. A new
/// field of a run's settings belongs here, with the value under which a run computes
/// what it computed before there was the field; a test of `spar-train` holds this list
/// to the fields that its `RunSpec` reads without. A method's own settings
/// (`config.method`) are never filled in: a record that lacks one differs in it.
pub const HISTORIC: &[(&str, &str)] = &[
    ("device", "\"cpu\""),
    ("config.detached_precision", "\"f32\""),
    ("config.critic.deviations", "null"),
    ("config.critic.penalty", "0.0"),
    ("config.critic.penalty_ratio", "0.0"),
    ("config.rectify.ablation", "\"none\""),
    ("config.rectify.scale", "0.0"),
];

/// Fields of [`HISTORIC`] that came after records held hashes of their settings. At the
/// value that stands for their absence they are in no hash, so that a record from before
/// still fits its settings. A new field of [`HISTORIC`] belongs here too.
const LATER: [&str; 1] = ["config.critic.penalty_ratio"];

/// What a run is called, which decides none of its numbers.
const LABELS: [&str; 4] = ["suite", "preset", "task", "variant"];

/// Settings that only SPAR has a use for.
const OF_SPAR: [&str; 4] = [
    "config.critic.",
    "config.data.",
    "config.rectify.",
    DETACHED,
];

/// Precision of the passes that learn; absent is single precision.
const PRECISION: &str = "config.precision";

/// Precision of passes without gradients. It reaches a baseline where it is not single
/// precision: the records of all that were made before hold none, or one that did not.
const DETACHED: &str = "config.detached_precision";

/// What stands in records of single precision.
const SINGLE: &str = "f32";

/// Whether a baseline's setting `name` of this value reaches it, although those of SPAR do not
/// ([`out_of_reach`]).
pub fn reaches_baseline(method: &str, name: &str, value: &Value) -> bool {
    !["bc", "spar"].contains(&method) && name == DETACHED && *value != SINGLE
}

/// Settings that only an anchor and what grows out of it have a use for.
const OF_ANCHORED: [&str; 3] = ["config.anchor.", "config.batch_size", "config.reward_range"];

/// Settings that only a method with updates of its own has a use for: `bc` is its anchor. A
/// method that grows out of one looks for an anchor by its own settings.
const OF_UPDATED: [&str; 3] = ["config.method.", "config.reward_range", "config.updates"];

/// Settings, by the start of their paths in `spec.json`, that do not reach a run of `method`:
/// none decides a number of it, and its record holds none. `anchored` as in
/// [`RunIdentity::of`].
pub fn out_of_reach(method: &str, anchored: bool) -> impl Iterator<Item = &'static str> {
    let of_others: &[&[&str]] = match method {
        "bc" => &[&OF_SPAR, &OF_UPDATED],
        "spar" => &[],
        _ if anchored => &[&OF_SPAR],
        _ => &[&OF_SPAR, &OF_ANCHORED],
    };
    of_others.iter().copied().flatten().copied()
}

/// What says which policy of a file stands in the anchor's place.
const ANCHOR_SHA256: &str = "config.anchor.sha256";
/// What says which method is trained first, in the anchor's place. It is of the same data and
/// seed, and its own record says with which settings.
const ANCHOR_METHOD: &str = "config.anchor.method";

/// What says which offline run was fine-tuned: each seed its own.
const FINETUNED_FROM: &str = "finetune.from";

/// What a field of a run's settings decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The name the run goes by.
    Label,
    /// The training seed.
    Seed,
    /// The bytes of the data.
    Data,
    /// How long the run is trained or evaluated: a longer run begins as a shorter one.
    Length,
    /// Any other number of it.
    Setting,
}

/// Which differences matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To resume one run as the other: everything but how long it is.
    Resume,
    /// To take one run for the other: everything.
    Whole,
    /// To average the two: everything but the training seed, and the device, which
    /// computes the same up to rounding and which a report names.
    Seeds,
    /// To anchor one run to the other: what decides the parameters of an anchor.
    Anchor,
}

/// A field in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field's path in `spec.json`, as in `config.critic.tau`.
    pub field: String,
    /// Its value in the run that is there already, as JSON, or `absent`.
    pub there: String,
    /// Its value in the run that is asked for.
    pub here: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, there, here } = self;
        write!(f, "`{field}` is {there}, expected {here}")
    }
}

/// The short form of an identity, for files that do not hold the settings themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStamp {
    /// [`RunIdentity::settings_sha256`].
    pub settings_sha256: String,
    /// Training seed.
    pub seed: u64,
    /// SHA-256 of the data file.
    pub data_sha256: String,
}

/// What decides the numbers of a run, by path in its `spec.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunIdentity {
    fields: BTreeMap<String, Value>,
    /// The field that holds the updates of the method's own networks.
    updates: &'static str,
}

impl RunIdentity {
    /// The identity of the run that `spec` describes. `anchored` says whether its method
    /// grows out of an anchor, where the method is neither `bc` nor `spar`, which do.
    ///
    /// # Errors
    /// If `spec` cannot be written as JSON.
    pub fn of(spec: &impl Serialize, anchored: bool) -> Result<Self, serde_json::Error> {
        // Written and read: the shortest decimal of a single-precision number, which is
        // what a file holds.
        let spec: Value = serde_json::from_str(&serde_json::to_string(spec)?)?;
        let mut fields = BTreeMap::new();
        flatten("", &spec, &mut fields);
        for (field, value) in HISTORIC {
            if !fields.contains_key(*field) {
                fields.insert((*field).to_owned(), serde_json::from_str(value)?);
            }
        }
        let method = spec["method"].as_str().unwrap_or_default();
        // Of the anchor of a file only which it is, not where it lies nor how one would have
        // been cloned.
        let of_method = method == "spar" && fields.contains_key(ANCHOR_METHOD);
        let of_method = of_method.then_some(ANCHOR_METHOD);
        let of_file = fields.contains_key(ANCHOR_SHA256).then_some(ANCHOR_SHA256);
        let tells = of_method.or(of_file);
        // Outside a suite the task is what the data are called.
        let nameless = spec["suite"].as_str() == Some("none");
        fields.retain(|field, value| {
            let is_name = field.starts_with("dataset.") && field != "dataset.sha256"
                || nameless && field == "task";
            let mut of_others = out_of_reach(method, anchored);
            let decides_nothing = is_name
                || field.starts_with("config.anchor.") && tells.is_some_and(|tells| field != tells)
                || field == "config.checkpoint_every"
                || of_others.any(|prefix| field.starts_with(prefix))
                    && !reaches_baseline(method, field, value);
            !decides_nothing
        });
        Ok(Self {
            fields,
            updates: match method {
                "bc" => "config.anchor.updates",
                _ => "config.updates",
            },
        })
    }

    fn kind(&self, field: &str) -> Kind {
        match field {
            "seed" => Kind::Seed,
            "dataset.sha256" => Kind::Data,
            "final_episodes" | "finetune.steps" => Kind::Length,
            _ if field == self.updates => Kind::Length,
            _ if LABELS.contains(&field) => Kind::Label,
            _ => Kind::Setting,
        }
    }

    fn counts(&self, field: &str, scope: Scope) -> bool {
        let kind = self.kind(field);
        match scope {
            Scope::Whole => true,
            Scope::Resume => kind != Kind::Length,
            Scope::Seeds => kind != Kind::Seed && field != "device" && field != FINETUNED_FROM,
            Scope::Anchor => {
                // Which episodes are held out decides what the anchor learns from.
                let holds_out = self.fields.contains_key("offline.held_out");
                kind != Kind::Label
                    && field != "final_episodes"
                    && (field == "eval_seed" && holds_out || !field.starts_with("eval_"))
                    && !field.starts_with("config.eval_")
            }
        }
    }

    /// Every field of `scope` in which the run that is `there` differs from this one, by
    /// name. A field that only one of them has differs.
    pub fn differences(&self, there: &Self, scope: Scope) -> Vec<Difference> {
        let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
        let only_there = there
            .fields
            .keys()
            .filter(|f| !self.fields.contains_key(*f));
        let mut differences: Vec<Difference> = self
            .fields
            .keys()
            .chain(only_there)
            .filter(|field| self.counts(field, scope) || there.counts(field, scope))
            .map(|field| (field, there.fields.get(field), self.fields.get(field)))
            .filter(|(_, there, here)| there != here)
            .map(|(field, there, here)| Difference {
                field: field.clone(),
                there: shown(there),
                here: shown(here),
            })
            .collect();
        // First what a user names on the command line: of two methods everything differs.
        differences.sort_by_cached_key(|d| {
            let rank = match self.kind(&d.field) {
                _ if d.field == "method" => 0,
                Kind::Data | Kind::Seed => 1,
                _ => 2,
            };
            (rank, d.field.clone())
        });
        differences
    }

    /// SHA-256 over every setting that decides the numbers of the run but its seed, its
    /// data, its length and its names.
    pub fn settings_sha256(&self) -> String {
        let settings = self.hashed();
        let settings = settings.filter(|(field, _)| self.kind(field) == Kind::Setting);
        let lines: String = settings
            .map(|(field, value)| format!("{field}={value}\n"))
            .collect();
        sha256_hex(format!("spar settings 1\n{lines}").as_bytes())
    }

    /// SHA-256 over everything that decides the run, its names, seed, data and length too: two
    /// runs have the same exactly where nothing differs of [`Scope::Whole`].
    pub fn sha256(&self) -> String {
        let lines = self.hashed();
        let lines: String = lines
            .map(|(field, value)| format!("{field}={value}\n"))
            .collect();
        sha256_hex(format!("spar run 1\n{lines}").as_bytes())
    }

    /// The fields that hashes are of.
    fn hashed(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.fields.iter().filter(|(field, value)| {
            let later = |(name, _): &&(&str, &str)| name == field && LATER.contains(name);
            let historic = HISTORIC.iter().find(later).map(|(_, value)| *value);
            historic != Some(value.to_string().as_str())
        })
    }

    /// What the passes of its updates were computed in, if not all in single precision: as
    /// `bf16x3`, or `bf16x3, without gradients bf16`.
    pub fn rounding(&self) -> Option<String> {
        let name = |field| self.get(field).as_str().unwrap_or(SINGLE);
        match (name(PRECISION), name(DETACHED)) {
            (SINGLE, SINGLE) => None,
            (learning, detached) if learning == detached => Some(learning.to_owned()),
            (learning, detached) => Some(format!("{learning}, without gradients {detached}")),
        }
    }

    /// The identity in short.
    pub fn stamp(&self) -> RunStamp {
        RunStamp {
            settings_sha256: self.settings_sha256(),
            seed: self.get("seed").as_u64().unwrap_or_default(),
            data_sha256: self.get("dataset.sha256").as_str().unwrap_or("").to_owned(),
        }
    }

    fn get(&self, field: &str) -> &Value {
        self.fields.get(field).unwrap_or(&Value::Null)
    }
}

fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, out);
            }
        }
        leaf => drop(out.insert(prefix.to_owned(), leaf.clone())),
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;

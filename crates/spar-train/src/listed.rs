//! The settings of a method as a user is shown them.

use serde_json::Value;

use crate::{
    config::{PRECISION, Precision, TrainConfig},
    error::TrainError,
    sink,
    spec::Method,
};

impl TrainConfig {
    /// The settings of `method` with their defaults, by the names that [`Self::with`] takes:
    /// those that reach its numbers, and the loop's.
    ///
    /// # Errors
    /// As [`Self::defaults_of`].
    pub fn listed(method: Method) -> Result<Vec<(String, Value)>, TrainError> {
        // Written and read: the shortest number that is the same single-precision one.
        let config = Self::defaults_of(method)?;
        let updates = config.updates;
        let text = serde_json::to_string(&config.lasting(method, updates));
        let whole = text.and_then(|text| serde_json::from_str(&text));
        let mut rows = sink::leaves(&whole.map_err(std::io::Error::from)?);
        // Absent from a record where it is so.
        rows.push((PRECISION.to_owned(), Precision::F32.name().into()));
        let of_data = |name: &str| [format!("data.{name}"), format!("method.data.{name}")];
        for name in ["hubl.alpha", "hubl.blend", "keep.fraction", "keep.discount"] {
            rows.extend(of_data(name).map(|key| (key, Value::Null)));
        }
        for name in ["file", "method", "draws"] {
            rows.push((format!("anchor.{name}"), Value::Null));
        }
        rows.push(("rectify.ablation".to_owned(), "none".into()));
        if let Method::Baseline(entry) = method {
            for (name, default) in entry.unwritten {
                let default = serde_json::from_str(default).unwrap_or(Value::Null);
                rows.push((format!("method.{name}"), default));
            }
        }
        let own = |key: &str| match method {
            // `bc` learns from the anchor's settings alone, for as long as those say.
            Method::Bc => {
                let of_spar = ["critic.", "rectify.", "data.", "method."];
                !(of_spar.iter().any(|p| key.starts_with(p))
                    || ["updates", "anchor.file", "anchor.method", "anchor.draws"].contains(&key))
            }
            Method::Spar => !key.starts_with("data.keep.") && !key.starts_with("method."),
            Method::Baseline(entry) => {
                // Of a baseline the base of SPAR is the cloned network.
                let given = ["anchor.file", "anchor.method", "anchor.draws"];
                let of_anchor =
                    entry.anchored && key.starts_with("anchor.") && !given.contains(&key);
                let of_spar = ["critic.", "rectify.", "anchor.", "data."];
                of_anchor
                    || !(of_spar.iter().any(|p| key.starts_with(p))
                        || ["batch_size", "reward_range"].contains(&key))
            }
        };
        rows.retain(|(key, _)| own(key));
        for (key, _) in &mut rows {
            if let Some(short) = key.strip_prefix("method.") {
                *key = short.to_owned();
            }
        }
        Ok(rows)
    }
}

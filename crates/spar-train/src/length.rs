//! How long a run is, and whether it is long enough for its policy to learn.

use crate::{config::TrainConfig, spec::Method};

impl TrainConfig {
    /// These settings for a run of `method` of so many updates. What passes before its policy
    /// learns takes no larger part of them than of the source's own run
    /// ([`spar_baselines::Entry::stages`]), and SPAR's warm-up at most half.
    #[must_use]
    pub fn lasting(mut self, method: Method, updates: u64) -> Self {
        match (method, &mut self.method) {
            (Method::Spar, _) => self.rectify.warmup = self.rectify.warmup.min(updates / 2),
            (Method::Baseline(entry), Some(own)) => {
                for &stage in entry.stages {
                    let Some(toml::Value::Integer(length)) = own.get_mut(stage) else {
                        continue;
                    };
                    let part = u128::from(length.unsigned_abs()) * u128::from(updates);
                    let part = part / u128::from(entry.source_updates);
                    let part = i64::try_from(part).unwrap_or(i64::MAX);
                    *length = part.clamp(1, (*length).max(1));
                }
            }
            (Method::Bc | Method::Baseline(_), _) => {}
        }
        if method != Method::Bc {
            self.updates = updates;
        }
        self
    }

    /// Why a run of `method` ends before its policy learns, if it does: a line for its user.
    pub fn unlearned(&self, method: Method) -> Option<String> {
        let updates = self.updates;
        let (stage, length) = match (method, &self.method) {
            (Method::Spar, _) => ("rectify.warmup", self.rectify.warmup),
            (Method::Baseline(entry), Some(own)) => entry
                .stages
                .iter()
                .filter_map(|&stage| {
                    let length = own.get(stage)?.as_integer()?;
                    Some((stage, length.unsigned_abs()))
                })
                .max_by_key(|(_, length)| *length)?,
            (Method::Bc | Method::Baseline(_), _) => return None,
        };
        (length >= updates).then(|| {
            let what = match method {
                Method::Spar => "self-imitation never begins",
                _ => "the policy never learns",
            };
            format!("{what}: `{stage}` is {length}, of {updates} updates; set a smaller one")
        })
    }
}

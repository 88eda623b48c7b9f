//! What other settings do: the search behind the demo's own, so that nobody has to
//! take its choices on trust.

use super::{
    DemoError, problem, settings,
    train::{self, Stage},
};

/// Weights of SPAR's fit beside self-imitation: those of `suites/mujoco.toml`.
pub(crate) const W_FITS: [f64; 3] = [0.1, 0.5, 2.0];
/// TD3+BC's `alpha`; published is the greatest.
pub(crate) const ALPHAS: [f64; 4] = [0.1, 0.3, 1.0, 2.5];
/// AWR's learning rates of the actor; published is the least.
pub(crate) const ACTOR_LRS: [f64; 3] = [5e-5, 5e-4, 5e-3];
/// AWR's temperatures; published is the greatest.
pub(crate) const TEMPERATURES: [f64; 3] = [1.0, 0.3, 0.1];

/// One setting of a method and how its policy did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tried {
    /// Method and setting, as in `TD3+BC, alpha 2.5`.
    pub(crate) name: String,
    /// The policy after the last update.
    pub(crate) last: Stage,
}

/// Every setting of the search on the data and with the streams of `seed`.
///
/// # Errors
/// As [`super::Demo::train`].
pub(crate) fn search(seed: u64) -> Result<Vec<Tried>, DemoError> {
    let data = problem::logged(seed)?;
    let mut tried = Vec::new();
    for found in train::spar(&data, W_FITS, seed)? {
        tried.push(Tried {
            name: format!("SPAR, w_fit {}", found.w_fit),
            last: found.course.last().clone(),
        });
    }
    for alpha in ALPHAS {
        let found = train::baseline(&data, "td3bc", &settings(&[("alpha", alpha)]), seed)?;
        tried.push(Tried {
            name: format!("TD3+BC, alpha {alpha}"),
            last: found.course.last().clone(),
        });
    }
    for lr in ACTOR_LRS {
        for temperature in TEMPERATURES {
            let own = settings(&[("actor_lr", lr), ("temperature", temperature)]);
            let found = train::baseline(&data, "awr", &own, seed)?;
            tried.push(Tried {
                name: format!("AWR, actor_lr {lr:e}, temperature {temperature}"),
                last: found.course.last().clone(),
            });
        }
    }
    Ok(tried)
}

/// The search as text.
pub(crate) fn table(tried: &[Tried]) -> String {
    let rows = tried.iter().map(|tried| (tried.name.clone(), &tried.last));
    super::table_of(rows)
}

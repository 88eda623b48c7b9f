//! Settings of an evaluation.

use spar_core::{
    limits::{
        MOST_BATCH, MOST_CANDIDATES, MOST_CRITICS, MOST_LAYERS, MOST_UPDATES, MOST_WIDTH,
        OutOfRange, count,
    },
    ope::OpeSettings,
};

/// Settings of [`crate::evaluate`], which are written down as they are.
pub type FqeConfig = OpeSettings;

/// Refuses what no evaluation can be made of.
pub(crate) fn check(config: &FqeConfig) -> Result<(), OutOfRange> {
    count("updates", config.updates, 1..=MOST_UPDATES)?;
    count("batch", config.batch as u64, 1..=MOST_BATCH)?;
    count("estimators", config.estimators as u64, 1..=MOST_CRITICS)?;
    count("draws", config.draws as u64, 1..=u64::from(MOST_CANDIDATES))?;
    count("hidden", config.hidden.len() as u64, 1..=MOST_LAYERS as u64)?;
    for &width in &config.hidden {
        count("hidden", width as u64, 1..=MOST_WIDTH)?;
    }
    let within = |field: &str, value: f64, fits: bool, expected: &str| match fits {
        true => Ok(()),
        false => Err(OutOfRange::new(field, value, expected)),
    };
    let (lr, tau) = (f64::from(config.lr), f64::from(config.tau));
    within("lr", lr, lr > 0.0 && lr <= 1.0, "above 0, at most 1")?;
    within("tau", tau, tau > 0.0 && tau <= 1.0, "above 0, at most 1")?;
    let part = |x: f64| (0.0..1.0).contains(&x);
    let discount = config.discount;
    within("discount", discount, part(discount), "from 0 to below 1")?;
    let held_out = config.held_out;
    within("held_out", held_out, part(held_out), "from 0 to below 1")
}

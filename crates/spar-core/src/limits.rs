//! The largest amounts that settings, command lines and files may ask for.
//!
//! Whatever is asked for is made at some point: rows of a batch, episodes, layers of a
//! network. Beyond these limits the answer would be a failed allocation, which ends the
//! program without a word, or a run that never ends; so they are checked where the
//! numbers come in. Each is far beyond what published settings use.

use std::{fmt::Display, ops::RangeInclusive};

/// Episodes of one evaluation.
pub const MOST_EPISODES: u32 = 1_000_000;

/// Threads of one command.
pub const MOST_THREADS: u32 = 1024;

/// Updates, or environment steps, of one phase of a run.
pub const MOST_UPDATES: u64 = 10_000_000_000;

/// Transitions per update.
pub const MOST_BATCH: u64 = 65_536;

/// Actions drawn for one state, in training and by a policy that chooses among them.
pub const MOST_CANDIDATES: u16 = 10_000;

/// Hidden layers of one network.
pub const MOST_LAYERS: usize = 16;

/// Neurons of one layer.
pub const MOST_WIDTH: u64 = 16_384;

/// Largest residual, perturbation or latent, and most deviations a value is lowered by:
/// actions lie in `[-1, 1]`, latents are drawn from `N(0, 1)`.
pub const MOST_SCALE: f32 = 100.0;

/// Members of one ensemble.
pub const MOST_CRITICS: u64 = 1000;

/// Rows of a data set.
pub const MOST_ROWS: u64 = 1_000_000_000;

/// Numbers in one array of a run, or parameters of one network: a gibibyte in single
/// precision.
pub const MOST_NUMBERS: u64 = 1 << 28;

/// A number that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {got}, expected {expected}")]
pub struct OutOfRange {
    /// The setting, as in `rectify.candidates`.
    pub field: String,
    /// Its value.
    pub got: String,
    /// What would do.
    pub expected: String,
}

impl OutOfRange {
    /// Of `field`, whose value is `got`.
    pub fn new(field: &str, got: impl Display, expected: impl Display) -> Self {
        Self {
            field: field.to_owned(),
            got: got.to_string(),
            expected: expected.to_string(),
        }
    }
}

/// Refuses a count outside `range`.
///
/// # Errors
/// Naming the field, its value and the range.
pub fn count(field: &str, got: u64, range: RangeInclusive<u64>) -> Result<(), OutOfRange> {
    if range.contains(&got) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    let expected = format!("a whole number from {least} to {most}");
    Err(OutOfRange::new(field, got, expected))
}

/// Refuses widths of hidden layers that no network has: a layer of nothing, one above
/// [`MOST_WIDTH`], or more than [`MOST_LAYERS`] of them. None at all is a linear map.
///
/// # Errors
/// Naming the field, its value and what would do.
pub fn widths(field: &str, hidden: &[usize]) -> Result<(), OutOfRange> {
    let fits = |width: &usize| (1..=MOST_WIDTH).contains(&(*width as u64));
    if hidden.len() <= MOST_LAYERS && hidden.iter().all(fits) {
        return Ok(());
    }
    let got = if hidden.len() <= MOST_LAYERS {
        format!("{hidden:?}")
    } else {
        format!("a list of {}", hidden.len())
    };
    let expected = format!("at most {MOST_LAYERS} layers, each of 1 to {MOST_WIDTH} neurons");
    Err(OutOfRange::new(field, got, expected))
}

/// Refuses a product of counts, each with its name, above [`MOST_NUMBERS`]: an array of
/// that size would have to be made.
///
/// # Errors
/// Naming the counts, their values and the largest product.
pub fn numbers(counts: &[(&str, u64)]) -> Result<(), OutOfRange> {
    let product = counts
        .iter()
        .try_fold(1u64, |product, (_, count)| product.checked_mul(*count));
    if product.is_some_and(|product| product <= MOST_NUMBERS) {
        return Ok(());
    }
    let names: Vec<_> = counts.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = counts.iter().map(|(_, count)| count.to_string()).collect();
    let expected = format!("at most {MOST_NUMBERS} numbers in one array");
    Err(OutOfRange::new(
        &names.join("` x `"),
        values.join(" x "),
        expected,
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named_with_the_range() {
        count("n", 1, 1..=3).unwrap();
        let error = count("n", 4, 1..=3).unwrap_err().to_string();
        assert_eq!(error, "`n` is 4, expected a whole number from 1 to 3");
        widths("hidden", &[]).unwrap();
        widths("hidden", &[256, 256]).unwrap();
        for hidden in [vec![0], vec![256, usize::MAX], vec![1; 17]] {
            let error = widths("hidden", &hidden).unwrap_err().to_string();
            assert!(
                error.contains("`hidden` is") && error.contains("16384"),
                "{error}"
            );
        }
        numbers(&[("a", 1 << 14), ("b", 1 << 14)]).unwrap();
        for wide in [(1 << 14) + 1, u64::MAX] {
            let error = numbers(&[("a", 1 << 14), ("b", wide)]).unwrap_err();
            assert!(
                error.to_string().starts_with("`a` x `b` is 16384 x "),
                "{error}"
            );
        }
    }
}

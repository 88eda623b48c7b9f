//! What is to be said of numbers that are read: refused where they are none, remarked on
//! where a learner would take them and a user should know.

use std::path::Path;

use spar_core::{EnvId, Origin, units::is_outside};

use crate::{
    dataset::{Dataset, Layout},
    error::DataError,
    past,
    reading::Next,
    successors::{self, Flags},
};

/// Refuses numbers that are not finite, of the array `key`, `width` wide.
pub(crate) fn check_finite(
    path: &Path,
    key: &str,
    values: &[f32],
    width: usize,
) -> Result<(), DataError> {
    check_finite_from(path, key, values, width, 0)
}

/// [`check_finite`] of rows from `first_row` on.
pub(crate) fn check_finite_from<T: Copy + Into<f64>>(
    path: &Path,
    key: &str,
    values: &[T],
    width: usize,
    first_row: usize,
) -> Result<(), DataError> {
    // Without a way out of the inner loop, it looks at many numbers at once.
    let sound = |part: &[T]| part.iter().fold(true, |all, &x| all & x.into().is_finite());
    if values.chunks(4096).all(sound) {
        return Ok(());
    }
    let bad = values.iter().position(|&x| !x.into().is_finite());
    bad.map_or(Ok(()), |at| {
        Err(DataError::NonFinite {
            path: path.into(),
            key: key.to_owned(),
            row: first_row + at / width.max(1),
            got: values[at].into(),
        })
    })
}

/// Adds to the notes of `data`, read as those of `env`, what a user should know of its
/// numbers; `integers` says whether its actions are stored as such.
///
/// # Errors
/// [`DataError::NoSuccessors`] if they are asked for and not there.
pub(crate) fn add(data: &mut Dataset, env: Option<EnvId>, integers: bool) -> Result<(), DataError> {
    let recorded = data.next == Next::Recorded;
    if recorded && data.layout() == Layout::D4rl && data.next_observations.is_none() {
        let id = data.identity.id.clone();
        return Err(DataError::NoSuccessors { id });
    }
    // Where successors were compared, they have shown it.
    if data.layout() == Layout::D4rl && data.breaks.is_none() {
        let flags = Flags {
            terminals: &data.terminals,
            timeouts: data.timeouts.as_deref(),
        };
        data.past_terminals = past::goes_on(flags, env, &data.observations, data.obs_dim);
    }
    let breaks = data.breaks.as_ref();
    let notes = [
        past_terminals(data),
        breaks.and_then(|breaks| successors::note(breaks, data.rows(), !recorded)),
        outside(data, env),
        choices(data, integers),
        declared(data, env),
        never_terminates(data, env),
        unrewarded(data),
        last_terminal(data),
    ];
    data.notes.extend(notes.into_iter().flatten());
    Ok(())
}

/// What is lost where a file ends with its goal: a single demonstration has no other reward.
fn last_terminal(data: &Dataset) -> Option<String> {
    let own = matches!(data.identity.origin, Origin::Official | Origin::Local);
    let broken = data.breaks.as_ref();
    let kept = data.layout() != Layout::D4rl
        || data.next == Next::Recorded
        || broken.is_some_and(|breaks| breaks.stops.last() == Some(&data.rows()));
    let lost = !own && !kept && data.terminals.last() == Some(&true);
    lost.then(|| {
        let reward = data.rewards.last().copied().unwrap_or(0.0);
        let way_out = match broken {
            Some(_) => ": `--next recorded` keeps it",
            None => "; with next_observations in the file `--next recorded` keeps it",
        };
        format!(
            "the last row is terminal and, as in D4RL's loader, no transition: nothing is learned of \
             its reward of {reward}{way_out}"
        )
    })
}

fn past_terminals(data: &Dataset) -> Option<String> {
    data.past_terminals.then(|| {
        let count = data.terminals.iter().filter(|&&flag| flag).count();
        format!(
            "the recording goes on past its {count} terminals, as D4RL's of antmaze: episodes are \
             cut at timeouts alone, and nothing is learned of what follows a terminal"
        )
    })
}

/// The bounds that action component `i` is held to.
fn bounds(data: &Dataset, env: Option<EnvId>, i: usize) -> (f32, f32) {
    match (&data.action_bounds, env) {
        (Some(declared), None) => declared[i],
        _ => (-1.0, 1.0),
    }
}

fn outside(data: &Dataset, env: Option<EnvId>) -> Option<String> {
    let bounds: Vec<_> = (0..data.act_dim).map(|i| bounds(data, env, i)).collect();
    let (mut count, mut first, mut largest) = (0, None, 0f32);
    for (row, action) in data.actions.chunks_exact(data.act_dim).enumerate() {
        let beyond = action.iter().zip(&bounds);
        let mut beyond = beyond.filter(|&(&x, &bounds)| is_outside(x, bounds));
        if let Some((&x, _)) = beyond.next() {
            count += 1;
            first.get_or_insert(row);
            let rest = beyond.map(|(x, _)| x.abs());
            largest = rest.fold(largest.max(x.abs()), f32::max);
        }
    }
    let of = match env {
        Some(env) => format!("those of {env}, [-1, 1]"),
        None if data.action_bounds.is_some() => "those that the data declare".to_owned(),
        None => "[-1, 1], those of every environment here".to_owned(),
    };
    let then = match env {
        None if data.action_bounds.is_none() => {
            "training without an environment scales them by the data's own range; for one, scale \
             them to its bounds"
        }
        _ => "a policy cannot do the same; scale them to the bounds",
    };
    first.map(|first| {
        format!(
            "actions of {count} of {} rows lie outside their bounds ({of}), first in row {first}, \
             the largest is {largest}: {then}",
            data.rows()
        )
    })
}

fn choices(data: &Dataset, integers: bool) -> Option<String> {
    let whole = integers || data.actions.iter().all(|x| x.fract() == 0.0);
    let spread = data.actions.iter().any(|x| x.abs() > 1.0);
    (whole && (integers || spread)).then(|| {
        "actions are whole numbers: numbers of discrete choices are not actions of a continuous \
         environment"
            .to_owned()
    })
}

fn declared(data: &Dataset, env: Option<EnvId>) -> Option<String> {
    let (env, declared) = (env?, data.action_bounds.as_ref()?);
    let other = |&(low, high): &(f32, f32)| {
        // Unbounded spaces declare nothing.
        (low.is_finite() || high.is_finite()) && (low, high) != (-1.0, 1.0)
    };
    let i = declared.iter().position(other)?;
    let (low, high) = declared[i];
    Some(format!(
        "the data declare that action {i} lies in [{low}, {high}], but {env}'s lie in [-1, 1]: \
         were the actions scaled, or recorded in another environment?"
    ))
}

fn unrewarded(data: &Dataset) -> Option<String> {
    (!data.rewarded).then(|| {
        "no column holds rewards: a behaviour clone (bc, bc-diffusion, bc-flow) can be trained, no \
         other method; --reward names the column that holds them"
            .to_owned()
    })
}

fn never_terminates(data: &Dataset, env: Option<EnvId>) -> Option<String> {
    let env = env.filter(|env| !env.terminates())?;
    let count = data.terminals.iter().filter(|&&t| t).count();
    let first = data.terminals.iter().position(|&t| t)?;
    Some(format!(
        "{count} rows are flagged terminal, first row {first}, but {env} never terminates: a learner \
         takes the value after them for 0; if episodes were cut there, the flags are timeouts"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dataset::Steps;

    fn of(actions: &[f32], terminals: &[bool]) -> Dataset {
        let rows = actions.len();
        let steps = Steps {
            observations: vec![0.0; rows],
            actions: actions.to_vec(),
            rewards: vec![0.0; rows],
            terminals: terminals.to_vec(),
            timeouts: vec![false; rows],
        };
        Dataset::in_memory("mine", 1, 1, steps).unwrap()
    }

    fn notes(mut data: Dataset, env: Option<EnvId>) -> Vec<String> {
        add(&mut data, env, false).unwrap();
        data.notes
    }

    #[test]
    fn actions_outside_their_bounds_are_named() {
        let calm = of(&[1.0, -1.000_000_1, 0.5], &[false; 3]);
        assert!(notes(calm, None).is_empty());
        let wild = of(&[0.5, 1.5, -40.25], &[false; 3]);
        let found = notes(wild.clone(), Some(EnvId::HOPPER));
        assert!(found[0].contains("2 of 3 rows") && found[0].contains("row 1"));
        assert!(found[0].contains("40.25"), "{found:?}");
        // Inside what they declare, until an environment is named.
        let declared = Dataset {
            action_bounds: Some(vec![(-50.0, 50.0)]),
            ..wild
        };
        assert!(notes(declared.clone(), None).is_empty());
        let found = notes(declared, Some(EnvId::HOPPER));
        assert!(found[1].contains("[-50, 50]"), "{found:?}");
    }

    #[test]
    fn numbers_of_choices_are_no_actions() {
        let found = notes(of(&[0.0, 1.0, 3.0], &[false; 3]), None);
        assert!(
            found.iter().any(|n| n.contains("whole numbers")),
            "{found:?}"
        );
        assert!(notes(of(&[0.0, 1.0, -1.0], &[false; 3]), None).is_empty());
    }

    #[test]
    fn terminals_of_an_environment_that_has_none_are_named() {
        let data = || of(&[0.1; 4], &[false, true, false, true]);
        let found = notes(data(), Some(EnvId::HALF_CHEETAH));
        assert!(
            found[0].contains("2 rows") && found[0].contains("row 1"),
            "{found:?}"
        );
        // Of a file that ends with one, what is lost with it is said.
        let found = notes(data(), Some(EnvId::HOPPER));
        assert!(
            found.len() == 1 && found[0].contains("the last row is terminal"),
            "{found:?}"
        );
    }
}

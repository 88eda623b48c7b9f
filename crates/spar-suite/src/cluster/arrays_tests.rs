#![allow(clippy::unwrap_used)]

use super::*;

/// Runs of bc, spar (which grows out of it) and iql, of three cells each.
fn planned() -> Vec<Planned> {
    let line = |index: usize, method: &str| Planned {
        index,
        suite: "s.toml".into(),
        preset: "quick".into(),
        task: "hopper-medium".into(),
        method: method.to_owned(),
        variant: None,
        seed: index as u64 % 3,
        device: "cpu".into(),
        dataset: "d.hdf5".into(),
        sha256: String::new(),
        out: "out".into(),
        anchor: (method == "spar").then_some(index % 3),
        identity: String::new(),
    };
    (0..9)
        .map(|index| line(index, ["bc", "spar", "iql"][index / 3]))
        .collect()
}

fn arrays(left: &[usize], size: usize) -> Vec<Array> {
    let planned = planned();
    let pending = left.iter().map(|&index| {
        let seconds = Some(60.0 * index as f64);
        let line = &planned[index];
        (index, Pending { line, seconds })
    });
    of(&pending.collect(), 3, size)
}

fn in_short(arrays: &[Array]) -> Vec<(&str, String, usize, Option<usize>)> {
    arrays
        .iter()
        .map(|a| (a.name.as_str(), a.ranges(), a.offset, a.after))
        .collect()
}

#[test]
fn a_run_has_its_anchors_number_in_an_array_that_waits_for_the_anchors() {
    let all = arrays(&[0, 1, 2, 3, 4, 5, 6, 7, 8], 1000);
    let expected = [
        ("bc-0", "0-2".to_owned(), 0, None),
        ("spar-0-anchored", "0-2".to_owned(), 3, Some(0)),
        ("iql-0", "0-2".to_owned(), 6, None),
    ];
    assert_eq!(in_short(&all), expected);
    // Twice the longest run's seconds, and ten minutes.
    assert_eq!(all[1].minutes(), Some(20));
}

/// A run whose anchor is done waits for nothing: its number is in no array of anchors.
#[test]
fn only_what_is_left_is_in_arrays_and_waits_for_what_is_left() {
    let expected = [
        ("bc-0", "1".to_owned(), 0, None),
        ("spar-0", "0,2".to_owned(), 3, None),
        ("spar-0-anchored", "1".to_owned(), 3, Some(0)),
    ];
    assert_eq!(in_short(&arrays(&[1, 3, 4, 5], 1000)), expected);
    assert_eq!(arrays(&[], 1000), []);
}

#[test]
fn arrays_are_as_long_as_slurm_takes_and_each_waits_for_its_part() {
    let all = arrays(&[0, 1, 2, 3, 4, 5], 2);
    let expected = [
        ("bc-0", "0-1".to_owned(), 0, None),
        ("bc-1", "0".to_owned(), 2, None),
        ("spar-0-anchored", "0-1".to_owned(), 3, Some(0)),
        ("spar-1-anchored", "0".to_owned(), 5, Some(1)),
    ];
    assert_eq!(in_short(&all), expected);
    // Every number and its offset is the run's in the plan.
    let indices: Vec<usize> = all
        .iter()
        .flat_map(|a| a.ids.iter().map(|id| id + a.offset))
        .collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn without_a_measurement_there_is_no_limit() {
    let planned = planned();
    let pending = [(0, Some(1.0)), (1, None)].map(|(index, seconds)| {
        let line = &planned[index];
        (index, Pending { line, seconds })
    });
    assert_eq!(of(&pending.into(), 3, 9)[0].minutes(), None);
}

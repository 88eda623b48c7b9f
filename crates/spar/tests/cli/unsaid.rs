//! Data that were read as something else without a word: what is wrong is refused in one line,
//! what is lost is said.

use std::{fmt::Write as _, fs};

use crate::support::Folder;

/// A table of rows `(episode, step)`, of which `row` says what stands in its last columns.
fn table(
    columns: &str,
    rows: impl Iterator<Item = (usize, usize)>,
    row: impl Fn(usize, usize) -> String,
) -> String {
    let mut text = format!("obs_0,action_0,reward,{columns}\n");
    for (episode, step) in rows {
        let (x, more) = (0.1 * step as f32, row(episode, step));
        writeln!(text, "{x},{},{},{more}", 0.5 - x, episode).unwrap();
    }
    text
}

/// A vectorised environment's log, sorted by time: every change of the number began an
/// episode.
#[test]
fn episodes_that_were_logged_side_by_side_are_refused() {
    let folder = Folder::new();
    let by_time = (0..9).flat_map(|step| (0..3).map(move |episode| (episode, step)));
    let named = |episode: usize, _: usize| format!("{episode},0");
    fs::write(
        folder.path("side.csv"),
        table("episode,terminal", by_time.clone(), named),
    )
    .unwrap();
    folder.spar("data info side.csv").fails(
        1,
        &[
            "side.csv",
            "`episode`",
            "episode 0 goes on in row 3",
            "sort the rows by episode",
        ],
    );
    let mut sorted: Vec<_> = by_time.collect();
    sorted.sort_unstable();
    fs::write(
        folder.path("sorted.csv"),
        table("episode,terminal", sorted.iter().copied(), named),
    )
    .unwrap();
    let info = folder.spar("data info sorted.csv --json").json();
    assert_eq!(
        (info["episodes"].as_u64(), info["transitions"].as_u64()),
        (Some(3), Some(24))
    );
    let unnamed = |episode: usize, step: usize| match step {
        5 => ",0".to_owned(),
        _ => format!("{episode},0"),
    };
    fs::write(
        folder.path("blank.csv"),
        table("episode,terminal", sorted.into_iter(), unnamed),
    )
    .unwrap();
    folder
        .spar("data info blank.csv")
        .fails(1, &["blank.csv", "`episode`"]);
}

/// A single demonstration has its one reward there.
#[test]
fn a_reward_that_is_lost_with_the_last_row_is_named() {
    let folder = Folder::new();
    let rows = (0..20).map(|step| (0, step));
    let ended = |_: usize, step: usize| u8::from(step == 19).to_string();
    fs::write(folder.path("once.csv"), table("terminal", rows, ended)).unwrap();
    let info = folder.spar("data info once.csv --json").json();
    assert_eq!(info["transitions"], 19);
    let notes = info["notes"].to_string();
    assert!(notes.contains("the last row is terminal"), "{notes}");
}

#[test]
fn bounds_that_do_not_hold_the_data_are_named_or_refused() {
    let folder = Folder::new();
    let rows = (0..4).flat_map(|episode| (0..10).map(move |step| (episode, step)));
    let ended = |_: usize, step: usize| u8::from(step == 9).to_string();
    fs::write(folder.path("log.csv"), table("terminal", rows, ended)).unwrap();
    let train = "train --dataset log.csv --method bc --updates 5 --batch-size 8 --out";
    let narrow = folder.spar(&format!("{train} narrow --action-bounds=-0.01,0.01"));
    let said = "rows lie outside --action-bounds";
    assert!(narrow.err.contains(said), "{}", narrow.err);
    narrow.ok();
    let none = folder.spar(&format!("{train} none --action-bounds=0,0"));
    let said = "error: --action-bounds: component 0 has the one value 0";
    assert!(none.code == Some(2) && none.err.contains(said), "{none:?}");
}

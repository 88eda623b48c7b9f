//! What only h5py can make (`tests/scripts/hostile_files.py`): read right, or refused
//! with the line that says what is wrong, in bounded memory.
//!
//! `SPAR_MINARI_PYTHON` names a Python that has h5py; `cargo xtask test` provides one,
//! and on a CI machine fails if it cannot. Without it these tests say so and pass.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path, process::Command};

use spar_data::Dataset;

mod child;

/// Only does something as the child of the test below.
#[test]
fn child() {
    child::main();
}

/// What a reader has to say: `READ`, or a part of the line of a refusal.
const EXPECTED: [(&str, &str); 34] = [
    ("sound", "READ"),
    ("big_endian", "READ"),
    ("big_endian_packed", "READ"),
    ("big_endian_integers", "READ"),
    ("unsigned", "READ"),
    ("half", "READ"),
    ("extended", "`rewards` holds values of 16 bytes"),
    ("complex", "`rewards` holds"),
    ("text", "`rewards` holds"),
    ("compound", "`rewards` holds"),
    ("enumeration", "READ"),
    ("wide_enumeration", "READ"),
    ("external_link", "`actions` is a link to another file"),
    ("soft_link_out", "`actions` is a link to another file"),
    (
        "virtual",
        "`actions` is a virtual array, made of another file",
    ),
    ("external_storage", "`rewards` is stored in another file"),
    ("soft_loop", "rewards"),
    ("soft_alias", "READ"),
    ("hard_alias", "READ"),
    ("cyclic_groups", "READ"),
    ("missing_chunks", "READ"),
    (
        "long_chunk",
        "rewards: damaged or unsupported content (a chunk does not inflate to 256",
    ),
    (
        "long_chunk_big_endian",
        "rewards: damaged or unsupported content (a chunk does not inflate to 256",
    ),
    ("short_chunk", "a chunk has 252 bytes instead of 256"),
    ("bare_short_chunk", "a chunk has 8 bytes instead of 256"),
    ("bare_chunk", "READ"),
    (
        "bomb",
        "up to key `observations` 1073741824 bytes are declared",
    ),
    (
        "absurd",
        "up to key `observations` 74766790688768 bytes are declared",
    ),
    (
        "absurd_plain",
        "up to key `observations` 74766790688768 bytes are declared",
    ),
    ("checksum", "READ"),
    ("everything", "READ"),
    ("lzf", "`observations` is packed with lzf"),
    ("scale_offset", "READ"),
    ("gzip_beyond_scale_offset", "`terminals` is packed with"),
];

const ROWS: usize = 64;

#[test]
fn files_made_to_break_a_reader() {
    let Some(python) = std::env::var_os("SPAR_MINARI_PYTHON") else {
        eprintln!("skipped: SPAR_MINARI_PYTHON names no Python with h5py; use cargo xtask test");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scripts");
    let made = Command::new(python)
        .arg(Path::new(scripts).join("hostile_files.py"))
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let names: Vec<String> = serde_json::from_slice(&made.stdout).unwrap();
    let expected: BTreeMap<&str, &str> = EXPECTED.into();
    assert_eq!(names.len(), expected.len());

    let path = |name: &String| folder.path().join(format!("{name}.hdf5"));
    let said = child::read("h5py", &names.iter().map(path).collect::<Vec<_>>());
    for (name, line) in names.iter().zip(&said.lines) {
        let fact = expected[name.as_str()];
        assert!(line.contains(fact), "{name}: {line}");
        if fact == "READ" {
            assert_eq!(line, &format!("READ {ROWS}"), "{name}");
            check(name, &Dataset::read(&path(name)).unwrap());
        }
    }
    // None of these has three megabytes.
    assert!(said.peak < 200 << 10, "{} kB of memory", said.peak);
}

/// The numbers are those that the script wrote.
fn check(name: &str, data: &Dataset) {
    let numbers = |count: usize| (0..count).map(|i| i as f32 / 8.0 - 5.0).collect::<Vec<_>>();
    // Those with filters were written as the files that have them.
    assert_eq!(data.observations, numbers(3 * ROWS), "{name}");
    assert_eq!(data.actions, numbers(2 * ROWS), "{name}");
    let mut rewards = numbers(ROWS);
    if name == "missing_chunks" {
        rewards[3 * ROWS / 4..].fill(2.5);
    }
    assert_eq!(data.rewards, rewards, "{name}");
    let terminals: Vec<bool> = (0..ROWS).map(|i| i % 2 == 1).collect();
    assert_eq!(data.terminals, terminals, "{name}");
    let timeouts = (name == "hard_alias").then_some(terminals);
    assert_eq!(data.timeouts, timeouts, "{name}");
}

//! Damaged files, read in a child process, since libhdf5 is C: whatever the
//! damage, the child must end by itself, with data or with one line.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use spar_core::Stream;
use spar_data::Dataset;

const MINARI: &str = "minari/test/gzip-v0/data/main_data.hdf5";
/// Described by its attributes.
const OLD_MINARI: &str = "minari/test/old-v0/data/main_data.hdf5";

const PATHS: &str = "SPAR_TEST_HOSTILE";

/// Only does something as the child of the tests below: reads each file and
/// says one line about it.
#[test]
fn child() {
    let Some(paths) = std::env::var_os(PATHS) else {
        return;
    };
    for path in std::env::split_paths(&paths) {
        match Dataset::read(&path) {
            Ok(data) => println!("READ {}", data.rows()),
            Err(error) => println!("REFUSED {error}"),
        }
    }
}

fn spawn(paths: &[PathBuf]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(PATHS, std::env::join_paths(paths).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Writes the damaged files, has a child read them and returns what it said.
fn survive(name: &str, files: &[Vec<u8>]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(i, bytes): (usize, &Vec<u8>)| {
        let path = folder.path().join(format!("{i}.hdf5"));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<_> = files.iter().enumerate().map(write).collect();
    let mut child = spawn(&paths);
    // Generous: the point is that it ends, and a loop would not.
    let limit = Instant::now() + Duration::from_secs(300);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > limit {
            child.kill().unwrap();
            panic!("{name}: a damaged file is read without end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<_> = text
        .lines()
        .filter_map(|l| {
            l.find("READ ")
                .or(l.find("REFUSED "))
                .map(|at| l[at..].to_owned())
        })
        .collect();
    assert!(
        output.status.success(),
        "{name}, file {}: {:?}\n{errors}",
        said.len(),
        output.status
    );
    assert_eq!(said.len(), files.len(), "{name}: not one line each");
    assert!(
        !errors.contains("HDF5-DIAG"),
        "{name}: the library spoke for itself\n{errors}"
    );
    said
}

fn fixture(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    std::fs::read(Path::new(root).join(name)).unwrap()
}

#[test]
fn cut_anywhere() {
    for name in ["d4rl/everything.hdf5", "d4rl/f32.hdf5", MINARI] {
        let whole = fixture(name);
        let step = whole.len() / 150;
        let cut = |at: usize| whole[..at].to_vec();
        let said = survive(
            name,
            &(0..whole.len()).step_by(step).map(cut).collect::<Vec<_>>(),
        );
        assert!(said.iter().all(|line| line.starts_with("REFUSED")));
    }
}

/// The header made to agree with the cut, so that only the library can notice.
#[test]
fn cut_with_a_header_that_agrees() {
    let whole = fixture("d4rl/everything.hdf5");
    let cut = |at: usize| {
        let mut bytes = whole[..at].to_vec();
        bytes[40..48].copy_from_slice(&(at as u64).to_le_bytes());
        bytes
    };
    assert_eq!(
        whole[40..48],
        (whole.len() as u64).to_le_bytes(),
        "superblock version 0"
    );
    let said = survive(
        "cut",
        &(100..whole.len()).step_by(400).map(cut).collect::<Vec<_>>(),
    );
    assert!(said.iter().any(|line| line.contains("damaged")), "{said:?}");
}

#[test]
fn bits_flipped() {
    for name in [
        "d4rl/everything.hdf5",
        "d4rl/local.hdf5",
        "d4rl/f64_gzip.hdf5",
        MINARI,
        OLD_MINARI,
    ] {
        let whole = fixture(name);
        let mut stream = Stream::new(2026, name);
        let mut flipped = || {
            let mut bytes = whole.clone();
            for _ in 0..1 + stream.index(6) {
                let at = stream.index(bytes.len());
                bytes[at] ^= 1 << stream.index(8);
            }
            bytes
        };
        let files: Vec<_> = (0..300).map(|_| flipped()).collect();
        let said = survive(name, &files);
        assert!(said.iter().any(|line| line.starts_with("REFUSED")));
    }
}

/// libhdf5 2.2.0 alone never returns from this one.
#[test]
fn a_heap_without_end() {
    let mut bytes = fixture("d4rl/everything.hdf5");
    let heap = bytes.windows(5).position(|w| w == b"GCOL\x01").unwrap();
    // An object of index 0 and length 0: no progress.
    bytes[heap + 16..heap + 32].fill(0);
    let said = survive("heap", &[bytes]);
    assert_eq!(said, ["READ 44"]);
}

//! Files read by a child process, since libhdf5 is C: whatever is wrong with them, the
//! child must end by itself, with data or with one line for each.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use spar_data::Dataset;

const PATHS: &str = "SPAR_TEST_HOSTILE";

/// What the child does, in its test `child`; nothing in any other process.
pub(crate) fn main() {
    let Some(paths) = std::env::var_os(PATHS) else {
        return;
    };
    for path in std::env::split_paths(&paths) {
        match Dataset::read(&path) {
            Ok(data) => println!("READ {}", data.rows()),
            Err(error) => println!("REFUSED {error}"),
        }
    }
    println!("PEAK {}", peak());
}

/// Largest resident set of this process in kB; 0 where the system does not tell.
fn peak() -> u64 {
    spar_core::memory::peak_bytes().unwrap_or(0) / 1024
}

/// What a child said.
pub(crate) struct Said {
    /// `READ rows` or `REFUSED line` for each file.
    pub(crate) lines: Vec<String>,
    /// Its largest resident set in kB.
    pub(crate) peak: u64,
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

/// Has a child read the files.
pub(crate) fn read(name: &str, paths: &[PathBuf]) -> Said {
    let mut child = spawn(paths);
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
    let after = |line: &str, word: &str| line.find(word).map(|at| line[at..].to_owned());
    let lines: Vec<_> = text
        .lines()
        .filter_map(|l| after(l, "READ ").or(after(l, "REFUSED ")))
        .collect();
    assert!(
        output.status.success(),
        "{name}, file {}: {:?}\n{errors}",
        lines.len(),
        output.status
    );
    assert_eq!(lines.len(), paths.len(), "{name}: not one line each");
    assert!(
        !errors.contains("HDF5-DIAG"),
        "{name}: the library spoke for itself\n{errors}"
    );
    let peak = text.lines().find_map(|l| after(l, "PEAK "));
    let peak = peak.unwrap()["PEAK ".len()..].parse().unwrap();
    Said { lines, peak }
}

//! A file is opened by another process first, and what that one met is one line.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use spar_data::{DataError, Dataset, rehearse, rehearse_in};

const FILE: &str = "SPAR_TEST_REHEARSAL";

/// Only does something as the other process.
#[test]
fn child() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let code = match rehearse(Path::new(&file), &[]) {
        Ok(()) => 0,
        Err(error) => {
            // The harness has a line of its own before it.
            println!("\n{error}");
            1
        }
    };
    std::process::exit(code);
}

/// By its name, a file is one that the process crashes on, or is opened.
fn start(file: &Path, _: &[String]) -> io::Result<Command> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut command = match name {
        "crash.hdf5" => shell("kill -SEGV $$"),
        "loop.hdf5" => shell("ulimit -t 1; while :; do :; done"),
        "nobody.hdf5" => Command::new("/nowhere/spar"),
        _ => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
            command
        }
    };
    command.env(FILE, file);
    Ok(command)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn what_the_other_process_meets_is_one_line() {
    rehearse_in(start);
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/d4rl");
    let fixture = PathBuf::from(fixture).join("everything.hdf5");
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Dataset::read(&path)
    };
    let whole = std::fs::read(&fixture).unwrap();
    assert_eq!(read("sound.hdf5", &whole).unwrap().rows(), 44);

    let crash = read("crash.hdf5", &whole).unwrap_err();
    let text = crash.to_string();
    assert!(matches!(crash, DataError::Crashed { .. }), "{text}");
    assert!(
        text.contains("crash.hdf5: the HDF5 library crashes on this file (signal: 11"),
        "{text}"
    );
    let text = read("loop.hdf5", &whole).unwrap_err().to_string();
    assert!(text.contains("does not come to an end"), "{text}");
    let error = read("nobody.hdf5", &whole).unwrap_err();
    assert!(matches!(error, DataError::Io { .. }), "{error}");

    // The root group's header is gone.
    let mut broken = whole.clone();
    broken[96..].fill(0);
    let refused = read("broken.hdf5", &broken).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, DataError::Refused(_)), "{text}");
    assert!(text.contains("broken.hdf5: "), "{text}");
}

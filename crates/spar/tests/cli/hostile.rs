//! Files made to break a reader, or broken by a disk. libhdf5 can crash on
//! such; the program may refuse them, and never dies of a signal or hangs.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use spar_core::Stream;

use crate::{bad_input::fixture, support::Folder};

/// Long past what any file here takes: a guard against a loop without end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reads `bytes` as data in a child process, which has to end by itself.
fn survives(folder: &Folder, what: &str, bytes: &[u8]) -> bool {
    fs::write(folder.path("data.hdf5"), bytes).unwrap();
    let mut command = folder.command("data info data.hdf5 --env pointmass --json");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{what}: no end");
        }
        thread::sleep(Duration::from_millis(1));
    }
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    match done.status.code() {
        Some(0) => true,
        Some(1) => {
            assert!(said.starts_with("error: data.hdf5: "), "{what}: {said}");
            assert_eq!(said.lines().count(), 1, "{what}: {said}");
            false
        }
        _ => panic!("{what}: {}: {said}", done.status),
    }
}

#[test]
fn cut_files_are_refused() {
    let folder = Folder::new();
    for name in ["sound.hdf5", "packed.hdf5"] {
        let whole = fs::read(fixture(name)).unwrap();
        for i in 0..25 {
            let keep = i * whole.len() / 25;
            let what = format!("{name} cut to {keep} bytes");
            assert!(!survives(&folder, &what, &whole[..keep]), "{what}");
        }
    }
}

#[test]
fn flipped_bits_are_refused_or_read() {
    let folder = Folder::new();
    for name in ["sound.hdf5", "packed.hdf5"] {
        let whole = fs::read(fixture(name)).unwrap();
        let mut stream = Stream::new(1, name);
        let mut refused = 0;
        for _ in 0..60 {
            let mut bytes = whole.clone();
            let flips = 1 + stream.index(4);
            let mut places = Vec::new();
            for _ in 0..flips {
                // Structure is in the front; the numbers need no attack.
                let (at, bit) = (stream.index(bytes.len().min(4096)), stream.index(8));
                bytes[at] ^= 1 << bit;
                places.push((at, bit));
            }
            refused += usize::from(!survives(&folder, &format!("{name}: {places:?}"), &bytes));
        }
        assert!(refused > 0, "{name}: nothing was attacked");
    }
}

//! Any bytes as a data file, in D4RL's layout and as a Minari data set.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use spar_data::Dataset;

/// In memory where the system has such a folder: a file is written for every input.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("spar-fuzz-").tempdir_in(parent);
    folder.expect("a folder for the inputs").keep()
});

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.join("data.hdf5");
    fs::write(&path, bytes).expect("the input is written");
    if let Err(error) = Dataset::read(&path) {
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line}");
    }
});

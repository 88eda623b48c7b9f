//! Data files broken at random, read by the program: what it makes of each is the
//! whole file, a refusal of one line, or, where the layout keeps no checksum of what was
//! broken, other data under another sha256. It never crashes, hangs or takes much memory.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    bad_input::fixture,
    mutants::{self, Ended},
    support::Folder,
};

/// A file to break.
struct Kind {
    name: &'static str,
    path: PathBuf,
    /// Whether its layout has a checksum of every byte that means something: what is read
    /// of a broken copy is then what the whole one holds.
    checked: bool,
}

fn kinds() -> Vec<Kind> {
    let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let kind = |name, path, checked| Kind {
        name,
        path,
        checked,
    };
    vec![
        kind("sound.hdf5", fixture("sound.hdf5"), false),
        kind("packed.hdf5", fixture("packed.hdf5"), false),
        kind("checked.hdf5", fixture("checked.hdf5"), true),
        kind("local.hdf5", shared.join("d4rl/local.hdf5"), false),
        kind("all.hdf5", shared.join("d4rl/everything.hdf5"), false),
        kind(
            "minari.hdf5",
            shared.join("minari/test/gzip-v0/data/main_data.hdf5"),
            false,
        ),
        // Every part of an archive has a checksum, and its name twice.
        kind("plain.npz", fixture("plain.npz"), true),
        kind("ogbench.npz", fixture("ogbench.npz"), true),
        kind("d3rlpy.hdf5", fixture("d3rlpy.hdf5"), false),
        kind("frame.csv", fixture("frame.csv"), false),
        kind("logger.csv", fixture("logger.csv"), false),
        kind("plain.parquet", fixture("plain.parquet"), false),
        kind("robot.parquet", fixture("robot.parquet"), false),
    ]
}

/// Every row of the file `name`, as the program prints them.
fn read(folder: &Folder, name: &str) -> Ended {
    mutants::watch(&mut folder.command(&format!("data head {name} -n 100000 --json")))
}

/// The hash that the program gives the data in the file `name`.
fn sha256(folder: &Folder, name: &str) -> Value {
    let told = mutants::watch(&mut folder.command(&format!("data info {name} --json")));
    assert!(told.check(name), "{told:?}");
    let told: Value = serde_json::from_str(&told.out).unwrap();
    told["sha256"].clone()
}

#[test]
fn a_broken_data_file_is_whole_refused_or_another() {
    let kinds = kinds();
    let each = mutants::count(120).div_ceil(kinds.len());
    for kind in kinds {
        let folder = Folder::new();
        let whole = fs::read(&kind.path).unwrap();
        let (sound, broken) = (format!("whole-{}", kind.name), kind.name);
        fs::write(folder.path(&sound), &whole).unwrap();
        let rows = read(&folder, &sound);
        assert!(rows.check(&sound), "{rows:?}");
        let hash = sha256(&folder, &sound);
        let mut stream = mutants::stream(kind.name);
        let (mut refused, mut same, mut other) = (0, 0, 0);
        for i in 0..each {
            let (bytes, how) = mutants::bytes(&whole, &mut stream);
            let what = format!("{broken}, mutant {i}: {how}");
            fs::write(folder.path(broken), &bytes).unwrap();
            let got = read(&folder, broken);
            if !got.check(&what) {
                assert_eq!(got.out, "", "{what}: {got:?}");
                refused += 1;
            } else if got.out == rows.out {
                same += 1;
            } else {
                assert!(!kind.checked, "{what}: other rows without a word");
                assert_ne!(sha256(&folder, broken), hash, "{what}");
                other += 1;
            }
        }
        println!("{broken}: {each} mutants: {refused} refused, {same} read whole, {other} other");
        assert!(refused > 0, "{broken}: nothing was attacked");
    }
}

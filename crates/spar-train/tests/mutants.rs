//! Checkpoints and run folders broken at random: the run is refused in one line, or it
//! ends with the bits of one whose folder nobody touched.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{RESULTS, data, spec, stop, train};
use spar_core::{FinishedRun, RunRecord, Stream};
use spar_data::Transitions;
use spar_train::{Method, RunSpec};

mod common;
#[path = "../../../tests/support/mutants.rs"]
mod mutants;

const CHECKPOINT: &str = "checkpoints/latest.safetensors";

/// A run to break: what it is, its folder as it was left, and what it has to end with.
struct Case {
    name: &'static str,
    spec: RunSpec,
    left: PathBuf,
    whole: PathBuf,
    record: RunRecord,
}

/// Stopped in the middle, and finished; a clone, and SPAR.
fn cases(dir: &Path, data: &Transitions) -> Vec<Case> {
    let mut cases = Vec::new();
    for method in [Method::Bc, Method::Spar] {
        let mut spec = spec(method, data);
        spec.config.anchor.hidden = vec![4];
        (spec.config.critic.hidden, spec.config.rectify.hidden) = (vec![4], vec![4]);
        spec.config.batch_size = 4;
        (spec.config.anchor.updates, spec.config.updates) = (20, 20);
        (spec.config.rectify.warmup, spec.config.eval_every) = (5, 10);
        spec.final_episodes = 1;
        let at = |n: &str| dir.join(format!("{}-{n}", method.name()));
        let (whole, stopped) = (at("whole"), at("stopped"));
        let record = train(&spec, data, &whole).unwrap();
        stop(&spec, data, &stopped, 15);
        if method == Method::Spar {
            stop(&spec, data, &stopped, 14);
        }
        for (name, left) in [("stopped", stopped), ("finished", whole.clone())] {
            cases.push(Case {
                name,
                spec: spec.clone(),
                left,
                whole: whole.clone(),
                record: record.clone(),
            });
        }
    }
    cases
}

/// The files of a folder, relative, but its lock.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (name, path) = entry.map(|e| (e.file_name(), e.path())).unwrap();
        let name = name.into_string().unwrap();
        if path.is_dir() {
            names.extend(files(&path).iter().map(|below| format!("{name}/{below}")));
        } else if name != ".lock" {
            names.push(name);
        }
    }
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.join("checkpoints")).unwrap();
    for name in files(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Holds the run in `out` to the rule; whether it was refused.
fn refused(case: &Case, data: &Transitions, out: &Path, what: &str) -> bool {
    match train(&case.spec, data, out) {
        Err(error) => {
            let text = error.to_string();
            assert!(
                !text.contains('\n') && text.len() < 4000,
                "{what}: {text:?}"
            );
            true
        }
        Ok(record) => {
            assert_eq!(record.returns, case.record.returns, "{what}");
            for name in RESULTS {
                let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
                assert!(read(out) == read(&case.whole), "{what}: another {name}");
            }
            let done = FinishedRun::read(out).unwrap().unwrap();
            assert_eq!(done.record, record, "{what}");
            assert_eq!(done.identity, case.spec.identity().unwrap(), "{what}");
            false
        }
    }
}

#[test]
fn a_broken_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let cases = cases(dir.path(), &data);
    let out = dir.path().join("broken");
    let each = mutants::count(200).div_ceil(2);
    for case in cases.iter().filter(|case| case.name == "stopped") {
        let method = case.spec.method.name();
        let whole = fs::read(case.left.join(CHECKPOINT)).unwrap();
        let mut stream = mutants::stream(method);
        let mut same = 0;
        for i in 0..each {
            let (bytes, how) = mutants::bytes(&whole, &mut stream);
            let what = format!("checkpoint of {method}, mutant {i}: {how}");
            copy(&case.left, &out);
            fs::write(out.join(CHECKPOINT), &bytes).unwrap();
            if refused(case, &data, &out, &what) {
                assert!(!out.join("DONE").exists(), "{what}");
            } else {
                assert!(bytes == whole, "{what}: it was resumed");
                same += 1;
            }
        }
        println!("checkpoints of {method}: {each} mutants, {same} of them whole");
        assert!(same < each / 2);
    }
}

#[test]
fn a_broken_run_folder_is_refused_or_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let cases = cases(dir.path(), &data);
    let out = dir.path().join("broken");
    let each = mutants::count(200).div_ceil(cases.len());
    for case in &cases {
        let kind = format!("{} {}", case.name, case.spec.method.name());
        let names = files(&case.left);
        let mut stream = mutants::stream(&kind);
        let mut stopped = 0;
        for i in 0..each {
            copy(&case.left, &out);
            let name = &names[stream.index(names.len())];
            let how = break_file(&out, name, &cases, &mut stream);
            let what = format!("{kind} run, mutant {i}: {name}: {how}");
            stopped += usize::from(refused(case, &data, &out, &what));
        }
        println!("{kind} runs: {each} mutants, {stopped} refused, the others ended the same");
        assert!(stopped > 0, "{kind}: nothing was attacked");
    }
}

/// Breaks the file `name` of `out`, and says how.
fn break_file(out: &Path, name: &str, cases: &[Case], stream: &mut Stream) -> String {
    let file = out.join(name);
    let whole = fs::read(&file).unwrap();
    match stream.index(8) {
        0 => {
            fs::remove_file(&file).unwrap();
            "removed".to_owned()
        }
        1 => {
            // Another run's file of that name.
            let theirs = &cases[stream.index(cases.len())];
            match fs::copy(theirs.left.join(name), &file) {
                Ok(_) => format!("that of a {} {}", theirs.name, theirs.spec.method.name()),
                Err(_) => "as it was".to_owned(),
            }
        }
        2 => {
            fs::write(&file, "").unwrap();
            "made empty".to_owned()
        }
        way => {
            let text = std::str::from_utf8(&whole).ok().filter(|_| way > 3);
            let (bytes, how) = match text {
                Some(text) if !text.is_empty() => mutants::text(text, stream),
                _ => mutants::bytes(&whole, stream),
            };
            fs::write(&file, bytes).unwrap();
            how
        }
    }
}

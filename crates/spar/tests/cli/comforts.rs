//! What the program does for whoever types.

use std::{fs, process::Command};

use crate::support::Folder;

#[test]
fn a_name_that_is_nearly_right_is_told() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    for (wrong, hint) in [
        (
            "--method sparr --env pointmass",
            "hint: did you mean `spar`?",
        ),
        (
            "--method TD3+BC --env pointmass",
            "hint: did you mean `td3bc`?",
        ),
        (
            "--method bc --env pointmas",
            "hint: did you mean `pointmass`?",
        ),
    ] {
        let done = folder.spar(&format!("train --dataset data.hdf5 --out run {wrong}"));
        assert!(done.err.contains(hint), "{done:?}");
        done.fails(2, &[]);
    }
    let done = folder.spar("train --dataset data.hdf5 --out run --method zzz --env pointmass");
    assert!(!done.err.contains("did you mean"), "{done:?}");
    done.fails(2, &["zzz"]);
    assert!(!folder.exists("run"));
}

#[test]
fn counts_are_taken_as_they_are_written() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let train = |count: &str, out: &str| {
        let line = format!(
            "train --dataset data.hdf5 --method iql --env pointmass --out {out} --set hidden=[8] \
             --eval-episodes 1 --checkpoint-every 1e3 {count}"
        );
        folder.spar(&line).ok();
        folder.read(&format!("{out}/spec.json"))
    };
    let plain = train("--updates 20 --set data.batch_size=100", "a");
    assert_eq!(train("--updates 2e1 --set data.batch_size=1e2", "b"), plain);
    assert_eq!(
        train("--updates 2_0 --set data.batch_size=1_00", "c"),
        plain
    );
    for wrong in ["1.5", "-1", "1e-2", "1e400", "_1", "ten"] {
        let line = format!("train --dataset data.hdf5 --method bc --out d --updates={wrong}");
        folder.spar(&line).fails(2, &["--updates", wrong]);
    }
}

#[test]
fn shells_and_man_know_every_command() {
    let folder = Folder::new();
    for (shell, check) in [
        ("bash", true),
        ("zsh", false),
        ("fish", false),
        ("elvish", false),
    ] {
        let script = folder.spar(&format!("completions {shell}")).ok();
        for command in ["train", "export", "replay", "convert"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
        let file = folder.path(shell);
        fs::write(&file, script).unwrap();
        if check {
            let parsed = Command::new("bash").arg("-n").arg(&file).status().unwrap();
            assert!(parsed.success());
        }
    }
    folder.spar("man --out man").ok();
    let files = folder.files("man");
    for page in [
        "spar.1",
        "spar-train.1",
        "spar-data-convert.1",
        "spar-act.1",
    ] {
        assert!(files.contains(&format!("man/{page}")), "{files:?}");
    }
    let page = String::from_utf8(folder.read("man/spar-train.1")).unwrap();
    assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
    assert!(page.contains("checkpoint"));
}

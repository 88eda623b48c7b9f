//! What is refused leaves nothing behind that blocks the right command, and the line says what
//! is there, what was expected and what to give.

use std::fs;

use crate::support::{Folder, prepared, suite_run, write_tensors};

const SPAR: &str = "train --dataset data.hdf5 --env pointmass --method spar --updates 4 \
     --anchor-updates 4 --warmup 1 --batch-size 16 --eval-episodes 1 --out runs/new/run";

/// A policy of three observations and one action: a network that is no fit for the point mass.
fn write_wide(folder: &Folder) {
    let tensors = [
        ("0.weight".to_owned(), vec![1, 3], vec![0.1; 3]),
        ("0.bias".to_owned(), vec![1], vec![0.0]),
    ];
    let metadata = [("activation", "relu"), ("output", "tanh")];
    write_tensors(&folder.path("wide.safetensors"), &tensors, &metadata);
}

#[test]
fn a_refused_run_leaves_no_folder_that_blocks_the_right_command() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    write_wide(&folder);
    for (option, facts) in [
        ("--anchor nope", ["nope", "there is no such folder"]),
        ("--anchor data.hdf5", ["data.hdf5", "it is a file"]),
        (
            "--anchor-policy data.hdf5",
            ["data.hdf5", "not a safetensors file"],
        ),
        (
            "--anchor-policy wide.safetensors",
            ["wide.safetensors", "3 observations"],
        ),
    ] {
        // Updates of an anchor are of one that the run trains.
        let line = match option.starts_with("--anchor-policy") {
            true => SPAR.replace("--anchor-updates 4 ", ""),
            false => SPAR.to_owned(),
        };
        folder.spar(&format!("{line} {option}")).fails(1, &facts);
        assert!(!folder.exists("runs"), "{option}");
    }
    // In a folder that was there already, as a suite's with its log, nothing blocks it either.
    fs::create_dir_all(folder.path("runs/new/run")).unwrap();
    fs::write(folder.path("runs/new/run/log.txt"), "mine").unwrap();
    folder
        .spar(&format!("{SPAR} --anchor nope"))
        .fails(1, &["nope"]);
    assert_eq!(folder.files("runs"), ["runs/new/run/log.txt"]);
    folder.spar(SPAR).ok();

    // Nor is a run that is there touched by one that cannot follow it.
    let done = folder.read("runs/new/run/DONE");
    folder
        .spar(&format!("{SPAR} --anchor nope --checkpoint-every 2"))
        .ok();
    assert_eq!(folder.read("runs/new/run/DONE"), done);
    let online = "finetune --policy runs/new/run --steps 20 --start-steps 10 --out online";
    folder
        .spar(&format!("{online} --set rectify.hidden=[9]"))
        .fails(1, &["other network sizes"]);
    assert!(!folder.exists("online"));
    folder.spar(online).ok();
}

#[test]
fn an_out_that_is_no_folder_is_said_to_be_none() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    fs::write(folder.path("file"), "mine").unwrap();
    let line = |out: &str| SPAR.replace("runs/new/run", out);
    for out in ["file", "file/run"] {
        folder.spar(&line(out)).fails(
            1,
            &["--out file is a file", "expected a folder that is new"],
        );
    }
    assert_eq!(folder.read("file"), b"mine");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", folder.path("link")).unwrap();
        folder
            .spar(&line("link"))
            .fails(1, &["--out link is a link to nothing"]);
    }
}

#[test]
fn nobody_is_told_to_delete_what_he_named_as_input() {
    let folder = prepared();
    folder.spar(&suite_run("short", "bc", "bc", "")).ok();
    let said = folder.spar("finetune --policy data.hdf5 --steps 20 --out online");
    assert!(!said.err.contains("delete"), "{said:?}");
    said.fails(
        1,
        &[
            "data.hdf5: is no checkpoint of a run",
            "give the run's folder or its checkpoints/latest.safetensors",
        ],
    );
    // A policy under another name is no checkpoint either.
    fs::copy(folder.path("bc/policy.safetensors"), folder.path("p.st")).unwrap();
    folder
        .spar("finetune --policy p.st --steps 20 --out online")
        .fails(1, &["p.st: is no checkpoint of a run"]);
    for (policy, facts) in [
        (
            "bc/checkpoints/latest.safetensors",
            ["a run's checkpoint, not its policy", "policy.safetensors"],
        ),
        (
            "data.hdf5",
            ["not a safetensors file", "expected a policy file"],
        ),
    ] {
        let line = format!("eval --policy {policy} --env pointmass --episodes 1");
        folder.spar(&line).fails(1, &facts);
    }
    // In a run's own folder it is said what is true there.
    fs::write(folder.path("bc/checkpoints/latest.safetensors"), "spoilt").unwrap();
    folder
        .spar("finetune --policy bc --steps 20 --out online")
        .fails(1, &["the run's last checkpoint cannot be read"]);
    fs::remove_file(folder.path("bc/DONE")).unwrap();
    let line = suite_run("short", "bc", "bc", "");
    folder.spar(&line).fails(
        1,
        &["latest.safetensors", "trains the run from its beginning"],
    );
    fs::remove_file(folder.path("bc/checkpoints/latest.safetensors")).unwrap();
    folder.spar(&line).ok();
    assert!(!folder.exists("online"));
}

#[test]
fn a_run_does_not_stop_after_no_updates() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    for line in [SPAR, "finetune --policy run --steps 9 --out online"] {
        folder
            .spar(&format!("{line} --stop-after 0"))
            .fails(2, &["--stop-after", "at least one"]);
    }
    assert!(!folder.exists("runs"));
}

#[test]
fn a_setting_between_two_numbers_says_that_neither_will_do() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    folder
        .spar(&format!("{SPAR} --set critic.discount=1"))
        .fails(2, &["`critic.discount` is 1", "above 0 and below 1"]);
}

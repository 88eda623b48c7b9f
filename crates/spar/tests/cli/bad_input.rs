//! Everything a user can get wrong: one line that says what, where and how to
//! mend it, the right exit code, and nothing half-written.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::support::{Done, Folder, finished_files, prepared, suite_run};

/// A file `files.py` wrote.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/cli/files").join(name)
}

/// Trains on `data.hdf5` of `folder`, which has to be refused.
fn refused(folder: &Folder, facts: &[&str]) {
    let line = "train --dataset data.hdf5 --env pointmass --method bc --updates 3 --out run";
    folder.spar(line).fails(1, facts);
    assert!(!folder.exists("run"));
    folder
        .spar("data info data.hdf5 --env pointmass")
        .fails(1, facts);
}

#[test]
fn data_files_that_are_none() {
    let folder = Folder::new();
    refused(&folder, &["data.hdf5", "no such data file"]);
    let write = |bytes: &[u8]| fs::write(folder.path("data.hdf5"), bytes).unwrap();
    write(b"");
    refused(
        &folder,
        &["data.hdf5", "empty", "download or generate it again"],
    );
    write(b"<!DOCTYPE html><html><body>404</body></html>");
    refused(&folder, &["data.hdf5", "not an HDF5 file", "a web page"]);
    let whole = fs::read(fixture("sound.hdf5")).unwrap();
    write(&whole[..whole.len() / 2]);
    let (expected, got) = (whole.len().to_string(), (whole.len() / 2).to_string());
    refused(&folder, &["data.hdf5", "truncated", &expected, &got]);
    fs::remove_file(folder.path("data.hdf5")).unwrap();
    fs::create_dir(folder.path("data.hdf5")).unwrap();
    refused(&folder, &["data.hdf5"]);
}

#[test]
fn data_files_with_one_fault() {
    let folder = Folder::new();
    for (name, facts) in [
        (
            "missing.hdf5",
            [
                "`rewards` is missing",
                "expected observations, actions, rewards",
            ],
        ),
        ("shape.hdf5", ["`actions` has shape [39, 1]", "expected"]),
        (
            "nan.hdf5",
            ["`rewards`, row 17: value is NaN", "expected a finite f32"],
        ),
    ] {
        fs::copy(fixture(name), folder.path("data.hdf5")).unwrap();
        refused(&folder, &facts);
    }
    fs::copy(fixture("sound.hdf5"), folder.path("data.hdf5")).unwrap();
    folder
        .spar("train --dataset data.hdf5 --env hopper --method bc --out run")
        .fails(
            1,
            &[
                "observations are 2 wide, but hopper needs 11",
                "another environment",
            ],
        );
    folder
        .spar("data verify data.hdf5 --env pointmass")
        .fails(1, &["`infos/qpos` is missing"]);
    for name in ["sound.hdf5", "packed.hdf5"] {
        fs::copy(fixture(name), folder.path("data.hdf5")).unwrap();
        folder.spar("data info data.hdf5 --env pointmass").ok();
    }
}

#[test]
fn names_that_are_not_known() {
    let folder = prepared();
    let usage = |line: &str, facts: &[&str]| folder.spar(line).fails(2, facts);
    let train = suite_run("short", "spar", "run", "");
    usage(
        &train.replace("pointmass-medium", "pointmass-best"),
        &["unknown task `pointmass-best`", "pointmass-medium-replay"],
    );
    usage(
        &train.replace("pointmass-medium", "hopper-medium"),
        &[
            "suite `tiny` has no task `hopper-medium`",
            "pointmass-medium-replay",
        ],
    );
    usage(
        &train.replace("spar --seed", "sparr --seed"),
        &["unknown method `sparr`", "bc, spar"],
    );
    usage(
        &train.replace("short", "tall"),
        &["no preset `tall`", "long, short"],
    );
    usage(
        &format!("{train} --updates 5"),
        &["--updates", "cannot be used with", "--suite"],
    );
    usage(&train.replace("--preset short", ""), &["required"]);
    usage(
        "train --dataset data.hdf5 --env pointmass --out run",
        &["required", "--method"],
    );
    usage(
        "train --dataset data.hdf5 --env reacher --method spar --out run",
        &["unknown environment `reacher`", "halfcheetah"],
    );
    usage(
        "train --dataset data.hdf5 --env pointmass --method spar --batch-size 0 --out run",
        &["`batch_size` is 0"],
    );
    usage("eval --policy p --env pointmass --episodes 0", &["0"]);
    usage(
        "data prepare --task hopper-best --rows 100",
        &["unknown task `hopper-best`"],
    );
    usage("data prepare --task hopper-medium --rows 1", &["1"]);
    usage("fly", &["fly"]);
    assert!(!folder.exists("run"));
    fs::write(folder.path("suite.toml"), "name = 'x'\ntask = 3\n").unwrap();
    folder.spar(&train).fails(1, &["suite.toml", "line"]);
    fs::remove_file(folder.path("suite.toml")).unwrap();
    folder
        .spar(&train)
        .fails(1, &["suite.toml", "No such file"]);
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = prepared();
    fs::copy(fixture("sound.hdf5"), folder.path("file")).unwrap();
    folder
        .spar(&suite_run("short", "bc", "file/run", ""))
        .fails(1, &["--out file is a file", "expected a folder"]);
    folder
        .spar("report --suite suite.toml --preset short --runs runs --out file/report")
        .fails(1, &[""]);
    assert_eq!(
        folder.read("file"),
        fs::read(fixture("sound.hdf5")).unwrap()
    );
}

/// The program with files of at most `blocks` KiB: writes fail as on a full
/// disk, with another reason.
fn on_small_disk(folder: &Folder, blocks: usize, line: &str) -> Done {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let program = folder.command(line);
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(folder.path(""))
        .stdin(Stdio::null());
    Done::of(&mut command)
}

#[test]
fn a_full_disk_leaves_a_run_that_goes_on_when_there_is_room() {
    let folder = prepared();
    let line = suite_run("long", "spar", "run", "");
    on_small_disk(&folder, 8, &line).fails(1, &["run/checkpoints/latest.safetensors", "too large"]);
    let left = folder.files("run");
    assert!(left.iter().all(|f| !f.contains(".partial-")), "{left:?}");
    assert!(!folder.exists("run/DONE"));
    folder.spar(&line).ok();
    assert_eq!(folder.files("run"), finished_files("run"));

    fs::create_dir_all(folder.path("runs/pointmass-medium/spar")).unwrap();
    fs::rename(
        folder.path("run"),
        folder.path("runs/pointmass-medium/spar/seed-3"),
    )
    .unwrap();
    let report = "report --suite suite.toml --preset long --runs runs --tasks pointmass-medium \
                  --methods spar --seeds 3 --out report";
    on_small_disk(&folder, 0, report).fails(1, &["report/table.md", "too large"]);
    assert_eq!(folder.files("report"), [""; 0]);
}

#[test]
fn a_full_disk_leaves_no_data_file() {
    let folder = Folder::new();
    crate::data::write_behavior(&folder.path("behavior"), 0);
    let line = "data generate --task pointmass-medium --rows 20000 --behavior behavior --out made/data.hdf5";
    on_small_disk(&folder, 64, line).fails(
        1,
        &[
            "made/data.hdf5",
            "cannot write the data file",
            "disk not full",
        ],
    );
    assert_eq!(folder.files("made"), [""; 0]);
}

#[test]
fn a_full_standard_output_is_a_failure() {
    let folder = prepared();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = folder.command("data info data.hdf5 --json");
    let done = command
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(
        said.starts_with("error: cannot write to standard output: No space left"),
        "{said}"
    );
}

#[test]
fn checkpoints_and_records_that_were_spoilt() {
    let folder = prepared();
    let line = suite_run("long", "spar", "run", "");
    folder.spar(&format!("{line} --stop-after 60")).ok();
    let checkpoint = "run/checkpoints/latest.safetensors";
    let whole = folder.read(checkpoint);
    for bytes in [
        &whole[..0],
        &whole[..100],
        &whole[..whole.len() - 1],
        b"<html></html>",
    ] {
        fs::write(folder.path(checkpoint), bytes).unwrap();
        folder.spar(&line).fails(
            1,
            &[checkpoint, "not a valid checkpoint", "remove that file"],
        );
    }
    // Another run's numbers under this run's name.
    let other = line.replace("--out run", "--out other");
    let suite = fs::read_to_string(folder.path("suite.toml")).unwrap();
    fs::write(
        folder.path("suite.toml"),
        suite.replace("[16, 16]", "[24, 24]"),
    )
    .unwrap();
    folder.spar(&format!("{other} --stop-after 60")).ok();
    fs::write(folder.path("suite.toml"), suite).unwrap();
    fs::copy(
        folder.path("other/checkpoints/latest.safetensors"),
        folder.path(checkpoint),
    )
    .unwrap();
    folder.spar(&line).fails(
        1,
        &["run", "checkpoints/latest.safetensors differs in", "hidden"],
    );
    fs::write(folder.path(checkpoint), &whole).unwrap();
    let spec = folder.read("run/spec.json");
    fs::write(folder.path("run/spec.json"), "{}").unwrap();
    folder
        .spar(&line)
        .fails(1, &["run/spec.json", "remove the run's folder"]);
    fs::write(folder.path("run/spec.json"), spec).unwrap();
    folder.spar(&line).ok();
    fs::write(folder.path("run/DONE"), "done").unwrap();
    folder
        .spar(&line)
        .fails(1, &["run/DONE", "remove the run's folder"]);
}

#[test]
fn libraries_that_are_not_the_right_one() {
    let folder = Folder::new();
    let line = "behavior train --env hopper --out run";
    // With the hash of the file itself, where it is vouched for.
    let with = |library: &str, vouched: bool| {
        let mut command = folder.command(line);
        let library = folder.path(library);
        if vouched {
            let hash = spar_core::sha256_file(&library).unwrap();
            command.env("SPAR_MUJOCO_LIB_SHA256", hash);
        }
        Done::of(command.env("SPAR_MUJOCO_LIB", library))
    };
    fs::write(folder.path("garbage.so"), "<html>not found</html>").unwrap();
    let pinned = [
        "garbage.so",
        "MuJoCo library: expected sha256 23496b02",
        "got ",
    ];
    with("garbage.so", false).fails(1, &pinned);
    with("garbage.so", true).fails(
        1,
        &["garbage.so", "not a usable MuJoCo library", "spar setup"],
    );
    with("nowhere.so", false).fails(1, &["nowhere.so", "not found", "SPAR_MUJOCO_LIB"]);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/another_version.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(folder.path("old.so"))
        .arg(source)
        .status();
    assert!(compiled.unwrap().success());
    with("old.so", true).fails(1, &["old.so", "expected 3.17.x, got", "spar setup"]);
}

/// `--device cuda` where there is no driver.
#[test]
fn a_gpu_that_is_not_there() {
    let folder = prepared();
    let opened = spar_kernels::cuda::CudaDevice::new(0);
    if matches!(opened, Err(spar_kernels::cuda::CudaError::NoDriver)) {
        for line in [
            suite_run("short", "spar", "run", "--device cuda"),
            suite_run("short", "bc", "run", "--device cuda --calibrate"),
            "eval --policy none.safetensors --env pointmass --device cuda".to_owned(),
        ] {
            folder.spar(&line).fails(
                1,
                &["error: no CUDA driver on this machine; use --device cpu"],
            );
            assert!(!folder.exists("run"));
        }
    }
    for line in [
        "eval --policy none.safetensors --env pointmass --device gpu".to_owned(),
        suite_run("short", "spar", "run", "--device gpu"),
    ] {
        folder
            .spar(&line)
            .fails(2, &["unknown device `gpu`", "cpu, cuda"]);
    }
    folder
        .spar("eval --policy none.safetensors --env pointmass --device cuda --best-of 4")
        .fails(2, &["--best-of", "--device cpu"]);
}

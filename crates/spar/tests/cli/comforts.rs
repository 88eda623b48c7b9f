//! What the program does for whoever types.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use crate::support::{Done, Folder};

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

/// `docs/json.md`: the fields of each command.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../../../docs/json.md");
    let (_, table) = page.split_once("## Fields of each command").unwrap();
    let names = |text: &str| -> Vec<String> {
        let odd = text.split('`').skip(1).step_by(2);
        odd.map(str::to_owned).collect()
    };
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let (command, fields) = row[2..].split_once(" | ").unwrap();
        (command.to_owned(), names(fields).into_iter().collect())
    })
    .collect()
}

/// A policy was called `file` here and `path` there, and nothing said of what a number was.
#[test]
fn every_json_has_the_documented_fields() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    let train = "train --dataset data.hdf5 --method iql --batch-size 16 --updates 20";
    let played = format!("{train} --env pointmass --eval-episodes 2");
    let lines = [
        ("`train`, in an environment", format!("{played} --out run")),
        ("`train`, without one", format!("{train} --out logs")),
        (
            "`train --calibrate`",
            format!("{played} --calibrate --out none"),
        ),
        (
            "`finetune`",
            "finetune --policy run --steps 40 --start-steps 20 --out online".into(),
        ),
        ("`eval`", "eval --policy run --episodes 2".into()),
        ("`export`", "export --policy run --onnx run.onnx".into()),
        (
            "`train`, in an environment",
            "train --dataset data.hdf5 --method spar --env pointmass --updates 20 \
             --anchor-updates 20 --eval-episodes 2 --out spar"
                .into(),
        ),
        (
            "`diagnose`, a line each policy",
            "diagnose spar --episodes 2 --steps 5".into(),
        ),
        ("`data info`", "data info data.hdf5".into()),
        (
            "`data stats`",
            "data stats data.hdf5 --env pointmass".into(),
        ),
        (
            "`data verify`",
            "data verify data.hdf5 --env pointmass".into(),
        ),
        ("`data head`", "data head data.hdf5 -n 1".into()),
        (
            "`data convert`",
            "data convert data.hdf5 minari/data-v0".into(),
        ),
        ("`list methods`", "list methods".into()),
        ("`list envs`", "list envs".into()),
        ("`list tasks`", "list tasks".into()),
        (
            "`ope`, a line each policy",
            "ope --dataset data.hdf5 --updates 10 run".into(),
        ),
        (
            "`ope`, a line each policy",
            "ope --dataset data.hdf5 --updates 10 --policy run".into(),
        ),
        (
            "`render`, of a policy",
            "render --policy run --steps 3 --out film.svg".into(),
        ),
        ("`render`, of a run, a line each", "render run".into()),
        ("`report compare`", "report compare run online".into()),
        (
            "`report compare`, without an environment",
            "report compare logs logs".into(),
        ),
    ];
    let documented = documented();
    for (name, line) in lines {
        let mut command = folder.command(&format!("{line} --json"));
        // `--calibrate` prints JSON whatever is asked for.
        let found = Done::of(&mut command).json();
        let object = found.get(0).unwrap_or(&found).as_object().unwrap();
        let got: BTreeSet<String> = object.keys().cloned().collect();
        assert_eq!(got, documented[name], "{name}");
        for (field, text) in [
            ("env", true),
            ("policy", true),
            ("unit", true),
            ("file", true),
            ("run", true),
            ("seed", false),
        ] {
            let value = object.get(field);
            let right =
                value.is_none_or(|v| v.is_null() || if text { v.is_string() } else { v.is_u64() });
            assert!(right, "{name}: {field} is {value:?}");
        }
        // The policy's file, whatever of its run was named.
        for policy in [&found["policy"], &found["offline"]["policy"]] {
            let file = policy
                .as_str()
                .is_none_or(|path| path.ends_with("/policy.safetensors"));
            assert!(file, "{name}: policy is {policy}");
        }
        let run = &found["run"];
        assert!(run.is_null() || run == "run", "{name}: run is {run}");
    }
    // No command has the option and is not on the page.
    folder.spar("man --out man").ok();
    for page in folder.files("man") {
        let text = String::from_utf8(folder.read(&page)).unwrap();
        if !text.contains("\\-\\-json") {
            continue;
        }
        let name = page.trim_start_matches("man/spar-").trim_end_matches(".1");
        let name = name.replace('-', " ");
        let known = documented
            .keys()
            .any(|key| key.contains(&format!("`{name}")));
        assert!(known, "{name} has --json and is not in docs/json.md");
    }
}

/// An unknown extension got an SVG all the same.
#[test]
fn a_figure_is_of_the_kind_its_name_says() {
    let folder = Folder::new();
    folder.write_data("data.hdf5");
    for name in ["returns.jpg", "returns.pdf", "returns", "returns.svg.txt"] {
        let line = format!("data plot data.hdf5 --env pointmass --out {name}");
        folder.spar(&line).fails(2, &[name, ".svg or .png"]);
        assert!(!folder.exists(name));
    }
    folder
        .spar("data plot data.hdf5 --env pointmass --out returns.SVG")
        .ok();
    assert!(folder.read("returns.SVG").starts_with(b"<svg"));
    folder
        .spar("data plot data.hdf5 --env pointmass --out returns.Png")
        .ok();
    assert!(folder.read("returns.Png").starts_with(b"\x89PNG\r\n\x1a\n"));
}

/// Tables ran past the edge of a narrow terminal.
#[test]
fn tables_are_as_narrow_as_the_terminal() {
    let folder = Folder::new();
    let widest = |columns: Option<&str>| {
        let mut command = folder.command("list envs");
        command.env_remove("COLUMNS");
        if let Some(columns) = columns {
            command.env("COLUMNS", columns);
        }
        let text = Done::of(&mut command).ok();
        text.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest(None) > 80);
    assert!(widest(Some("60")) <= 60);
    assert_eq!(widest(Some("none")), widest(None));
}

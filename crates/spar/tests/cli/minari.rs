//! `spar data` on Minari data sets, and what is trained on them.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;
use spar_core::Stream;
use spar_data::{Row, Writer};

use crate::support::{Done, Folder, prepared};

/// `line` with Minari's ids looked for in the folder `minari`.
fn command(folder: &Folder, line: &str) -> Command {
    let mut command = folder.command(line);
    command.env("MINARI_DATASETS_PATH", folder.path("minari"));
    command
}

fn spar(folder: &Folder, line: &str) -> Done {
    Done::of(&mut command(folder, line))
}

#[test]
fn a_file_converted_there_and_back() {
    let folder = prepared();
    let line = "data convert data.hdf5 minari/ns/spring-v0 --env pointmass --json";
    let made = spar(&folder, line).json();
    assert_eq!(
        (&made["id"], &made["origin"]),
        (&"ns/spring-v0".into(), &"minari".into())
    );
    assert_eq!(
        (&made["rows"], &made["left_out"], &made["repeated"]),
        (&800.into(), &0.into(), &0.into())
    );
    assert_eq!(
        folder.files("minari"),
        [
            "minari/ns/spring-v0/data/main_data.hdf5",
            "minari/ns/spring-v0/data/metadata.json"
        ]
    );
    assert_eq!(
        made["sha256"],
        spar_core::sha256_hex(&folder.read("minari/ns/spring-v0/data/main_data.hdf5"))
    );
    // By id, by folder and by file.
    for name in [
        "ns/spring-v0",
        "minari/ns/spring-v0",
        "minari/ns/spring-v0/data/main_data.hdf5",
    ] {
        let info = spar(&folder, &format!("data info {name} --json")).json();
        assert_eq!(
            (&info["id"], &info["origin"]),
            (&"ns/spring-v0".into(), &"minari".into())
        );
        // No step is lost, as D4RL's loader does of every episode.
        assert_eq!(
            (&info["rows"], &info["transitions"]),
            (&800.into(), &800.into())
        );
        assert_eq!(info["metadata"]["spar_source"], "data");
    }
    let found = spar(&folder, "data verify ns/spring-v0 --env pointmass --json").json();
    assert_eq!(
        (&found["ok"], &found["checked"]),
        (&true.into(), &800.into())
    );

    // Nothing is written over, and nothing half-written stays.
    spar(&folder, line).fails(1, &["minari/ns/spring-v0", "already there"]);
    spar(&folder, "data convert ns/spring-v0 data.hdf5").fails(1, &["data.hdf5", "already there"]);
    spar(&folder, "data convert ns/spring-v0 other-v0 --to minari")
        .fails(1, &["ns/spring-v0", "Minari's layout already"]);
    spar(&folder, "data convert data.hdf5 other").fails(1, &["`other` is no Minari id", "NAME-vN"]);
    spar(&folder, "data convert ns/spring-v0 back.hdf5 --id a-v0").fails(2, &["--id"]);
    assert!(!folder.exists("other") && !folder.exists("other-v0") && !folder.exists("back.hdf5"));

    let back = spar(&folder, "data convert ns/spring-v0 back.hdf5 --json").json();
    assert_eq!(
        (&back["id"], &back["origin"]),
        (&"ns/spring-v0".into(), &"minari".into())
    );
    // The last step of an episode stays a transition.
    let info = spar(&folder, "data info back.hdf5 --json").json();
    assert_eq!(
        (&info["transitions"], &info["metadata"]["spar_next"]),
        (&800.into(), &"recorded".into())
    );
    let head = |name: &str| spar(&folder, &format!("data head {name} -n 300 --json")).ok();
    assert_eq!(head("back.hdf5"), head("data.hdf5"));
    let stats = |name: &str| {
        let mut found = spar(&folder, &format!("data stats {name} --json")).json();
        let fields = found.as_object_mut().unwrap();
        for key in ["file", "id", "origin"] {
            fields.remove(key);
        }
        found
    };
    assert_eq!(stats("back.hdf5"), stats("data.hdf5"));
    assert_eq!(stats("ns/spring-v0"), stats("data.hdf5"));
}

#[test]
fn rows_and_distributions_are_shown() {
    let folder = prepared();
    let lines = folder.spar("data head data.hdf5 -n 3 --json").ok();
    let rows: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (&rows[2]["row"], &rows[2]["episode"]),
        (&2.into(), &0.into())
    );
    assert_eq!(rows[0]["next_observation"], rows[1]["observation"]);
    let table = folder.spar("data head data.hdf5 -n 101").ok();
    assert_eq!(table.lines().count(), 102, "{table}");
    assert!(
        table.lines().nth(100).unwrap().ends_with("timeout"),
        "{table}"
    );
    assert_eq!(
        folder.spar("data head data.hdf5 -n 0 --json").ok().trim(),
        ""
    );

    let info = folder.spar("data info data.hdf5 --json").json();
    let found = folder.spar("data stats data.hdf5 --json").json();
    for (key, of) in [
        ("mean", "mean"),
        ("std", "std"),
        ("min", "min"),
        ("max", "max"),
    ] {
        let (a, b) = (&found["returns"][key], &info["returns"][of]);
        assert!(
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9,
            "{key}: {a} {b}"
        );
    }
    assert_eq!(found["observations"], info["observations"]);
    assert_eq!(found["lengths"]["median"], 100.0);
    let table = folder.spar("data stats data.hdf5").ok();
    for text in [
        "data (user): 800 rows, 8 episodes, 8 complete",
        "25%",
        "at a bound",
        "observation",
    ] {
        assert!(table.contains(text), "{table}");
    }

    folder
        .spar("data plot data.hdf5 --out figures/returns.svg")
        .ok();
    let figure = String::from_utf8(folder.read("figures/returns.svg")).unwrap();
    assert!(
        figure.starts_with("<svg") && figure.contains("8 complete episodes, 800 rows"),
        "{figure}"
    );
    assert!(figure.contains("data (user)"), "{figure}");
    folder
        .spar("data plot data.hdf5 --out data.hdf5/x.svg")
        .fails(1, &["data.hdf5/x.svg"]);
}

/// Random numbers as wide as Hopper's.
fn write_hopper(path: &Path) {
    let mut stream = Stream::new(0, "rows");
    let mut draw =
        |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal().tanh() as f32).collect() };
    let mut writer = Writer::create(path, 11, 3, 0, 0, &BTreeMap::new()).unwrap();
    for step in 1..=60 {
        let row = Row {
            obs: &draw(11),
            action: &draw(3),
            reward: 1.0,
            terminal: false,
            timeout: step % 20 == 0,
            next_obs: &draw(11),
            qpos: &[],
            qvel: &[],
        };
        writer.push(&row).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn runs_on_minari_data_say_so_and_have_no_score() {
    let folder = prepared();
    spar(&folder, "data convert data.hdf5 minari/spring-v0").ok();
    let line = "train --dataset spring-v0 --env pointmass --method bc --updates 3 --eval-episodes 1 --out run --json";
    assert!(spar(&folder, line).json()["normalized_score"].is_null());
    let record: Value = serde_json::from_slice(&folder.read("run/DONE")).unwrap();
    assert_eq!(record["dataset"]["origin"], "minari");
    assert_eq!(
        (&record["dataset"]["id"], &record["task"]),
        (&"spring-v0".into(), &"spring-v0".into())
    );

    // In an environment that has reference scores, too.
    write_hopper(&folder.path("hopper.hdf5"));
    spar(
        &folder,
        "data convert hopper.hdf5 minari/hop-v0 --env hopper",
    )
    .ok();
    let train = |data: &str, out: &str| {
        let line = format!(
            "train --dataset {data} --env hopper --method bc --updates 3 --eval-episodes 1 --out {out} --json"
        );
        let eval =
            format!("eval --policy {out}/policy.safetensors --env hopper --episodes 1 --json");
        [spar(&folder, &line).json(), spar(&folder, &eval).json()]
            .map(|mut s| s["normalized_score"].take())
    };
    assert!(train("hopper.hdf5", "own").iter().all(Value::is_number));
    assert!(train("hop-v0", "theirs").iter().all(Value::is_null));

    let suite = crate::support::suite_run("short", "bc", "suite", "");
    spar(&folder, &suite.replace("data.hdf5", "spring-v0"))
        .fails(1, &["spring-v0", "Minari's", "leave --suite out"]);
    assert!(!folder.exists("suite"));
}

#[test]
fn other_spaces_get_one_line() {
    let folder = Folder::new();
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/minari/test"
    );
    for (name, fact) in [
        ("dict", "a Dict space"),
        ("image", "[8, 8, 3]"),
        ("choice", "actions"),
    ] {
        let line = format!("data info {fixtures}/{name}-v0");
        folder
            .spar(&line)
            .fails(1, &[name, fact, "expected a Box of one dimension"]);
    }
    spar(&folder, "data info ns/none-v0").fails(1, &["minari/ns/none-v0", "no such data file"]);
}

//! Data files that mean something else than they seem to: what the program makes of each,
//! and what it says. Each test is a report of a user's, in the kind of file it was of.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use spar_core::{Stream, sha256_file};
use spar_data::{MetaValue, Row, Writer, local_metadata};

use crate::{
    bad_input::fixture,
    mutants,
    support::{Done, Folder},
};

/// `(observation, action, successor, terminal, timeout)`.
type OneRow = (Vec<f32>, Vec<f32>, Vec<f32>, bool, bool);

/// Rows of two episodes of 20 steps along a line, `widths` wide, each handed to `change`
/// with its number.
struct Rows {
    widths: [usize; 2],
    rows: Vec<OneRow>,
}

impl Rows {
    fn new(widths: [usize; 2]) -> Self {
        let mut stream = Stream::new(3, "rows");
        let mut rows = Vec::new();
        for _ in 0..2 {
            let mut draw = |n: usize| -> Vec<f32> {
                (0..n).map(|_| stream.uniform(-0.9, 0.9) as f32).collect()
            };
            let states: Vec<_> = (0..21).map(|_| draw(widths[0])).collect();
            for step in 0..20 {
                let action = draw(widths[1]);
                let (now, next) = (states[step].clone(), states[step + 1].clone());
                rows.push((now, action, next, false, step == 19));
            }
        }
        Self { widths, rows }
    }

    fn write(&self, path: &Path, metadata: &BTreeMap<String, MetaValue>) {
        let [obs, act] = self.widths;
        let mut writer = Writer::create(path, obs, act, 0, 0, metadata).unwrap();
        for (now, action, next, terminal, timeout) in &self.rows {
            let row = Row {
                obs: now,
                action,
                reward: now[0],
                terminal: *terminal,
                timeout: *timeout,
                next_obs: next,
                qpos: &[],
                qvel: &[],
            };
            writer.push(&row).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn transitions(folder: &Folder, words: &str) -> u64 {
    let told = folder
        .spar(&format!(
            "data info data.hdf5 --env pointmass --json {words}"
        ))
        .json();
    told["transitions"].as_u64().unwrap()
}

/// What of `data.hdf5` the program notes, read as `env`'s.
fn notes(folder: &Folder, env: &str) -> String {
    let told = folder
        .spar(&format!("data info data.hdf5 --env {env} --json"))
        .json();
    let notes = told["notes"].as_array().unwrap();
    notes
        .iter()
        .map(|note| note.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

const TRAIN: &str = "train --dataset data.hdf5 --method bc --updates 2 --eval-episodes 1 --out";

#[test]
fn rows_that_do_not_follow_each_other_are_cut_and_keep_their_successors() {
    let folder = Folder::new();
    let mut rows = Rows::new([2, 1]);
    rows.write(&folder.path("data.hdf5"), &BTreeMap::new());
    assert_eq!(transitions(&folder, ""), 38);
    let dropped = "the 2 rows at `timeouts` are no transitions";
    let note = notes(&folder, "pointmass");
    assert!(note.starts_with(dropped) && !note.contains('\n'), "{note}");
    let kept = rows.rows.clone();
    let mut stream = Stream::new(5, "shuffle");
    for i in (1..40).rev() {
        rows.rows.swap(i, stream.index(i + 1));
    }
    rows.write(&folder.path("data.hdf5"), &BTreeMap::new());
    // Every row but the two flagged ones.
    assert_eq!(transitions(&folder, ""), 38);
    assert_eq!(transitions(&folder, "--next recorded"), 40);
    let flags = rows.rows[..39].iter().filter(|row| row.4).count() as u64;
    assert_eq!(transitions(&folder, "--next following"), 39 - flags);
    let note = notes(&folder, "pointmass");
    let first = rows
        .rows
        .windows(2)
        .position(|pair| !pair[0].4 && pair[0].2 != pair[1].0);
    let fact = format!("the row that follows, first in row {}:", first.unwrap());
    assert!(note.contains(&fact), "{note}");
    for line in [
        "data stats data.hdf5",
        &format!("{TRAIN} run --env pointmass"),
    ] {
        let done = folder.spar(line);
        assert!(
            done.err.contains("note: next_observations of 3"),
            "{line}: {done:?}"
        );
        done.ok();
    }
    let spec = String::from_utf8(folder.read("run/spec.json")).unwrap();
    assert!(!spec.contains("reading"), "{spec}");
    folder
        .spar(&format!("{TRAIN} other --env pointmass --next following"))
        .ok();
    let spec = String::from_utf8(folder.read("other/spec.json")).unwrap();
    assert!(spec.contains(r#""next": "following""#), "{spec}");
    let other = format!("{TRAIN} run --env pointmass --next following");
    folder.spar(&other).fails(1, &["run"]);

    // Converted, every step keeps the successor it had.
    let done = folder.spar("data convert data.hdf5 there-v0");
    assert!(
        done.err.contains("note: next_observations of 3"),
        "{done:?}"
    );
    done.ok();
    let head = folder.spar("data head there-v0 -n 100 --json").ok();
    let steps: Vec<serde_json::Value> = head
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(steps.len(), 40);
    let numbers =
        |value: &serde_json::Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
    for step in steps {
        let now = numbers(&step["observation"]);
        let there = kept.iter().find(|row| row.0 == now).unwrap();
        assert_eq!(numbers(&step["next_observation"]), there.2);
    }
}

#[test]
fn saved_transitions_are_those_that_were_saved() {
    let folder = Folder::new();
    let mut rows = Rows::new([2, 1]);
    // What `qlearning_dataset` keeps of them: no cut row, and no flags of cuts.
    rows.rows.retain(|row| !row.4);
    rows.write(&folder.path("data.hdf5"), &BTreeMap::new());
    assert_eq!(transitions(&folder, ""), 38);
    assert_eq!(transitions(&folder, "--next following"), 37);
    assert!(notes(&folder, "pointmass").contains("of 1 of 38 rows"));
}

#[test]
fn data_of_another_environment_are_refused_unless_the_user_says_so() {
    let folder = Folder::new();
    let text = |text: &str| MetaValue::from(text);
    let cheetah = local_metadata("halfcheetah-medium".parse().unwrap());
    let spec = r#"{"id": "HalfCheetah-v5", "max_episode_steps": 1000}"#;
    for (key, metadata) in [
        ("spar_dataset", cheetah),
        (
            "env_spec",
            BTreeMap::from([("env_spec".to_owned(), text(spec))]),
        ),
        (
            "env_name",
            BTreeMap::from([("env_name".to_owned(), text("HalfCheetah-v2"))]),
        ),
    ] {
        Rows::new([17, 6]).write(&folder.path("data.hdf5"), &metadata);
        let facts = ["halfcheetah", "walker2d", key, "--other-env"];
        for line in [
            "data info data.hdf5 --env walker2d",
            "data convert data.hdf5 new-v0 --env walker2d",
            &format!("{TRAIN} run --env walker2d"),
        ] {
            folder.spar(line).fails(1, &facts);
        }
        let said = folder
            .spar("data info data.hdf5 --env walker2d --other-env")
            .ok();
        assert!(
            said.contains("read as walker2d's because --other-env says so"),
            "{said}"
        );
        folder.spar("data info data.hdf5 --env halfcheetah").ok();
    }
    assert!(!folder.exists("run") && !folder.exists("new-v0"));
    // Through another layout it still says so.
    folder
        .spar("data convert data.hdf5 there-v0 --env halfcheetah")
        .ok();
    let facts = ["halfcheetah", "walker2d"];
    folder
        .spar("data info there-v0 --env walker2d")
        .fails(1, &facts);
    folder.spar("data convert there-v0 back.hdf5").ok();
    folder
        .spar("data info back.hdf5 --env walker2d")
        .fails(1, &facts);

    let unknown = BTreeMap::from([("env_id".to_owned(), text("Reacher-v4"))]);
    Rows::new([17, 6]).write(&folder.path("data.hdf5"), &unknown);
    assert!(notes(&folder, "walker2d").contains("`Reacher-v4`, an environment that is not known"));
}

#[test]
fn ends_of_episodes_are_read_under_other_names() {
    let folder = Folder::new();
    let put = |name: &str| fs::copy(fixture(name), folder.path("data.hdf5")).unwrap();
    let told = |words: &str| {
        folder
            .spar(&format!("data info data.hdf5 --json {words}"))
            .json()
    };
    put("truncations.hdf5");
    let info = told("");
    assert_eq!(
        (&info["episodes"], &info["timeouts"]),
        (&2.into(), &2.into())
    );
    assert!(notes(&folder, "pointmass").contains("`truncations` is read as `timeouts`"));
    put("ends.hdf5");
    let info = told("");
    assert_eq!(
        (&info["episodes"], &info["timeouts"], &info["terminals"]),
        (&2.into(), &1.into(), &1.into())
    );
    assert!(notes(&folder, "pointmass").contains("`episode_terminals` is read as `timeouts`"));
    put("unknown.hdf5");
    let note = notes(&folder, "pointmass");
    assert!(
        note.contains("`over` looks like flags, set in 2 of 40 rows"),
        "{note}"
    );
    let done = folder.spar(&format!("{TRAIN} run --env pointmass"));
    assert!(
        done.err.contains("note: `over` looks like flags"),
        "{done:?}"
    );
    put("sound.hdf5");
    assert_eq!(notes(&folder, "pointmass"), "");
}

#[test]
fn actions_outside_the_bounds_are_counted_apart_and_said() {
    let folder = Folder::new();
    let mut rows = Rows::new([2, 1]);
    for row in &mut rows.rows[10..] {
        row.1[0] = 40.0;
    }
    rows.write(&folder.path("data.hdf5"), &BTreeMap::new());
    let stats = folder.spar("data stats data.hdf5 --json").json();
    let action = &stats["actions"][0];
    assert_eq!(action["share_outside"], 0.75);
    assert_eq!(action["share_at_bounds"], 0.0);
    assert!(notes(&folder, "pointmass").contains("actions of 30 of 40 rows lie outside"));
    let done = folder.spar(&format!("{TRAIN} run --env pointmass"));
    assert!(
        done.err.contains("first in row 10, the largest is 40"),
        "{done:?}"
    );
    // Whole numbers are choices; bounds that are declared are compared.
    for (i, row) in rows.rows.iter_mut().enumerate() {
        row.1[0] = (i % 4) as f32;
    }
    let declared = [("action_low", -2.0), ("action_high", 2.0)];
    let declared = declared.map(|(key, x)| (key.to_owned(), MetaValue::from(x)));
    rows.write(&folder.path("data.hdf5"), &BTreeMap::from(declared));
    let note = notes(&folder, "pointmass");
    assert!(note.contains("whole numbers"), "{note}");
    assert!(
        note.contains("declare that action 0 lies in [-2, 2]"),
        "{note}"
    );
}

#[test]
fn terminals_of_an_environment_without_any_are_said() {
    let folder = Folder::new();
    let mut rows = Rows::new([17, 6]);
    (rows.rows[19].3, rows.rows[19].4) = (true, false);
    rows.write(&folder.path("data.hdf5"), &BTreeMap::new());
    let note = "1 rows are flagged terminal, first row 19, but halfcheetah never terminates";
    assert!(notes(&folder, "halfcheetah").contains(note));
    for line in ["data verify data.hdf5", &format!("{TRAIN} run")] {
        let done = folder.spar(&format!("{line} --env halfcheetah"));
        assert!(done.err.contains(note), "{done:?}");
    }
    assert!(!notes(&folder, "walker2d").contains("never terminates"));
}

#[test]
fn other_packings_widths_and_groups() {
    let folder = Folder::new();
    let put = |name: &str| fs::copy(fixture(name), folder.path("data.hdf5")).unwrap();
    put("lzf.hdf5");
    let facts = ["`observations` is packed with lzf, expected gzip or none; write it again so"];
    folder.spar("data info data.hdf5").fails(1, &facts);
    let rows = |words: &str| folder.spar(&format!("data head {words} -n 50 --json")).ok();
    put("sound.hdf5");
    let sound = rows("data.hdf5");
    put("half.hdf5");
    let half = rows("data.hdf5");
    for (line, near) in sound.lines().zip(half.lines()) {
        let row = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (a, b) = (row(line), row(near));
        let (a, b) = (&a["observation"][0], &b["observation"][0]);
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-3);
    }
    put("groups.hdf5");
    let facts = [
        "`observations` is a group",
        "--observations position,velocity",
    ];
    folder.spar("data info data.hdf5").fails(1, &facts);
    assert_eq!(rows("data.hdf5 --observations position,velocity"), sound);
    let line = format!("{TRAIN} run --env pointmass --observations position,velocity");
    folder.spar(&line).ok();
    let spec = String::from_utf8(folder.read("run/spec.json")).unwrap();
    assert!(spec.contains("velocity"), "{spec}");
    folder
        .spar("data info data.hdf5 --observations position,speed")
        .fails(1, &["observations/speed", "missing"]);
}

#[test]
fn numpy_archives_are_read_or_told_from_others() {
    let folder = Folder::new();
    for name in ["plain.npz", "ogbench.npz"] {
        fs::copy(fixture(name), folder.path(name)).unwrap();
    }
    fs::copy(fixture("sound.hdf5"), folder.path("sound.hdf5")).unwrap();
    let rows = |name: &str| folder.spar(&format!("data head {name} -n 50 --json")).ok();
    assert_eq!(rows("plain.npz"), rows("sound.hdf5"));
    let told = folder.spar("data info ogbench.npz --json").json();
    assert_eq!(
        (&told["terminals"], &told["timeouts"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        told["sha256"],
        sha256_file(&fixture("ogbench.npz")).unwrap()
    );
    let line = TRAIN.replace("data.hdf5", "plain.npz");
    folder.spar(&format!("{line} run --env pointmass")).ok();
    // The end of an archive with nothing in it.
    let mut empty = b"PK\x05\x06".to_vec();
    empty.resize(22, 0);
    let other = [b"PK\x03\x04".to_vec(), vec![0; 40], empty].concat();
    fs::write(folder.path("other.zip"), other).unwrap();
    folder
        .spar("data info other.zip")
        .fails(1, &["other.zip: "]);
}

#[test]
fn an_edited_local_file_is_the_user_s_own() {
    let folder = Folder::new();
    let metadata = local_metadata("hopper-medium".parse().unwrap());
    let path = folder.path("data.hdf5");
    Rows::new([11, 3]).write(&path, &metadata);
    let card = |sha256: &str| {
        let text = format!(r#"{{"id": "hopper-medium-local", "sha256": "{sha256}"}}"#);
        fs::write(folder.path("data.json"), text).unwrap();
    };
    card(&sha256_file(&path).unwrap());
    let told = || folder.spar("data info data.hdf5 --json").json();
    assert_eq!(told()["origin"], "local");
    card(&"0".repeat(64));
    let edited = told();
    assert_eq!(
        (&edited["origin"], &edited["id"]),
        (&"user".into(), &"data".into())
    );
    assert!(
        edited["notes"][0]
            .as_str()
            .unwrap()
            .contains("edited or replaced"),
        "{edited}"
    );
}

#[cfg(unix)]
#[test]
fn files_of_any_name_are_read_and_pipes_are_told() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = Folder::new();
    let name = OsStr::from_bytes(b"n\xff\xfeame.hdf5");
    fs::copy(fixture("sound.hdf5"), folder.path("").join(name)).unwrap();
    let told = Done::of(folder.command("data info --json").arg(name)).json();
    assert_eq!(told["rows"], 40);
    let pipe = folder.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    folder
        .spar("data info pipe")
        .fails(1, &["pipe: is a pipe, expected a file"]);
    let mut command = folder.command("data info /dev/stdin");
    let mut cat = Command::new("cat")
        .arg(fixture("sound.hdf5"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let done = Done::of(command.stdin(cat.stdout.take().unwrap()));
    done.fails(1, &["is a pipe"]);
    cat.wait().unwrap();
    folder.spar("data info .").fails(1, &["is a folder"]);
}

#[test]
fn a_text_of_4_gib_takes_none() {
    let folder = Folder::new();
    fs::copy(fixture("vlen.hdf5"), folder.path("data.hdf5")).unwrap();
    let ended = mutants::watch(&mut folder.command("data info data.hdf5"));
    assert!(!ended.check("a text of 4 GiB"));
    assert!(
        ended.err.contains("metadata/note") && ended.err.contains("4294967295 bytes"),
        "{ended:?}"
    );
    assert!(ended.peak < 128 << 20, "{ended:?}");
}

#[test]
fn nothing_a_file_says_reaches_the_terminal_as_it_is() {
    let folder = Folder::new();
    let said = "red\u{1b}[31m\u{9b}2J\nnote: forged\u{202e}";
    let metadata = [("algorithm", said), ("env_id", said)];
    let metadata = metadata.map(|(key, text)| (key.to_owned(), MetaValue::from(text)));
    Rows::new([2, 1]).write(&folder.path("data.hdf5"), &BTreeMap::from(metadata));
    for words in [
        "info data.hdf5 --env pointmass",
        "info data.hdf5 --json",
        "stats data.hdf5 --env pointmass",
    ] {
        let done = folder.spar(&format!("data {words}"));
        assert_eq!(done.code, Some(0), "{done:?}");
        let shown = format!("{}{}", done.out, done.err);
        let active = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(active), "{words}: {shown:?}");
        assert!(
            !shown.lines().any(|line| line.starts_with("note: forged")),
            "{shown}"
        );
    }
}

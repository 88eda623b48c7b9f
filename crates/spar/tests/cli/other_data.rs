//! Data of other programs: the same rows in every layout, trained on and converted; what is
//! not as it should be is refused in one line.

use std::fs;

use crate::{bad_input::fixture, support::Folder};

const TRAIN: &str = "train --method bc --updates 20 --checkpoint-every 10 \
                     --eval-episodes 1 --env pointmass --out run --dataset";

/// Each file that holds the rows of `sound.hdf5`, and the options it is read with.
const FILES: [(&str, &str, &str); 4] = [
    (
        "robomimic.hdf5",
        "--observations position,velocity",
        "read as robomimic's layout, 2 demonstrations",
    ),
    ("d3rlpy.hdf5", "", "read as d3rlpy's layout, 2 episodes"),
    (
        "frame.csv",
        "",
        "observations are the columns obs_0,obs_1; actions action",
    ),
    (
        "logger.csv",
        "",
        "observations are the columns state.0,state.1; actions action[0]",
    ),
];

fn folder() -> Folder {
    let folder = Folder::new();
    for name in FILES
        .map(|(name, ..)| name)
        .into_iter()
        .chain(["sound.hdf5", "plain.npz"])
    {
        fs::copy(fixture(name), folder.path(name)).unwrap();
    }
    folder
}

#[test]
fn every_layout_gives_the_same_rows_and_says_what_it_was_read_as() {
    let folder = folder();
    let head = |file: &str| folder.spar(&format!("data head {file} -n 50 --json"));
    let sound = head("sound.hdf5").ok();
    assert_eq!(sound.lines().count(), 40);
    for (name, options, note) in FILES {
        let done = head(&format!("{name} {options}"));
        assert!(done.err.contains(note), "{name}: {done:?}");
        assert_eq!(done.ok(), sound, "{name}");
    }
    folder.spar("data info robomimic.hdf5").fails(
        1,
        &[
            "robomimic.hdf5",
            "data/demo_0/obs",
            "camera,position,velocity",
        ],
    );
    folder
        .spar("data info robomimic.hdf5 --observations position,camera")
        .fails(1, &["data/demo_0/obs/camera", "[20, 2, 2, 3]"]);
}

#[test]
fn every_layout_is_trained_on_and_converted_to_the_same_transitions() {
    let folder = folder();
    let convert = |name: &str, options: &str| {
        let out = format!("out-{name}.hdf5");
        let line = format!("data convert {name} {out} --json {options}");
        let told = folder.spar(&line).json();
        // Row for row: what nothing follows is dropped on reading, once.
        assert_eq!(
            (&told["left_out"], &told["rows"]),
            (&0.into(), &40.into()),
            "{name}"
        );
        let transitions = |file: &str| {
            let told = folder.spar(&format!("data info {file} --json")).json();
            told["transitions"].clone()
        };
        let expected = transitions(&format!("{name} {options}"));
        assert_eq!(expected, 38, "{name}");
        assert_eq!(transitions(&out), expected, "{name}");
        folder.spar(&line).fails(1, &[&out, "already there"]);
        folder.spar(&format!("data head {out} -n 50 --json")).ok()
    };
    let expected = convert("plain.npz", "");
    assert_eq!(expected.lines().count(), 40);
    for (name, options, _) in FILES {
        assert_eq!(convert(name, options), expected, "{name}");
        folder.spar(&format!("{TRAIN} {name} {options}")).ok();
        fs::remove_dir_all(folder.path("run")).unwrap();
    }
    // On from there to Minari's layout, and back.
    let transitions = |file: &str| {
        let told = folder.spar(&format!("data info {file} --json")).json();
        told["transitions"].clone()
    };
    for name in ["plain.npz", "frame.csv"] {
        folder
            .spar(&format!(
                "data convert out-{name}.hdf5 {name}-v0 --id on-v0"
            ))
            .ok();
        folder
            .spar(&format!("data convert {name}-v0 back-{name}.hdf5"))
            .ok();
        for file in [format!("{name}-v0"), format!("back-{name}.hdf5")] {
            assert_eq!(transitions(&file), 38, "{file}");
        }
    }
    folder
        .spar("data convert frame.csv there-v0 --to minari")
        .fails(1, &["frame.csv", "to D4RL's layout only"]);
}

#[test]
fn what_is_wrong_with_a_table_is_said_by_line_and_column() {
    let folder = Folder::new();
    let head = "obs_0,obs_1,action_0,reward,terminal\n";
    let row = "0.5,0.25,-1,1,0\n";
    for (text, facts) in [
        (String::new(), &["is empty"][..]),
        (head.to_owned(), &["no line after the first"]),
        (
            format!("{head}{row}1,2,3\n"),
            &["line 3", "3 columns, expected 5"],
        ),
        (
            format!("{head}{row}1,2,x,1,0\n"),
            &["line 3", "column `action_0` is `x`"],
        ),
        (
            format!("{head}{row}1,2,,1,0\n"),
            &["line 3", "column `action_0` is ``"],
        ),
        (format!("{head}{row}1,2,nan,1,0\n"), &["actions", "row 1"]),
        (format!("{head}{row}1,2,1e99,1,0\n"), &["actions", "row 1"]),
        (
            format!("{head}{row}1,2,3,1,2\n"),
            &["terminal", "row 1", "flag is 2"],
        ),
        (
            head.replace("obs_1", "obs_2") + row,
            &["columns `obs` are not numbered"],
        ),
        (
            head.replace("obs_1", "obs_0") + row,
            &["column `obs_0` is there twice"],
        ),
        (
            head.replace("terminal", "value") + row,
            &["key `terminals` is missing", "episode"],
        ),
        (
            head.replace("action_0", "a\u{1b}[31m") + row,
            &["key `actions` is missing"],
        ),
        (format!("{head}\u{0}\u{1}\u{ff}"), &["line 2"]),
    ] {
        fs::write(folder.path("table.csv"), &text).unwrap();
        let done = folder.spar("data info table.csv");
        assert!(!done.err.contains('\u{1b}'), "{done:?}");
        done.fails(1, &[&["table.csv"], facts].concat());
    }
    // A name in the last column is not looked at unless it is asked for.
    fs::write(
        folder.path("table.csv"),
        format!("{head}{row}{row}")
            .replace("reward", "reward,who")
            .replace(",1,0", ",1,me,0"),
    )
    .unwrap();
    folder.spar("data info table.csv").ok();
    folder
        .spar("data info table.csv --observations who,obs_0")
        .fails(1, &["observations", "row 0"]);
    folder
        .spar("data info table.csv --observations speed")
        .fails(1, &["key `speed` is missing"]);
    // The name alone makes no table.
    fs::copy(fixture("sound.hdf5"), folder.path("hdf5.csv")).unwrap();
    folder.spar("data info hdf5.csv").ok();
}

/// A column of terminals may be missing where something else says where episodes end.
#[test]
fn a_table_without_terminals_is_read_where_its_episodes_are_told() {
    let folder = Folder::new();
    let write = |column: &str| {
        let mut text = "obs_0,action_0,reward".to_owned();
        text += if column.is_empty() { "" } else { "," };
        text += column;
        text += "\n";
        for row in 0..40 {
            text += &format!("{},{},1", f64::from(row) / 50.0, f64::from(row % 5) / 5.0);
            text += &match column {
                "" => String::new(),
                "episode" => format!(",{}", row / 20),
                _ => format!(",{}", u8::from(row % 20 == 19)),
            };
            text += "\n";
        }
        fs::write(folder.path("log.csv"), text).unwrap();
    };
    for column in ["timeout", "truncated", "is_last", "episode"] {
        write(column);
        let done = folder.spar("data info log.csv --json");
        let told = done.json();
        assert_eq!(
            [&told["terminals"], &told["episodes"], &told["transitions"]],
            [0, 2, 38],
            "{column}"
        );
        let note = format!("none is taken for terminated, and `{column}` says where they are cut");
        assert!(told["notes"].to_string().contains(&note), "{told}");
    }
    // Beside such a column, terminals are read as before, and nothing is said.
    let text = String::from_utf8(folder.read("log.csv")).unwrap();
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let mut beside = format!("{head},terminal\n");
    for (row, line) in lines.enumerate() {
        beside += &format!("{line},{}\n", u8::from(row == 39));
    }
    fs::write(folder.path("log.csv"), beside).unwrap();
    let told = folder.spar("data info log.csv --json").json();
    assert_eq!(told["terminals"], 1);
    assert!(
        !told["notes"].to_string().contains("none is taken"),
        "{told}"
    );

    // With nothing that says so there is one way more, which the refusal names.
    write("");
    let facts = [
        "key `terminals` is missing",
        "timeout",
        "episode",
        "--horizon N",
    ];
    folder.spar("data info log.csv").fails(1, &facts);
    let train = "train --dataset log.csv --method iql --updates 20 --out run";
    folder.spar(train).fails(1, &facts);
    assert!(!folder.exists("run"));
    let done = folder.spar(&format!("{train} --horizon 20"));
    assert!(
        done.err.contains("--horizon says where they are cut"),
        "{done:?}"
    );
    done.ok();
    let held = String::from_utf8(folder.read("run/held_out.csv")).unwrap();
    assert_eq!(held.lines().count(), 2, "one of two episodes: {held}");
    // Nothing of it is in the record but the horizon, and the run is the same again.
    let spec = String::from_utf8(folder.read("run/spec.json")).unwrap();
    assert!(
        spec.contains("\"horizon\": 20") && !spec.contains("reading"),
        "{spec}"
    );
    folder.spar(&format!("{train} --horizon 20")).ok();
    let ope = "ope --policy run/policy.safetensors --dataset log.csv --updates 5";
    folder.spar(ope).fails(1, &facts);
    folder.spar(&format!("{ope} --horizon 20")).ok();
}

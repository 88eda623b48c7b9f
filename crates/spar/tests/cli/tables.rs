//! Parquet files and LeRobot's folders of them, as pyarrow writes them: the same rows as the
//! HDF5 file of the same steps, trained on and converted; what is not as it should be is
//! refused in one line.
//!
//! `SPAR_DOORS_PYTHON` names a Python that has `pyarrow`; `cargo xtask test` provides one,
//! and without it these are skipped in words.

use std::{fs, process::Command};

use crate::{
    bad_input::fixture,
    support::{Done, Folder},
};

/// A folder with what `parquet_files.py` writes, and the rows it writes as HDF5.
fn written() -> Option<Folder> {
    let Some(python) = std::env::var_os("SPAR_DOORS_PYTHON") else {
        eprintln!("skipped: SPAR_DOORS_PYTHON names no Python with pyarrow; use cargo xtask test");
        return None;
    };
    let folder = Folder::new();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/scripts/parquet_files.py"
    );
    let done = Done::of(Command::new(python).arg(script).arg(folder.path("")));
    done.ok();
    for name in ["sound.hdf5", "plain.npz"] {
        fs::copy(fixture(name), folder.path(name)).unwrap();
    }
    Some(folder)
}

/// What holds the rows of `sound.hdf5`, the options it is read with, and what is said of it.
const FILES: [(&str, &str, &str); 5] = [
    (
        "lerobot-v2",
        "",
        "read as LeRobot's layout v2.1, 2 episodes in 2 files",
    ),
    (
        "lerobot-v3",
        "",
        "observations are the columns observation.state (2 numbers); actions action",
    ),
    (
        "lerobot-v2/data/chunk-000/../..",
        "",
        "images are not read: observation.images.top",
    ),
    (
        "plain.parquet",
        "",
        "observations are the columns obs_0,obs_1; actions action",
    ),
    (
        "named.parquet",
        "--reward gain",
        "`episode_ends` is read as `timeouts`",
    ),
];

#[test]
fn every_table_gives_the_rows_of_the_hdf5_file() {
    let Some(folder) = written() else { return };
    let head = |file: &str| folder.spar(&format!("data head {file} -n 50 --json"));
    let sound = head("sound.hdf5").ok();
    assert_eq!(sound.lines().count(), 40);
    for (name, options, note) in FILES {
        let done = head(&format!("{name} {options}"));
        assert!(done.err.contains(note), "{name}: {done:?}");
        assert_eq!(done.ok(), sound, "{name}");
    }
    // Columns joined by their names; every episode's last row is `next.done`.
    let apart = "apart.parquet --observations observation.position,observation.velocity";
    let done = head(apart);
    assert!(
        done.err
            .contains("`next.done` is set in the last row of every episode"),
        "{done:?}"
    );
    let rows = done.ok();
    assert_eq!(rows.matches("\"terminal\":true").count(), 2, "{rows}");
    folder
        .spar("data info apart.parquet")
        .fails(1, &["key `observations` is missing", "--observations"]);
}

#[test]
fn tables_are_trained_on_and_converted_to_the_same_transitions() {
    let Some(folder) = written() else { return };
    let convert = |name: &str, options: &str| {
        let out = format!("{}.out.hdf5", name.replace('/', "-"));
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
    for (name, options, _) in FILES {
        assert_eq!(convert(name, options), expected, "{name}");
    }
    for (name, more) in [
        (
            "lerobot-v2",
            "--method bc --env pointmass --eval-episodes 1",
        ),
        ("lerobot-v3", "--method iql"),
    ] {
        let line = format!("train --updates 20 --out runs/{name} --dataset {name} {more}");
        folder.spar(&line).ok();
    }
    folder
        .spar("data convert lerobot-v2 there-v0 --to minari")
        .fails(1, &["lerobot-v2", "to D4RL's layout only"]);
}

#[test]
fn a_folder_s_hash_is_that_of_all_its_files() {
    let Some(folder) = written() else { return };
    let hash = || folder.spar("data info lerobot-v2 --json").json()["sha256"].clone();
    let whole = hash();
    let sums = "cd lerobot-v2 && sha256sum meta/info.json data/*/*.parquet | sha256sum";
    let sums = Done::of(
        Command::new("sh")
            .args(["-c", sums])
            .current_dir(folder.path("")),
    );
    assert_eq!(whole.as_str(), sums.ok().split_whitespace().next());
    let place = folder.path("lerobot-v2/data/chunk-000");
    let (first, second) = ("episode_000000.parquet", "episode_000001.parquet");
    fs::rename(place.join(first), place.join("episode_000002.parquet")).unwrap();
    assert_ne!(hash(), whole, "the episodes are in another order");
    fs::copy(place.join(second), place.join("episode_000002.parquet")).unwrap();
    let facts = ["meta/info.json", "`total_episodes` is 2", "hold 1"];
    folder.spar("data info lerobot-v2 --json").fails(1, &facts);
}

#[test]
fn without_rewards_a_clone_is_trained_and_nothing_else() {
    let Some(folder) = written() else { return };
    let info = folder.spar("data info lerobot-bare");
    let note = "no column holds rewards: a behaviour clone (bc, bc-diffusion, bc-flow)";
    assert!(
        info.err.contains(note) || info.out.contains(note),
        "{info:?}"
    );
    let told = folder.spar("data info lerobot-bare --json").json();
    assert!(told["returns"].is_null(), "{told}");
    let train = |method: &str, data: &str| {
        let line =
            format!("train --updates 20 --out runs/{method} --method {method} --dataset {data}");
        folder.spar(&line)
    };
    for method in ["bc", "bc-flow"] {
        train(method, "lerobot-bare").ok();
    }
    for method in ["spar", "iql", "bc10"] {
        let done = train(method, "lerobot-bare");
        assert_eq!(done.code, Some(1), "{done:?}");
        let why = format!("{method} learns from rewards, and the data have none");
        assert!(
            done.err.contains(&why) && done.err.contains("--reward"),
            "{done:?}"
        );
        assert!(!folder.exists(&format!("runs/{method}")), "{method}");
    }
    let value =
        folder.spar("ope --policy runs/bc/policy.safetensors --dataset lerobot-bare --updates 5");
    assert!(value.err.contains("the data have no rewards"), "{value:?}");
    folder
        .spar("data convert lerobot-bare out.hdf5")
        .fails(1, &["lerobot-bare", "has no rewards", "--reward"]);
    assert!(!folder.exists("out.hdf5"));
    train("iql", "named.parquet --reward gain").ok();
    let spec = String::from_utf8(folder.read("runs/iql/spec.json")).unwrap();
    assert!(spec.contains("\"reward\": \"gain\""), "{spec}");
    for (line, facts) in [
        (
            "named.parquet --reward loss",
            ["key `loss` is missing", "columns"],
        ),
        (
            "named.parquet --reward episode",
            ["key `episode` holds text", "expected numbers"],
        ),
        (
            "sound.hdf5 --reward gain",
            ["--reward names a column of a table", "leave --reward out"],
        ),
        (
            "plain.npz --reward gain",
            ["--reward names a column of a table", "leave --reward out"],
        ),
    ] {
        folder.spar(&format!("data info {line}")).fails(1, &facts);
    }
}

#[test]
fn what_is_wrong_with_a_parquet_table_is_said_in_one_line() {
    let Some(folder) = written() else { return };
    for (name, facts) in [
        (
            "short.parquet",
            &["observation.state: ", "has 1 numbers, expected 2"][..],
        ),
        (
            "empty.parquet",
            &["observation.state", "a number is missing"],
        ),
        (
            "nested.parquet",
            &["`action` holds groups of columns, or lists of lists"],
        ),
        ("text.parquet", &["`action` holds text", "expected numbers"]),
        (
            "time.parquet",
            &["`action` holds values of type", "Timestamp"],
        ),
        ("missing.parquet", &["`rewards`, row 39: value is NaN"]),
        ("nan.parquet", &["`rewards`, row 17: value is NaN"]),
        ("large.parquet", &["`actions`, row 0: value is inf"]),
        (
            "uncounted.parquet",
            &["episode_index", "row 39 has no value"],
        ),
        (
            "wide-reward.parquet",
            &["`rewards` has shape [40, 2], expected 1 column"],
        ),
        ("flag.parquet", &["`next.done`, row 0: flag is 2"]),
        ("no-rows.parquet", &["no-rows.parquet", "it has no rows"]),
        (
            "gzip.parquet",
            &["packed with gzip", "expected snappy, zstd or none"],
        ),
        (
            "bomb.parquet",
            &["bytes are declared", "made to exhaust memory"],
        ),
        (
            "wide.parquet",
            &["bytes are declared", "made to exhaust memory"],
        ),
        (
            "lost",
            &[
                "meta/info.json",
                "`total_frames` is 40",
                "files are missing",
            ],
        ),
        (
            "widths",
            &[
                "episode_000001.parquet",
                "action: ",
                "has 2 numbers, expected 1",
            ],
        ),
        (
            "columns",
            &["episode_000001.parquet", "key `next.reward` is missing"],
        ),
        (
            "no-info",
            &[
                "meta/info.json",
                "not a valid description of a LeRobot data set",
            ],
        ),
        (
            "pointer",
            &[
                "episode_000001.parquet",
                "a Git LFS pointer",
                "git lfs pull",
            ],
        ),
        ("no-files", &["no-files/data", "No such file"]),
    ] {
        let done = folder.spar(&format!("data info broken/{name}"));
        done.fails(1, &[&[name], facts].concat());
    }
    let gap = folder.spar("data info broken/gap.parquet --json");
    let note = "`frame_index` does not count on in 1 rows within an episode, first in row 5";
    assert!(gap.err.contains(note) || gap.out.contains(note), "{gap:?}");
    assert_eq!(gap.json()["episodes"], 3);
    // Cut anywhere, a file has no footer.
    let whole = fs::read(folder.path("plain.parquet")).unwrap();
    fs::write(folder.path("cut.parquet"), &whole[..whole.len() - 9]).unwrap();
    folder
        .spar("data info cut.parquet")
        .fails(1, &["cut.parquet", "footer"]);
}

//! Episodes as films.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{Done, Folder, prepared, suite_run, write_tensors};

fn trained() -> Folder {
    let folder = prepared();
    folder.spar(&suite_run("short", "bc", "run", "")).ok();
    folder
}

#[test]
fn a_film_is_of_the_very_episode_that_an_evaluation_plays() {
    let folder = trained();
    let evaluated = folder
        .spar("eval --policy run --episodes 3 --seed 42 --json")
        .json();
    for (out, magic) in [("a.svg", "<svg "), ("a.GIF", "GIF89a")] {
        let line = format!("render --policy run --episode 2 --steps 30 --out {out} --json");
        let written = folder.spar(&line).json();
        let played = &written["episodes"][0];
        assert_eq!(played["return"], evaluated["returns"][2]);
        assert_eq!(
            (&written["env"], &played["shown"]),
            (&"pointmass".into(), &30.into())
        );
        let bytes = folder.read(out);
        assert!(bytes.starts_with(magic.as_bytes()), "{out}");
        assert_eq!(written["bytes"], bytes.len());
        // The state an episode starts in, and one after each step.
        assert_eq!(written["frames"], 31);
        folder.spar(&line).fails(1, &[out, "is there already"]);
        folder.spar(&line.replace(out, "again.svg")).ok();
        fs::remove_file(folder.path("again.svg")).unwrap();
    }
    let svg = String::from_utf8(folder.read("a.svg")).unwrap();
    let title = format!(
        "episode 2, return {:.2}",
        evaluated["returns"][2].as_f64().unwrap()
    );
    assert!(svg.contains(&title), "{svg}");
    let several = "render --policy run --episodes 2 --steps 5 --out both.svg --json";
    let written = folder.spar(several).json();
    assert_eq!(
        (&written["frames"], &written["episodes"][1]["episode"]),
        (&12.into(), &1.into())
    );
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_left() {
    let folder = trained();
    let before = folder.files("");
    for (line, code, fact) in [
        (
            "render --policy run --out clip.png",
            2,
            "expected a name that ends with .svg, .gif or .mp4",
        ),
        ("render --policy run --out clip", 2, ".svg"),
        ("render --policy run", 2, "--out"),
        ("render", 2, "RUN"),
        (
            "render . --policy run --out a.svg",
            2,
            "cannot be used with",
        ),
        ("render . ", 1, "holds no finished run"),
        (
            "render --policy run --env hopper --out a.svg",
            1,
            "was trained for pointmass",
        ),
        (
            "render --policy run --fps 0 --out a.svg",
            2,
            "0 is not in 1..=",
        ),
        ("render --policy gone --out a.svg", 1, "gone"),
        (
            "render --policy run --out nowhere/deep/a.gif --width 99999",
            2,
            "99999",
        ),
    ] {
        folder.spar(line).fails(code, &[fact]);
    }
    assert_eq!(folder.files(""), before);
}

/// A program called ffmpeg that does what `script` says.
fn ffmpeg(folder: &Folder, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let bin = folder.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let file = bin.join("ffmpeg");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_path(folder: &Folder, path: &Path, line: &str) -> Done {
    let mut command: Command = folder.command(line);
    let system = std::env::var_os("PATH").unwrap_or_default();
    let path = match path.ends_with("bin") {
        true => std::env::join_paths(
            [path.to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&system)),
        ),
        false => std::env::join_paths([path]),
    };
    Done::of(command.env("PATH", path.unwrap()))
}

#[test]
fn ffmpeg_gets_every_frame_and_its_absence_and_failure_are_said() {
    let folder = trained();
    let line = "render --policy run --steps 4 --width 100 --out clip.mp4";
    let empty = folder.path("empty");
    fs::create_dir(&empty).unwrap();
    let facts = ["an MP4 is made by ffmpeg, and there is none on PATH"];
    with_path(&folder, &empty, line).fails(1, &facts);
    // Writes down how it was called, and how many bytes came.
    ffmpeg(
        &folder,
        "for last; do :; done\necho \"$*\" > called\nwc -c > \"$last\"",
    );
    let bin = folder.path("bin");
    let written = with_path(&folder, &bin, &format!("{line} --json")).json();
    let size = (
        written["width"].as_u64().unwrap(),
        written["height"].as_u64().unwrap(),
    );
    let called = String::from_utf8(folder.read("called")).unwrap();
    assert!(
        called.contains(&format!("-s {}x{} -r 10.000000 -i pipe:0", size.0, size.1)),
        "{called}"
    );
    let bytes: u64 = String::from_utf8(folder.read("clip.mp4"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(bytes, 5 * 3 * size.0 * size.1);
    fs::remove_file(folder.path("clip.mp4")).unwrap();
    ffmpeg(
        &folder,
        "echo half > .clip.mp4.part\necho 'no such encoder' >&2\nexit 3",
    );
    with_path(&folder, &bin, line).fails(1, &["ffmpeg made no film: no such encoder"]);
    assert!(!folder.exists("clip.mp4") && !folder.exists(".clip.mp4.part"));
}

/// A network for adroit's pen that leaves the hand as it is.
fn write_hand(folder: &Folder) {
    let (obs, act) = (45, 24);
    let tensors = [
        (
            "layers.0.weight".to_owned(),
            vec![act, obs],
            vec![0.0; act * obs],
        ),
        ("layers.0.bias".to_owned(), vec![act], vec![0.0; act]),
    ];
    let meta = [("activation", "relu"), ("output", "tanh")];
    write_tensors(&folder.path("hand.safetensors"), &tensors, &meta);
}

/// Pictures are MuJoCo's where it can draw, and ours where it cannot, which is said; an SVG is
/// always ours.
#[test]
fn a_hand_is_drawn_by_mujoco_s_renderer_or_a_line_says_why_not() {
    let folder = Folder::new();
    write_hand(&folder);
    let line = "render --policy hand.safetensors --env pen --steps 4 --width 120 --json --out";
    let done = |gl: &str, out: &str| {
        let mut command = folder.command(&format!("{line} {out}"));
        let output = command.env("MUJOCO_GL", gl).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let written: Value = serde_json::from_slice(&output.stdout).unwrap();
        (written, said)
    };
    let (svg, said) = done("", "hand.svg");
    assert_eq!((&svg["renderer"], said.as_str()), (&"spar".into(), ""));
    let (ours, said) = done("off", "ours.gif");
    assert_eq!(ours["renderer"], "spar");
    let facts = ["note: MuJoCo's renderer does not draw here: MUJOCO_GL is `off`"];
    assert!(facts.iter().all(|fact| said.contains(fact)), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let (theirs, said) = done("", "theirs.gif");
    if theirs["renderer"] == "spar" {
        eprintln!("SKIPPED: a GIF of MuJoCo's pictures: {said}");
        return;
    }
    assert_eq!(said, "");
    assert_eq!(theirs["episodes"], ours["episodes"], "the same episode");
    assert_eq!(theirs["frames"], 2);
    assert_eq!([&theirs["width"], &theirs["height"]], [120, 90]);
    let gif = folder.read("theirs.gif");
    assert!(
        gif.starts_with(b"GIF89a") && gif.len() > 3000,
        "{}",
        gif.len()
    );
    ffmpeg(&folder, "for last; do :; done\nwc -c > \"$last\"");
    let bin = folder.path("bin");
    with_path(&folder, &bin, &format!("{line} theirs.mp4")).json();
    let bytes = String::from_utf8(folder.read("theirs.mp4")).unwrap();
    assert_eq!(bytes.trim(), (2 * 3 * 120 * 90).to_string());
}

#[test]
fn a_run_s_best_and_worst_episode_are_films_in_its_folder() {
    let folder = trained();
    folder.spar("render run").ok();
    let record: Value = serde_json::from_slice(&folder.read("run/clips/clips.json")).unwrap();
    let done: Value = serde_json::from_slice(&folder.read("run/DONE")).unwrap();
    let returns: Vec<f64> = done["returns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r.as_f64().unwrap())
        .collect();
    let greatest = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = returns.iter().copied().fold(f64::INFINITY, f64::min);
    for (place, name, expected) in [(0, "best", greatest), (1, "worst", least)] {
        let clip = &record["clips"][place];
        assert_eq!(
            (&clip["name"], clip["return"].as_f64()),
            (&name.into(), Some(expected))
        );
        let film = folder.read(&format!("run/clips/{name}.svg"));
        assert_eq!(clip["sha256"], spar_core::sha256_hex(&film));
    }
    let bytes = folder.read("run/clips/clips.json");
    folder.spar("render run").ok();
    assert_eq!(
        folder.read("run/clips/clips.json"),
        bytes,
        "the same bytes twice"
    );
    // The run is still the one that it was.
    folder.spar(&suite_run("short", "bc", "run", "")).ok();

    // Another evaluation than the one that is played here.
    let text = String::from_utf8(folder.read("run/DONE")).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["returns"][0] = 1.5.into();
    other.as_object_mut().unwrap().remove("integrity");
    fs::write(folder.path("run/DONE"), other.to_string()).unwrap();
    let facts = [
        "gives",
        "in the run's record",
        "another simulator, machine or version",
    ];
    folder.spar("render run").fails(1, &facts);
}

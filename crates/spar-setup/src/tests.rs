#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::{parts::PinnedFile, *};

/// SHA-256 of `abc`, from FIPS 180.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const FILE: Part = Part {
    name: "the fake library",
    wheel: Wheel {
        requirement: "fake==1.0",
        platform: "any",
        sha256: "wheel-hash",
    },
    content: Content::Files(&[PinnedFile {
        member: "fake/lib.so",
        place: "fake-1.0/lib.so",
        sha256: ABC,
    }]),
    instead: ", or do without",
};

const FOLDER: Part = Part {
    content: Content::Folder {
        member: "fake",
        place: "tool-1.0",
        program: "bin/tool",
        // `sha256sum bin/tool lib.so | sha256sum`, of the files below.
        sha256: "45b3f664885f56942ec62a825251728b4673a1facb4d6038429ab5aa374813e4",
    },
    ..FILE
};

/// A workspace whose python fetches a wheel with `fake/lib.so` = `content`.
fn workspace(content: Option<&str>) -> (TempDir, Setup) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-python.sh");
    symlink(script, root.join("python3")).unwrap();
    if let Some(content) = content {
        let package = root.join("wheel/fake");
        fs::create_dir_all(package.join("bin")).unwrap();
        fs::write(package.join("lib.so"), content).unwrap();
        fs::write(package.join("bin/tool"), "#!/bin/sh\n").unwrap();
        let mut zip = Command::new("python3");
        zip.current_dir(root.join("wheel"));
        zip.args(["-m", "zipfile", "-c", "../fake.whl", "fake"]);
        assert!(zip.status().unwrap().success());
    }
    let setup = Setup {
        native: root.join("native"),
        python: root.join("python3"),
        mujoco_lib: None,
        pinned_platform: true,
        listener: |_| {},
    };
    (dir, setup)
}

fn calls(dir: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(dir.path().join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_part_is_fetched_by_hash_once() {
    let (dir, setup) = workspace(Some("abc"));
    setup.provide(&FILE).unwrap();
    let file = setup.native.join("fake-1.0/lib.so");
    assert_eq!(fs::read(file).unwrap(), b"abc");
    assert_eq!(entries(&setup.native), [".lock", "fake-1.0"]);
    setup.provide(&FILE).unwrap();
    let calls = calls(&dir);
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].contains("--require-hashes"), "{calls:?}");
}

#[test]
fn a_folder_is_placed_whole_with_a_program_that_runs() {
    let (_dir, setup) = workspace(Some("abc"));
    // What an unpacking by hand that broke off leaves.
    fs::create_dir_all(setup.native.join("tool-1.0/share")).unwrap();
    setup.provide(&FOLDER).unwrap();
    let place = setup.native.join("tool-1.0");
    assert_eq!(entries(&place), ["bin", "lib.so"]);
    let mode = fs::metadata(place.join("bin/tool"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111);
}

/// A program that was exchanged, a file that was added or lost: none is used again.
#[test]
fn a_folder_that_was_changed_is_fetched_again() {
    let (dir, setup) = workspace(Some("abc"));
    setup.provide(&FOLDER).unwrap();
    let place = setup.native.join("tool-1.0");
    let tool = place.join("bin/tool");
    let changes: [&dyn Fn(); 3] = [
        &|| fs::write(&tool, "#!/bin/sh\nevil\n").unwrap(),
        &|| fs::write(place.join("bin/more"), "").unwrap(),
        &|| fs::remove_file(place.join("lib.so")).unwrap(),
    ];
    for (i, change) in changes.iter().enumerate() {
        change();
        setup.provide(&FOLDER).unwrap();
        assert_eq!(calls(&dir).len(), i + 2);
        assert_eq!(fs::read_to_string(&tool).unwrap(), "#!/bin/sh\n");
        assert_eq!(entries(&place.join("bin")), ["tool"]);
    }
    setup.provide(&FOLDER).unwrap();
    assert_eq!(calls(&dir).len(), 4, "an unchanged folder is fetched again");
}

#[test]
fn a_wheel_whose_folder_is_another_is_refused_and_leaves_nothing() {
    let (_dir, setup) = workspace(Some("tampered"));
    let error = setup.provide(&FOLDER).unwrap_err().to_string();
    assert!(error.contains("in the wheel hashes to"), "{error}");
    assert_eq!(entries(&setup.native), [".lock"]);
}

/// What set-up puts in place is what the program will take.
#[test]
fn the_program_expects_the_files_that_set_up_pins() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spar-env/src");
    let files = [
        "mujoco/places.rs",
        "locomotion.rs",
        "ant.rs",
        "adroit/model.rs",
        "kitchen/model.rs",
    ];
    let text: String = files
        .map(|file| fs::read_to_string(sources.join(file)).unwrap())
        .concat();
    for part in [&MUJOCO, &MODELS, &ADROIT, &KITCHEN] {
        let Content::Files(files) = &part.content else {
            unreachable!("all are files");
        };
        for file in *files {
            assert!(text.contains(file.sha256), "{}", file.place);
        }
    }
}

#[test]
fn a_wheel_with_other_content_is_refused_and_leaves_nothing() {
    let (_dir, setup) = workspace(Some("tampered"));
    let error = setup.provide(&FILE).unwrap_err().to_string();
    assert!(
        error.contains(ABC) && error.contains("fake/lib.so in the wheel"),
        "{error}"
    );
    assert_eq!(entries(&setup.native), [".lock"]);
}

#[test]
fn a_wrong_file_in_place_is_replaced() {
    let (_dir, setup) = workspace(Some("abc"));
    let file = setup.native.join("fake-1.0/lib.so");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "truncated").unwrap();
    setup.provide(&FILE).unwrap();
    assert_eq!(fs::read(file).unwrap(), b"abc");
}

#[test]
fn without_network_one_line_says_what_to_put_where() {
    let (_dir, setup) = workspace(None);
    let error = format!("{:#}", setup.provide(&FILE).unwrap_err());
    assert_eq!(error.lines().count(), 1, "{error}");
    let place = setup.native.join("fake-1.0/lib.so");
    for part in [
        "the fake library",
        "ERROR: No matching distribution found",
        "fake==1.0",
        ABC,
        place.to_str().unwrap(),
        "or do without",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn without_python_the_line_says_so() {
    let (_dir, mut setup) = workspace(None);
    setup.python = "no-such-python".into();
    let error = format!("{:#}", setup.provide(&FILE).unwrap_err());
    assert!(error.contains("cannot run python3 with pip"), "{error}");
}

#[test]
fn two_at_once_fetch_once() {
    let (dir, setup) = workspace(Some("abc"));
    thread_scope(|| setup.provide(&FILE).unwrap());
    assert_eq!(calls(&dir).len(), 1);
}

fn thread_scope(each: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(&each);
        }
    });
}

#[test]
fn what_a_killed_set_up_left_is_removed() {
    let (_dir, setup) = workspace(Some("abc"));
    fs::create_dir_all(setup.native.join(".partial-x/wheels")).unwrap();
    setup.provide(&FILE).unwrap();
    assert_eq!(entries(&setup.native), [".lock", "fake-1.0"]);
}

#[test]
fn another_platform_is_told_what_it_can_do() {
    let (_dir, mut setup) = workspace(None);
    setup.pinned_platform = false;
    let error = setup.physics().unwrap_err().to_string();
    assert!(error.contains("linux x86_64 only"), "{error}");
    assert!(error.contains(": set SPAR_MUJOCO_LIB to it"), "{error}");
}

#[test]
fn a_library_of_the_users_own_is_not_fetched() {
    let (dir, mut setup) = workspace(None);
    let library = dir.path().join("libmujoco.so");
    setup.mujoco_lib = Some(library.clone());
    let error = setup.physics().unwrap_err().to_string();
    assert!(error.contains("SPAR_MUJOCO_LIB names"), "{error}");
    fs::write(library, "").unwrap();
    // Next in order, and not to be had offline either.
    let error = setup.physics().unwrap_err().to_string();
    assert!(error.contains("the environments' models"), "{error}");
}

/// Python may have the wheel already, of the right version or another.
#[test]
fn a_wheel_that_python_has_is_taken_from_there_if_it_is_the_pinned_one() {
    let (dir, setup) = workspace(None);
    let package = dir.path().join("site/fake");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("lib.so"), "abc").unwrap();
    setup.provide(&FILE).unwrap();
    assert_eq!(calls(&dir), [""; 0]);
    let file = setup.native.join("fake-1.0/lib.so");
    assert_eq!(fs::read(&file).unwrap(), b"abc");
    assert_eq!(entries(&setup.native), [".lock", "fake-1.0"]);

    fs::remove_file(file).unwrap();
    fs::write(package.join("lib.so"), "another version").unwrap();
    let error = setup.provide(&FILE).unwrap_err().to_string();
    assert!(error.contains("No matching distribution"), "{error}");
    assert_eq!(calls(&dir).len(), 1);
}

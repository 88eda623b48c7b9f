//! What is in the folder: files a user has, pins, other processes, and what
//! a file is called.

use std::{
    io::{BufRead, BufReader},
    sync::{Mutex, mpsc::channel},
};

use serde_json::Value;

use super::*;

#[test]
fn a_file_is_fetched_once_and_called_what_it_is() {
    let place = Place::new();
    let data = place.data.clone();
    let server = Server::new(move |asked| Reply::file(asked, &data));
    let first = place.fetch_from(&server);
    // The manifest at hand is no proof that D4RL made it.
    assert!(first.err.contains("not the official file's"), "{first:?}");
    let told: Value = serde_json::from_str(&first.out).unwrap();
    let expected = serde_json::json!([{
        "id": "hopper-medium-v2", "file": FILE, "sha256": sha256_hex(&place.data),
        "bytes": place.data.len(), "proof": "listed", "downloaded": true,
    }]);
    assert_eq!(told, expected);
    let info = place
        .folder
        .spar(&format!("data info {FILE} --json"))
        .json();
    assert_eq!(info["origin"], "user");

    let again = place.fetch().json();
    assert_eq!(again[0]["downloaded"], false);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn of_two_processes_one_downloads_and_the_other_finds_the_file() {
    let place = Place::new();
    let data = place.data.clone();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let server = Server::new(move |asked| {
        released.lock().unwrap().recv().unwrap();
        Reply::file(asked, &data)
    });
    place.list(&[server.url(NAME)], true);
    let first = place.spawn();
    wait(|| server.asked().len() == 1);
    let mut second = place.spawn();
    // Kept open, for what it says later.
    let mut heard = BufReader::new(second.stderr.take().unwrap()).lines();
    let waits = heard.find_map(|line| line.ok().filter(|line| line.contains("waiting")));
    assert!(waits.unwrap().contains("another process"));
    release.send(()).unwrap();
    for (child, downloaded) in [(first, true), (second, false)] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told[0]["downloaded"], downloaded);
    }
    assert_eq!(server.asked().len(), 1);
    assert_eq!(place.folder.files("cache"), [FILE]);
}

#[test]
fn a_file_nobody_has_hashed_is_pinned_on_first_use() {
    let place = Place::new();
    let (mut data, mut other) = (place.data.clone(), place.data.clone());
    let last = other.len() - 1;
    other[last] ^= 1;
    data.shrink_to_fit();
    let server = Server::new(move |asked| {
        match asked.path.as_str() {
        "other" => Reply::file(asked, &other),
        "page" => Reply::whole(b"something else, and long enough to be looked at: ............................................................................."),
        _ => Reply::file(asked, &data),
    }
    });
    let [page, good, other] = ["page", "good", "other"].map(|path| server.url(path));
    place.list(&[page, good.clone()], false);
    let first = place.fetch();
    assert!(
        first.err.contains("not an HDF5 file") && first.err.contains("trusted on first use"),
        "{first:?}"
    );
    let sha256 = sha256_hex(&place.data);
    assert!(first.err.contains(&sha256) && first.err.contains("not proven official"));
    assert_eq!(first.json()[0]["proof"], "pinned");
    let pins = "cache/spar-pins.toml";
    assert!(
        String::from_utf8(place.folder.read(pins))
            .unwrap()
            .contains(&sha256)
    );
    let info = place
        .folder
        .spar(&format!("data info {FILE} --json"))
        .json();
    assert_eq!(info["origin"], "user");
    let again = place.fetch();
    assert!(
        again
            .err
            .contains("is the one pinned in cache/spar-pins.toml"),
        "{again:?}"
    );

    // Another file in its place, of the same length.
    let mut changed = place.data.clone();
    changed[2000] ^= 1;
    fs::write(place.folder.path(FILE), &changed).unwrap();
    let facts = [
        FILE,
        "is not hopper-medium-v2",
        &sha256,
        "as pinned on first use in",
        "move it away",
    ];
    refused(place.fetch(), &facts);
    assert_eq!(place.folder.read(FILE), changed);
    let list = Done::of(&mut place.command("--list --dir cache")).ok();
    assert!(list.contains("another file: its sha256 is"), "{list}");

    // Another file at the mirror.
    fs::remove_file(place.folder.path(FILE)).unwrap();
    place.list(std::slice::from_ref(&other), false);
    refused(
        place.fetch(),
        &[&other, &sha256, "as pinned on first use in"],
    );
    assert!(!place.folder.exists(FILE));
    place.list(&[other, good], false);
    assert_eq!(place.fetch().json()[0]["sha256"], sha256);
}

#[test]
fn a_file_the_user_has_is_used_or_left_alone() {
    let place = Place::new();
    let server = Server::new(|_| Reply::page("404 Not Found", &[]));
    place.list(&[server.url(NAME)], true);
    let fetch = |words: &str| {
        let mut command = place.command(words);
        command.env("HOME", place.folder.path("home"));
        command.env("D4RL_DATASET_DIR", place.folder.path("cache"));
        Done::of(&mut command)
    };
    for folder in ["home/.d4rl/datasets", "cache"] {
        fs::create_dir_all(place.folder.path(folder)).unwrap();
        let path = place.folder.path(folder).join(NAME);
        fs::write(&path, &place.data).unwrap();
        let told = fetch("hopper-medium-v2 --json").json();
        assert_eq!(told[0]["file"], path.to_str().unwrap());
        let listed = fetch("--list --json").json();
        assert_eq!(listed[0]["state"], "sha256 as listed, not official");
        assert_eq!(listed[0]["file"], path.to_str().unwrap());
    }
    let mut changed = place.data.clone();
    changed.push(0);
    fs::write(place.folder.path(FILE), &changed).unwrap();
    let (got, expected) = (changed.len(), place.data.len());
    let sizes = format!("it has {got} bytes, expected {expected}");
    fetch("hopper-medium").fails(1, &[FILE, &sizes, "move it away"]);
    assert_eq!(place.folder.read(FILE), changed);
    assert!(server.asked().is_empty());
}

#[test]
fn no_file_is_official_but_by_the_built_in_hash() {
    let folder = Folder::new();
    let name = "halfcheetah_medium_replay-v2.hdf5";
    let official = spar_data::manifest::official("halfcheetah-medium-replay".parse().unwrap());
    let official = official.unwrap();
    fs::create_dir(folder.path("cache")).unwrap();
    let file = fs::File::create(folder.path("cache").join(name)).unwrap();
    file.set_len(official.bytes.unwrap()).unwrap();
    let sha256 = official.sha256.as_deref().unwrap();
    folder
        .spar("data fetch halfcheetah-medium-replay --dir cache")
        .fails(1, &[name, "is not halfcheetah-medium-replay-v2", sha256]);

    let list = folder.spar("data fetch --list --dir cache --json").json();
    let states = |state: &str| {
        let entries = list.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["state"].as_str().unwrap().contains(state))
            .count()
    };
    assert_eq!(
        (states("absent"), states("another file"), states("official")),
        (76, 1, 0)
    );
}

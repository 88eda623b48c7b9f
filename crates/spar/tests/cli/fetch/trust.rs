//! What others may put where a download is to go, and servers that never come to an end.
#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn nothing_is_written_through_links() {
    for link in [PART, "cache/.hopper_medium-v2.hdf5.lock"] {
        for hard in [false, true] {
            let place = Place::new();
            let data = place.data.clone();
            let server = Server::new(move |asked| Reply::file(asked, &data));
            place.list(&[server.url(NAME)], true);
            fs::create_dir(place.folder.path("cache")).unwrap();
            let (other, at) = (place.folder.path("other"), place.folder.path(link));
            fs::write(&other, "kept").unwrap();
            if hard {
                fs::hard_link(&other, &at).unwrap();
            } else {
                symlink(&other, &at).unwrap();
            }
            let name = link.rsplit('/').next().unwrap();
            refused(place.fetch(), &[name, "remove it"]);
            assert_eq!(fs::read(&other).unwrap(), b"kept", "{link}");
            assert!(!place.folder.exists(FILE));
        }
    }
}

#[test]
fn a_file_has_the_mode_of_any_other() {
    let place = Place::new();
    let data = place.data.clone();
    let server = Server::new(move |asked| Reply::file(asked, &data));
    place.fetch_from(&server);
    fs::write(place.folder.path("plain"), "").unwrap();
    let mode = |name: &str| {
        fs::metadata(place.folder.path(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode(FILE), mode("plain"));
}

#[test]
fn a_server_that_drips_or_floods_is_given_up() {
    let endless = |end: fn() -> End| {
        move |asked: &Asked| {
            let mut reply = Reply::page("200 OK", &["Content-Type: application/x-hdf5"]);
            assert_eq!(asked.from, None);
            reply.body = b"\x89HDF\r\n\x1a\n".repeat(20);
            reply.end = end();
            reply
        }
    };
    let place = Place::new();
    let drip = Server::new(endless(|| End::Drip));
    place.list(&[drip.url(NAME)], false);
    refused(place.fetch(), &["bytes came in", "expected at least 256"]);

    let flood = Server::new(endless(|| End::Flood));
    place.list(&[flood.url(NAME)], false);
    let words = "hopper-medium --dir flooded --stall-timeout 5 --limit 1000000";
    let done = Done::of(&mut place.command(words));
    refused(done, &["no length is known", "more than 1000000 bytes"]);
    assert!(!place.folder.exists("flooded/hopper_medium-v2.hdf5.part"));
}

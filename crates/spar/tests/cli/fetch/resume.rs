//! Downloads that break off, stall or are killed, and what they go on from.

use super::*;

#[test]
fn a_download_that_broke_off_goes_on_where_it_stopped() {
    let place = Place::new();
    let (data, half) = (place.data.clone(), place.data.len() / 2);
    let server = Server::new(move |asked| match asked.nth {
        0 => Reply::file(asked, &data).cut(half, End::Close),
        _ => Reply::file(asked, &data),
    });
    let done = place.fetch_from(&server);
    assert_eq!(server.froms(), [None, Some(half)]);
    assert_eq!(server.asked()[1].if_range.as_deref(), Some("\"one\""));
    let facts = [
        &format!(
            "broke off after {half} bytes, expected {}",
            place.data.len()
        ),
        "trying again",
    ];
    assert!(
        facts.iter().all(|fact| done.err.contains(*fact)),
        "{done:?}"
    );
}

#[test]
fn a_server_that_ignores_ranges_is_started_over_with() {
    let place = Place::new();
    let (data, half) = (place.data.clone(), place.data.len() / 2);
    let server = Server::new(move |asked| match asked.nth {
        0 => Reply::whole(&data).cut(half, End::Close),
        _ => Reply::whole(&data),
    });
    place.fetch_from(&server);
    assert_eq!(server.froms(), [None, Some(half)]);
}

#[test]
fn a_part_of_another_file_is_found_out() {
    // Right length so far, wrong bytes: only the whole's hash tells.
    for (status, range) in [
        ("206 Partial Content", None),
        // Or the server has no such part.
        (
            "416 Range Not Satisfiable",
            Some("Content-Range: bytes */7"),
        ),
        ("206 Partial Content", Some("Content-Range: bytes 0-6/7")),
    ] {
        let place = Place::new();
        fs::create_dir(place.folder.path("cache")).unwrap();
        fs::write(place.folder.path(PART), [7; 100]).unwrap();
        let data = place.data.clone();
        let server = Server::new(move |asked| {
            let mut reply = Reply::file(asked, &data);
            if let (Some(_), Some(range)) = (asked.from, range) {
                reply.status = status;
                reply.headers = vec!["Content-Length: 0".to_owned(), range.to_owned()];
                reply.body.clear();
            }
            reply
        });
        let done = place.fetch_from(&server);
        assert_eq!(server.froms(), [Some(100), None]);
        assert!(done.err.contains("starting anew"), "{done:?}");
    }
}

#[test]
fn a_part_outlives_mirrors_that_do_not_have_the_file() {
    let place = Place::new();
    fs::create_dir(place.folder.path("cache")).unwrap();
    let half = place.data.len() / 2;
    fs::write(place.folder.path(PART), &place.data[..half]).unwrap();
    let data = place.data.clone();
    let server = Server::new(move |asked| match asked.path.as_str() {
        "404" => Reply::page("404 Not Found", &[]),
        "page" => Reply::page("200 OK", &[]),
        "short" => Reply::whole(&data[..3000]),
        _ => Reply::file(asked, &data),
    });
    let urls = ["404", "page", "short", "good"].map(|path| server.url(path));
    place.list(&urls[..3], true);
    let kept = format!("({half} bytes are kept; the same command resumes there)");
    refused(place.fetch(), &[]);
    assert_eq!(place.folder.read(PART), place.data[..half]);
    let failed = place.fetch();
    assert!(failed.err.contains(&kept), "{failed:?}");
    place.list(&urls, true);
    place.fetched(place.fetch());
    assert_eq!(server.asked().last().unwrap().from, Some(half));
}

#[test]
fn a_download_that_always_breaks_off_is_given_up_and_kept() {
    let place = Place::new();
    let data = place.data.clone();
    let server = Server::new(move |asked| {
        let room = 3000 - asked.from.unwrap_or(0);
        Reply::file(asked, &data).cut(room, End::Close)
    });
    place.list(&[server.url(NAME)], true);
    let failed = place.fetch();
    assert_eq!(failed.code, Some(1));
    let last = failed.err.lines().last().unwrap();
    assert!(
        last.starts_with("error: ") && last.contains("broke off after 3000 bytes"),
        "{failed:?}"
    );
    assert_eq!(server.froms(), [None, Some(3000), Some(3000)]);
    assert_eq!(place.folder.read(PART), place.data[..3000]);
    assert!(!place.folder.exists(FILE));
}

#[test]
fn a_stalled_connection_is_resumed_and_a_silent_mirror_passed_over() {
    let place = Place::new();
    let (data, half) = (place.data.clone(), place.data.len() / 2);
    let server = Server::new(move |asked| match (asked.path.as_str(), asked.from) {
        ("stalls", None) => Reply::file(asked, &data).cut(half, End::Silence),
        ("stalls", Some(_)) => Reply::file(asked, &data),
        // The header never comes to its end.
        _ => {
            sleep(Duration::from_secs(3));
            Reply::page("500 Too Late", &[])
        }
    });
    let [silent, stalls] = ["silent", "stalls"].map(|path| server.url(path));
    place.list(&[silent.clone(), stalls.clone()], true);
    let done = place.fetched(place.fetch());
    for (url, next) in [(silent, "trying the next mirror"), (stalls, "trying again")] {
        let fact = format!("{url}: nothing came for 500ms; {next}");
        assert!(done.err.contains(&fact), "{done:?}");
    }
    assert_eq!(server.asked().last().unwrap().from, Some(half));
}

#[test]
fn redirects_are_followed_with_the_range() {
    let place = Place::new();
    let (data, half) = (place.data.clone(), place.data.len() / 2);
    let server = Server::new(move |asked| match (asked.path.as_str(), asked.nth) {
        (NAME, _) => Reply::page("302 Found", &["Location: /there", "Content-Length: 0"]),
        (_, 1) => Reply::file(asked, &data).cut(half, End::Close),
        _ => Reply::file(asked, &data),
    });
    place.fetch_from(&server);
    let asked = server.asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, [NAME, "there", NAME, "there"]);
    assert_eq!(asked[3].from, Some(half));
}

#[cfg(unix)]
#[test]
fn a_killed_download_is_gone_on_with() {
    // Not INT: what a shell starts in the background is born deaf to it.
    for signal in ["TERM", "KILL"] {
        let place = Place::new();
        let (data, half) = (place.data.clone(), place.data.len() / 2);
        let server = Server::new(move |asked| match asked.nth {
            0 => Reply::file(asked, &data).cut(half, End::Silence),
            _ => Reply::file(asked, &data),
        });
        place.list(&[server.url(NAME)], true);
        let mut child = place.spawn();
        let part = place.folder.path(PART);
        wait(|| part.metadata().is_ok_and(|part| part.len() == half as u64));
        let killed = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), None);

        let list = Done::of(&mut place.command("--list --dir cache")).ok();
        assert!(
            list.contains(&format!("{half} bytes of it are here")),
            "{list}"
        );
        place.fetched(place.fetch());
        assert_eq!(server.froms(), [None, Some(half)]);
        assert_eq!(server.asked()[1].if_range.as_deref(), Some("\"one\""));
    }
}

//! Mirrors that do not have the file, and what is said when none has.

use super::*;

#[test]
fn the_next_mirror_is_tried_whatever_is_wrong_with_the_first() {
    type Bad = fn(&[u8]) -> Reply;
    let bad: [(Bad, &str); 8] = [
        (
            |_| Reply::page("404 Not Found", &[]),
            "HTTP status 404, expected 200",
        ),
        (|_| Reply::page("403 Forbidden", &[]), "HTTP status 403"),
        (
            |_| Reply::page("200 OK", &["Content-Type: text/html; charset=utf-8"]),
            "it is a web page, expected an HDF5 file",
        ),
        (
            |_| Reply::page("200 OK", &["Content-Type: application/octet-stream"]),
            "a web page",
        ),
        (
            |data| {
                let mut other = data.to_vec();
                other[1000] ^= 1;
                Reply::whole(&other)
            },
            "its sha256 is ",
        ),
        (
            |data| Reply::whole(&data[..3000]),
            "it has 3000 bytes, expected ",
        ),
        (
            |data| {
                // Longer than it should be, and no word of its length.
                let mut reply = Reply::whole(&[data, b"more"].concat());
                reply.headers.clear();
                reply
            },
            "bytes, expected ",
        ),
        (
            |data| {
                let mut reply = Reply::whole(data);
                reply.headers.push("Content-Encoding: gzip".to_owned());
                reply
            },
            "content encoding `gzip`, expected none",
        ),
    ];
    let place = Place::new();
    for (reply, fact) in bad {
        let data = place.data.clone();
        let server = Server::new(move |asked| match asked.path.as_str() {
            "bad" => reply(&data),
            _ => Reply::file(asked, &data),
        });
        let (bad, good) = (server.url("bad"), server.url("good"));
        place.list(&[bad.clone(), good], true);
        let done = place.fetched(place.fetch());
        let facts = [
            fact,
            &format!("note: hopper-medium-v2: {bad}: "),
            "trying the next mirror",
        ];
        assert!(
            facts.iter().all(|fact| done.err.contains(*fact)),
            "{done:?}"
        );
        assert_eq!(server.froms(), [None, None], "{fact}");
        fs::remove_file(place.folder.path(FILE)).unwrap();

        // With nothing else to try it is an error, and nothing is kept.
        place.list(std::slice::from_ref(&bad), true);
        refused(
            place.fetch(),
            &["hopper-medium-v2: no mirror gave the file", &bad, fact],
        );
        assert_eq!(place.folder.files("cache"), [format!("cache/.{NAME}.lock")]);
    }
}

#[test]
fn a_suite_s_files_are_fetched_side_by_side_and_each_failure_told() {
    let place = Place::new();
    let data = place.data.clone();
    let server = Server::new(move |asked| match asked.path.as_str() {
        "gone" => Reply::page("404 Not Found", &[]),
        _ => Reply::file(asked, &data),
    });
    let sha256 = sha256_hex(&place.data);
    let entry = |task: &str, path: &str| {
        format!(
            "[[file]]\ntask = \"{task}\"\nid = \"{task}-v2\"\nname = \"{task}.hdf5\"\n\
             sha256 = \"{sha256}\"\nurls = [\"{}\"]\n",
            server.url(path)
        )
    };
    let entries = [
        entry("hopper-random", "gone"),
        entry("hopper-medium", "here"),
        entry("walker2d-expert", "gone"),
        entry("walker2d-full-replay", "here"),
    ];
    fs::write(place.folder.path("manifest.toml"), entries.concat()).unwrap();
    place.folder.write_suite();
    let suite = fs::read_to_string(place.folder.path("suite.toml")).unwrap();
    let tasks = r#"["walker2d-full-replay", "hopper-random", "walker2d-expert", "hopper-medium"]"#;
    let suite = suite.replace(r#"["pointmass-medium", "pointmass-medium-replay"]"#, tasks);
    fs::write(place.folder.path("suite.toml"), suite).unwrap();

    let done = Done::of(&mut place.command("--suite suite.toml --jobs 3 --dir cache"));
    assert_eq!(done.code, Some(1), "{done:?}");
    let errors = done.err.lines().filter(|line| line.starts_with("error: "));
    let errors: Vec<_> = errors.collect();
    assert!(errors[0].contains("hopper-random-v2") && errors[1].contains("walker2d-expert-v2"));
    assert_eq!(errors.len(), 2);
    let told: Vec<_> = done.out.lines().collect();
    assert!(
        told[0].starts_with("hopper-medium-v2: listed, "),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("walker2d-full-replay-v2: listed, "),
        "{told:?}"
    );
}

#[test]
fn what_cannot_be_done_here_is_said_in_a_line() {
    let place = Place::new();
    let huge: u64 = 1 << 60;
    let server = Server::new(move |_| {
        let mut reply = Reply::whole(b"");
        reply.headers = vec![format!("Content-Length: {huge}")];
        reply.end = End::Silence;
        reply
    });
    place.list(&[server.url(NAME)], false);
    refused(
        place.fetch(),
        &["cache", &huge.to_string(), "bytes are needed", "--dir"],
    );

    fs::write(place.folder.path("file"), "").unwrap();
    Done::of(&mut place.command("hopper-medium --dir file/below"))
        .fails(1, &["file/below: cannot write to this folder", "--dir"]);
    assert_eq!(server.asked().len(), 1);

    // The port of a server that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    place.list(&[format!("http://{port}/{NAME}")], true);
    let failed = place.fetch();
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.err.lines().last().unwrap().contains("no connection"),
        "{failed:?}"
    );

    for (words, facts) in [
        (
            "hopper-best --dir cache",
            ["hopper-best", "hopper-full-replay"],
        ),
        (
            "walker2d-medium --dir cache",
            ["no file of walker2d-medium", "hopper-medium"],
        ),
        ("--dir cache", ["nothing to fetch", "hopper-medium"]),
        (
            "hopper-medium --stall-timeout 0",
            ["--stall-timeout", "above 0"],
        ),
    ] {
        Done::of(&mut place.command(words)).fails(2, &facts);
    }
    fs::write(place.folder.path("manifest.toml"), "[[file]]\nid = 3\n").unwrap();
    refused(place.fetch(), &["manifest.toml: line 2"]);
}

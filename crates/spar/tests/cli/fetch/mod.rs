//! `spar data fetch` against servers that misbehave, on files too small to
//! matter: what is kept, what is asked for again, and what is said.

mod files;
mod mirrors;
mod resume;
mod server;
mod trust;

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use spar_core::sha256_hex;

use self::server::{Asked, End, Reply, Server};
use crate::support::{Done, Folder};

const NAME: &str = "hopper_medium-v2.hdf5";
const FILE: &str = "cache/hopper_medium-v2.hdf5";
const PART: &str = "cache/hopper_medium-v2.hdf5.part";

/// A folder with a data file's bytes and a manifest of it.
struct Place {
    folder: Folder,
    data: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let folder = Folder::new();
        folder.write_data("data.hdf5");
        let data = folder.read("data.hdf5");
        assert!(data.len() > 4000);
        Self { folder, data }
    }

    /// Writes the manifest; with the data's length and hash if they are `known`.
    fn list(&self, urls: &[String], known: bool) {
        let known = if known {
            let (bytes, sha256) = (self.data.len(), sha256_hex(&self.data));
            format!("bytes = {bytes}\nsha256 = \"{sha256}\"\n")
        } else {
            String::new()
        };
        let text = format!(
            "[[file]]\ntask = \"hopper-medium\"\nid = \"hopper-medium-v2\"\nname = \"{NAME}\"\n\
             {known}urls = {urls:?}\n"
        );
        fs::write(self.folder.path("manifest.toml"), text).unwrap();
    }

    fn command(&self, words: &str) -> Command {
        let line = format!("data fetch --manifest manifest.toml {words}");
        direct(self.folder.command(&line))
    }

    /// Fetches the file into `cache`.
    fn fetch(&self) -> Done {
        Done::of(&mut self.command("hopper-medium --dir cache --json --stall-timeout 0.5"))
    }

    /// Fetches the file from `server`, which has to work out.
    #[track_caller]
    fn fetch_from(&self, server: &Server) -> Done {
        self.list(&[server.url(NAME)], true);
        self.fetched(self.fetch())
    }

    /// Checks that it worked out and that nothing but the file was left.
    #[track_caller]
    fn fetched(&self, done: Done) -> Done {
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(self.folder.read(FILE) == self.data);
        assert_eq!(self.folder.files("cache"), [FILE]);
        done
    }

    /// Fetches the file in a process of its own, with all the time there is.
    fn spawn(&self) -> Child {
        self.command("hopper-medium --dir cache --json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Checks that one error line was all that came of it, beside progress.
#[track_caller]
fn refused(done: Done, facts: &[&str]) {
    let errors = done.err.lines().filter(|line| line.starts_with("error: "));
    let errors: Vec<_> = errors.collect();
    assert_eq!(
        (done.code, done.out.as_str(), errors.len()),
        (Some(1), "", 1),
        "{done:?}"
    );
    for fact in facts {
        assert!(errors[0].contains(fact), "no `{fact}` in {done:?}");
    }
}

/// Without the proxy this machine may be behind.
fn direct(mut command: Command) -> Command {
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

#[track_caller]
fn wait(until: impl Fn() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(10));
    }
}

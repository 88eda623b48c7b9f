//! `spar data fetch`: official files from their mirrors into D4RL's cache
//! folder, with bars on a terminal and plain lines elsewhere.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::IsTerminal,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use spar_core::{TaskId, printable};
use spar_data::{
    fetch::{FetchError, Fetched, Fetcher, MirrorError, Proof, State, Watch},
    manifest::{self, Entry},
};

use super::suite_of;
use crate::{failure::Usage, output};

/// What to fetch, and from where.
#[derive(clap::Args)]
pub(crate) struct FetchArgs {
    /// Tasks, as in `hopper-medium` or `hopper-medium-v2`
    #[arg(value_name = "TASK", value_parser = task)]
    tasks: Vec<TaskId>,
    /// Suite whose tasks are fetched: a name of `./suites`, as in `mujoco`, or a file
    #[arg(long, value_name = "SUITE")]
    suite: Option<PathBuf>,
    /// Files at a time
    #[arg(long, value_name = "N", default_value = "2")]
    jobs: NonZeroUsize,
    /// Folder of the files [default: $D4RL_DATASET_DIR, else ~/.d4rl/datasets]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Manifest with other addresses, as of a mirror inside an institution, in
    /// the layout of crates/spar-data/manifest.toml; a file is called official only if
    /// its sha256 is the built-in manifest's
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Seconds without a byte after which a connection is given up
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    stall_timeout: Duration,
    /// Bytes after which a file is given up whose length neither the manifest nor the
    /// server tells [default: 32 GiB]
    #[arg(long, value_name = "BYTES")]
    limit: Option<u64>,
    /// Fetch nothing; say what the manifest has and what of it is here, proven
    #[arg(long)]
    list: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// A task by its own name or by its official data's.
fn task(text: &str) -> Result<TaskId, String> {
    let name = text.strip_suffix("-v2").unwrap_or(text);
    name.parse::<TaskId>().map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// What `--json` prints of a file.
#[derive(Serialize)]
struct FetchedRow<'a> {
    id: &'a str,
    #[serde(serialize_with = "output::path")]
    file: &'a Path,
    sha256: &'a str,
    bytes: u64,
    proof: &'static str,
    downloaded: bool,
}

/// What `--list --json` prints of a file.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    state: String,
    file: Option<String>,
}

/// Fetches the files and says where they are, or lists them.
pub(crate) fn run(args: &FetchArgs) -> Result<()> {
    let own = args.manifest.as_deref().map(manifest::load).transpose()?;
    let known = own.as_deref().unwrap_or(manifest::files());
    let entries = chosen(args, known)?;
    let (folder, elsewhere) = folders(args.dir.as_deref())?;
    let fetcher = Fetcher::new(folder, elsewhere, args.stall_timeout);
    let fetcher = match args.limit {
        Some(bytes) => fetcher.limited(bytes),
        None => fetcher,
    };
    if args.list {
        return list(&entries, &fetcher, args.json);
    }
    let screen = Screen::new(&entries);
    let results = all(&entries, &fetcher, args.jobs, &screen);
    drop(screen);
    let (mut fetched, mut failures) = (Vec::new(), Vec::new());
    for (entry, result) in entries.iter().zip(results) {
        match result {
            Ok(file) => {
                warn(entry, &file, &fetcher);
                fetched.push((entry.id.as_str(), file));
            }
            Err(error) => failures.push(anyhow!(error)),
        }
    }
    print(&fetched, args.json)?;
    let last = failures.pop();
    for failure in failures {
        output::say(&format!("error: {failure}"));
    }
    last.map_or(Ok(()), Err)
}

/// The entries asked for, each once, in the manifest's order.
fn chosen<'a>(args: &FetchArgs, known: &'a [Entry]) -> Result<Vec<&'a Entry>> {
    let mut tasks = args.tasks.clone();
    if let Some(suite) = &args.suite {
        tasks.extend(suite_of(suite)?.tasks);
    }
    let names = || {
        let names: Vec<_> = known.iter().map(|entry| entry.task.to_string()).collect();
        names.join(", ")
    };
    if tasks.is_empty() {
        if args.list {
            return Ok(known.iter().collect());
        }
        let message = format!(
            "nothing to fetch; name tasks or a --suite; there are: {}",
            names()
        );
        return Err(Usage(message).into());
    }
    let unknown = |task: &&TaskId| !known.iter().any(|entry| entry.task == **task);
    if let Some(task) = tasks.iter().find(unknown) {
        let message = format!(
            "the manifest has no file of {task}; expected one of: {}",
            names()
        );
        return Err(Usage(message).into());
    }
    let asked = known.iter().filter(|entry| tasks.contains(&entry.task));
    Ok(asked.collect())
}

/// The folder of the files, and others where they may be already.
fn folders(dir: Option<&Path>) -> Result<(PathBuf, Vec<PathBuf>)> {
    if let Some(dir) = dir {
        return Ok((dir.to_owned(), Vec::new()));
    }
    let Some(cache) = manifest::cache() else {
        let message = "neither D4RL_DATASET_DIR nor HOME says where D4RL's files are; give --dir";
        return Err(Usage(message.to_owned()).into());
    };
    let mut elsewhere = manifest::folders();
    elsewhere.retain(|folder| *folder != cache);
    Ok((cache, elsewhere))
}

/// Fetches every entry, `jobs` at a time; one that fails does not stop the others.
fn all(
    entries: &[&Entry],
    fetcher: &Fetcher,
    jobs: NonZeroUsize,
    screen: &Screen,
) -> Vec<Result<Fetched, FetchError>> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..entries.len()).collect());
    let next = || waiting.lock().ok()?.pop_front();
    let work = || {
        let mut done = Vec::new();
        while let Some(i) = next() {
            let line = screen.line(&entries[i].id);
            done.push((i, fetcher.fetch(entries[i], &line)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let threads = jobs.get().min(entries.len());
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().flat_map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Vec<_>>()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Says on stderr what a file that is not official is.
fn warn(entry: &Entry, file: &Fetched, fetcher: &Fetcher) {
    match file.proof {
        Proof::Official => {}
        Proof::Listed => output::say(&format!(
            "warning: {}: its sha256 is that of the --manifest, not the official file's; \
             results will call it a user's file",
            entry.id
        )),
        Proof::Pinned if file.first_use => output::say(&format!(
            "warning: {}: no sha256 of it is known; trusted on first use and pinned as {} in {}; \
             not proven official, results will call it a user's file",
            entry.id,
            file.sha256,
            fetcher.pins().display()
        )),
        Proof::Pinned => output::say(&format!(
            "warning: {}: its sha256 is the one pinned in {}; not proven official, results will \
             call it a user's file",
            entry.id,
            fetcher.pins().display()
        )),
    }
}

fn word(proof: Proof) -> &'static str {
    match proof {
        Proof::Official => "official",
        Proof::Listed => "listed",
        Proof::Pinned => "pinned",
    }
}

fn print(fetched: &[(&str, Fetched)], json: bool) -> Result<()> {
    if fetched.is_empty() {
        return Ok(());
    }
    if json {
        let rows = fetched.iter().map(|(id, file)| FetchedRow {
            id,
            file: &file.path,
            sha256: &file.sha256,
            bytes: file.bytes,
            proof: word(file.proof),
            downloaded: file.downloaded,
        });
        return output::json(&rows.collect::<Vec<_>>());
    }
    let lines = fetched.iter().map(|(id, file)| {
        format!(
            "{id}: {}, {} bytes, sha256 {}, {}\n",
            word(file.proof),
            file.bytes,
            file.sha256,
            file.path.display()
        )
    });
    output::text(&lines.collect::<String>())
}

fn list(entries: &[&Entry], fetcher: &Fetcher, json: bool) -> Result<()> {
    let mut listed = Vec::new();
    for &entry in entries {
        let (state, path) = match fetcher.state(entry)? {
            State::Absent => ("absent".to_owned(), None),
            State::Partial(bytes) => (format!("{bytes} bytes of it are here"), None),
            State::Present { path, proof } => {
                let proven = match proof {
                    Proof::Official => "official, sha256 verified",
                    Proof::Listed => "sha256 as listed, not official",
                    Proof::Pinned => "sha256 as pinned, not proven official",
                };
                (proven.to_owned(), Some(path))
            }
            State::Unproven(path) => ("unproven, no sha256 known or pinned".to_owned(), Some(path)),
            State::Wrong(path, flaw) => (format!("another file: {flaw}"), Some(path)),
        };
        listed.push(Listed {
            entry,
            state,
            file: path.map(|path| path.to_string_lossy().into_owned()),
        });
    }
    if json {
        return output::json(&listed);
    }
    let number = |n: Option<String>| n.unwrap_or_else(|| "–".to_owned());
    let rows = listed.iter().map(|Listed { entry, state, file }| {
        vec![
            entry.id.clone(),
            number(entry.bytes.map(|n| n.to_string())),
            number(entry.transitions.map(|n| n.to_string())),
            state.clone(),
            number(file.clone()),
        ]
    });
    let header = ["data set", "bytes", "transitions", "state", "file"];
    output::text(&output::table(&header, rows))
}

/// How often a plain line is printed where there is no terminal.
const PLAIN: Duration = Duration::from_secs(30);

/// Where progress is shown: bars, or lines where stderr is no terminal.
struct Screen {
    bars: Option<MultiProgress>,
    width: usize,
}

impl Screen {
    fn new(entries: &[&Entry]) -> Self {
        Self {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
            width: entries.iter().map(|e| e.id.len()).max().unwrap_or(0),
        }
    }

    fn line(&self, id: &str) -> Line<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::no_length());
            bar.set_style(style("{prefix} {wide_msg}"));
            bar.set_prefix(format!("{:width$}", printable(id), width = self.width));
            bar
        });
        Line {
            id: id.to_owned(),
            screen: self,
            bar,
            began: Cell::new(None),
            next: Cell::new(Instant::now() + PLAIN),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The line of one file.
struct Line<'a> {
    id: String,
    screen: &'a Screen,
    bar: Option<ProgressBar>,
    /// When bytes began to come, how many were here then, and how many there are.
    began: Cell<Option<(Instant, u64, Option<u64>)>>,
    next: Cell<Instant>,
}

impl Line<'_> {
    fn say(&self, text: &str) {
        match &self.screen.bars {
            // A terminal that is gone is no reason to stop.
            Some(bars) => drop(bars.println(printable(text))),
            None => output::say(text),
        }
    }

    fn message(&self, text: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_style(style("{prefix} {wide_msg}"));
            bar.set_message(text);
        }
    }
}

impl Watch for Line<'_> {
    fn waits(&self) {
        self.message("another process is fetching it");
        if self.bar.is_none() {
            self.say(&format!(
                "{}: waiting for another process that is fetching it",
                self.id
            ));
        }
    }

    fn began(&self, url: &str, from: u64, whole: Option<u64>) {
        self.began.set(Some((Instant::now(), from, whole)));
        let Some(bar) = &self.bar else {
            let rest = match from {
                0 => String::new(),
                bytes => format!(", from byte {bytes} on"),
            };
            return self.say(&format!("{}: fetching {url}{rest}", self.id));
        };
        let of = if whole.is_some() {
            "{bar:12} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
        } else {
            "{bytes}, {bytes_per_sec}"
        };
        bar.set_style(style(&format!("{{prefix}} {of}")));
        match whole {
            Some(whole) => bar.set_length(whole),
            None => bar.unset_length(),
        }
        bar.set_position(from);
        bar.reset_eta();
    }

    fn reached(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(bytes);
        }
        let now = Instant::now();
        if let (Some((began, from, whole)), true) = (self.began.get(), now >= self.next.get()) {
            self.next.set(now + PLAIN);
            let pace = (bytes - from) as f64 / now.duration_since(began).as_secs_f64();
            let of = whole.map_or_else(String::new, |whole| format!(" of {}", HumanBytes(whole)));
            let pace = HumanBytes(pace as u64);
            self.say(&format!("{}: {}{of}, {pace}/s", self.id, HumanBytes(bytes)));
        }
    }

    fn checks(&self) {
        self.message("computing its sha256");
    }

    fn failed(&self, url: &str, why: &MirrorError, next: &str) {
        self.say(&format!("note: {}: {url}: {why}; {next}", self.id));
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

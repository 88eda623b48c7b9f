//! Talking to a worker: ours or a peer's, a process that answers requests line
//! by line. It stays alive between its turns, so that what it compiled is kept.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{clock::Timing, serve::Hello, work::Work};

/// The losses of a cycle by name, in the order of the steps that have one.
pub(crate) type Losses = BTreeMap<String, Vec<f64>>;

/// A running worker.
pub(crate) struct Worker {
    /// Name for messages.
    pub(crate) name: &'static str,
    /// What it said when it started.
    pub(crate) hello: Hello,
    log: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts `command`, whose stderr goes to a log in `folder`.
    ///
    /// # Errors
    /// If it cannot start or ends before it has said who is there.
    pub(crate) fn start(name: &'static str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let stderr =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("a worker has no output")?;
        let mut worker = Self {
            name,
            hello: Hello::default(),
            log,
            stdin: child.stdin.take(),
            child,
            stdout: BufReader::new(stdout),
        };
        worker.hello = worker.answer()?;
        Ok(worker)
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// If the worker has ended.
    pub(crate) fn ask(&mut self, request: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("a worker has no input")?;
        let sent = writeln!(stdin, "{request}").and_then(|()| stdin.flush());
        sent.with_context(|| format!("{} has ended; see {}", self.name, self.log.display()))
    }

    /// The answer to the request sent before.
    ///
    /// # Errors
    /// If the worker ends, or answers that it failed or something else.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} has ended; see {}", self.name, self.log.display());
        }
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} answered `{}`", self.name, line.trim()))?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{error}");
        }
        serde_json::from_value(answer)
            .with_context(|| format!("{} answered `{}`", self.name, line.trim()))
    }

    /// The losses of one cycle from the start.
    ///
    /// # Errors
    /// As [`Worker::answer`].
    pub(crate) fn losses(&mut self, name: &str) -> Result<Losses> {
        #[derive(Deserialize)]
        struct Answer {
            losses: Losses,
        }
        self.ask(&format!("losses {name}"))?;
        Ok(self.answer::<Answer>()?.losses)
    }

    /// Floating-point operations of the matrix products in a step of `name`, as its own
    /// program has them.
    ///
    /// # Errors
    /// As [`Worker::answer`].
    pub(crate) fn flops(&mut self, name: &str) -> Result<f64> {
        #[derive(Deserialize)]
        struct Answer {
            flops: f64,
        }
        self.ask(&format!("flops {name}"))?;
        Ok(self.answer::<Answer>()?.flops)
    }

    /// What a step of `workload` has to do; only ours knows.
    ///
    /// # Errors
    /// As [`Worker::answer`].
    pub(crate) fn work(&mut self, workload: &str) -> Result<Work> {
        self.ask(&format!("work {workload}"))?;
        self.answer()
    }

    /// One turn of a contender.
    ///
    /// # Errors
    /// As [`Worker::answer`].
    pub(crate) fn time(&mut self, name: &str, seconds: f64) -> Result<Timing> {
        self.ask(&format!("time {name} {seconds}"))?;
        let timing = self.answer();
        timing.with_context(|| format!("{name} failed between its turns"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Its input ends, and with it the worker.
        drop(self.stdin.take());
        drop(self.child.wait());
    }
}

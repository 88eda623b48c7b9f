//! Runs processes side by side: starts them in a schedule's order, reads what
//! they say, and takes all of them down when asked to stop.

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::plan::Schedule;

/// One process to run.
pub struct Job<'a> {
    /// Name in messages.
    pub name: String,
    /// Makes the command when the job starts, when its predecessor has ended.
    pub command: Box<dyn Fn() -> Command + 'a>,
    /// File its stderr is appended to; without one it is only passed on.
    pub log: Option<PathBuf>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With exit code 0; holds the last line of its stdout.
    Finished(String),
    /// In any other way; says why.
    Failed(String),
    /// It was taken down, or never started, because of a request to stop.
    Stopped,
}

/// Who looks on. Jobs are named by their index.
pub trait Watch {
    /// The job's process starts.
    fn started(&mut self, job: usize);
    /// A line of the job's stdout.
    fn said(&mut self, job: usize, line: &str);
    /// A line of the job's stderr.
    fn logged(&mut self, job: usize, line: &str);
    /// The job has ended.
    fn ended(&mut self, job: usize, outcome: &Outcome);
    /// A moment has passed.
    fn tick(&mut self);
}

/// How often processes are looked at.
const TICK: Duration = Duration::from_millis(50);

enum Said {
    Out(usize, String),
    Err(usize, String),
}

struct Running {
    job: usize,
    child: Child,
    readers: [JoinHandle<()>; 2],
}

/// How long a process may take to save its work once it is asked to end.
const GRACE: Duration = Duration::from_secs(60);

/// Runs `jobs`, at most `slots` at a time, in the order of `schedule`, until
/// all have ended or `stop` says so. One that fails does not stop the others.
pub fn run(
    jobs: &[Job<'_>],
    mut schedule: Schedule,
    slots: usize,
    stop: &dyn Fn() -> bool,
    watch: &mut dyn Watch,
) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Stopped; jobs.len()];
    let mut last = vec![Last::default(); jobs.len()];
    let mut running: Vec<Running> = Vec::new();
    let (say, hear) = channel();
    loop {
        while running.len() < slots && !stop() {
            let Some(job) = schedule.start_next() else {
                break;
            };
            watch.started(job);
            match start(job, &jobs[job], &say) {
                Ok(started) => running.push(started),
                Err(why) => {
                    outcomes[job] = Outcome::Failed(why);
                    schedule.ended(job);
                    watch.ended(job, &outcomes[job]);
                }
            }
        }
        if running.is_empty() {
            return outcomes;
        }
        listen(&hear, &mut last, watch);
        watch.tick();
        if stop() {
            take_down(running);
            return outcomes;
        }
        let (ended, still): (Vec<_>, Vec<_>) = running
            .into_iter()
            .map(|mut process| (process.child.try_wait(), process))
            .partition(|(status, _)| !matches!(status, Ok(None)));
        running = still.into_iter().map(|(_, process)| process).collect();
        for (status, process) in ended {
            for reader in process.readers {
                // A reader only ends; it has nothing to say by panicking.
                let _ = reader.join();
            }
            while let Ok(said) = hear.try_recv() {
                pass_on(said, &mut last, watch);
            }
            let job = process.job;
            outcomes[job] = match status {
                Ok(Some(status)) if status.success() => Outcome::Finished(last[job].out.clone()),
                Ok(Some(status)) => Outcome::Failed(last[job].complaint(status)),
                Ok(None) => Outcome::Stopped,
                Err(error) => Outcome::Failed(format!("cannot wait for it: {error}")),
            };
            schedule.ended(job);
            watch.ended(job, &outcomes[job]);
        }
    }
}

/// The last things a job said.
#[derive(Clone, Default)]
struct Last {
    out: String,
    err: VecDeque<String>,
}

impl Last {
    /// Why a process ended with `status`: its own last line, or its error line
    /// where hints follow it.
    fn complaint(&self, status: ExitStatus) -> String {
        let error = self.err.iter().rev().find(|line| line.starts_with("error"));
        match error.or(self.err.back()) {
            Some(line) => format!("{status}: {line}"),
            None => format!("{status}, in silence"),
        }
    }
}

/// Lines of stderr in which a failed job's error is looked for.
const REMEMBERED: usize = 20;

/// Hears what was said until now, for a tick at most.
fn listen(hear: &Receiver<Said>, last: &mut [Last], watch: &mut dyn Watch) {
    match hear.recv_timeout(TICK) {
        Ok(said) => pass_on(said, last, watch),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
    }
    while let Ok(said) = hear.try_recv() {
        pass_on(said, last, watch);
    }
}

fn pass_on(said: Said, last: &mut [Last], watch: &mut dyn Watch) {
    match said {
        Said::Out(job, line) => {
            watch.said(job, &line);
            last[job].out = line;
        }
        Said::Err(job, line) => {
            watch.logged(job, &line);
            if !line.trim().is_empty() {
                last[job].err.push_back(line);
            }
            if last[job].err.len() > REMEMBERED {
                last[job].err.pop_front();
            }
        }
    }
}

fn start(job: usize, spec: &Job<'_>, say: &Sender<Said>) -> Result<Running, String> {
    let mut log = match &spec.log {
        None => None,
        Some(path) => Some(open_log(path).map_err(|e| format!("{}: {e}", path.display()))?),
    };
    let mut command = (spec.command)();
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{program} has no output to read"));
    };
    let said_out = say.clone();
    let said_err = say.clone();
    let readers = [
        thread::spawn(move || {
            // Nobody hears it once all jobs have ended.
            each_line(out, |line| drop(said_out.send(Said::Out(job, line))));
        }),
        thread::spawn(move || {
            each_line(err, |line| {
                if let Some(file) = &mut log {
                    // A full disk stops the run by its own writes, not by its log's.
                    let _ = writeln!(file, "{line}");
                }
                drop(said_err.send(Said::Err(job, line)));
            });
        }),
    ];
    Ok(Running {
        job,
        child,
        readers,
    })
}

fn open_log(path: &std::path::Path) -> std::io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn each_line(from: impl Read, mut then: impl FnMut(String)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        then(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

/// Asks the processes to end, which a run does once its checkpoint is written, and waits
/// for them. Runs are crash-safe: killing one that takes too long loses only what came
/// after its last checkpoint.
fn take_down(mut running: Vec<Running>) {
    for process in &running {
        ask_to_end(&process.child);
    }
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        running.retain_mut(|process| matches!(process.child.try_wait(), Ok(None)));
        if running.is_empty() {
            return;
        }
        thread::sleep(TICK);
    }
    for mut process in running {
        let _ = process.child.kill();
        let _ = process.child.wait();
    }
}

#[cfg(unix)]
fn ask_to_end(child: &Child) {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    if let Ok(id) = i32::try_from(child.id()) {
        // It may have ended by itself: the terminal's Ctrl-C reaches it too.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}

#[cfg(not(unix))]
fn ask_to_end(_: &Child) {}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;

//! Files broken at random, and the processes that read them, watched.
//!
//! Included by path into the tests of whichever crate has files to break: every kind of
//! file is held to the same rule ([`Ended::check`]): the process ends by itself, in
//! bounded time and memory, with success or with one line.
//!
//! A test breaks as many files as [`count`] says, few by default. `SPAR_MUTANTS=2000`
//! has each driver break 2000, `SPAR_MUTANTS_SEED` others than usual.
#![allow(dead_code, reason = "not every test that includes this uses all of it")]

use std::{
    env,
    io::Read,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use spar_core::Stream;

/// Bytes of memory that no process may hold, whatever a file says.
pub(crate) const MEMORY: u64 = 512 << 20;
/// Long past what any mutant takes: a guard against a loop without end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How many mutants a driver makes: `SPAR_MUTANTS`, or `usual`.
pub(crate) fn count(usual: usize) -> usize {
    number("SPAR_MUTANTS").map_or(usual, |n| n as usize)
}

/// The stream that the mutants called `name` are drawn from.
pub(crate) fn stream(name: &str) -> Stream {
    Stream::new(number("SPAR_MUTANTS_SEED").unwrap_or(17), name)
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// A broken copy of `whole`, which is not empty, and how it was broken.
pub(crate) fn bytes(whole: &[u8], stream: &mut Stream) -> (Vec<u8>, String) {
    let mut made = whole.to_vec();
    let mut said = Vec::new();
    for _ in 0..1 + stream.index(3) {
        if made.is_empty() {
            break;
        }
        said.push(change(&mut made, stream));
    }
    (made, said.join(", "))
}

/// Numbers that sizes, counts and addresses are not expected to be.
fn extreme(length: usize, stream: &mut Stream) -> u64 {
    let length = length as u64;
    let numbers = [
        0,
        1,
        length,
        length - 1,
        1 << 31,
        (1 << 32) - 1,
        1 << 40,
        1 << 63,
        u64::MAX,
        f64::NAN.to_bits(),
        f64::INFINITY.to_bits(),
    ];
    numbers[stream.index(numbers.len())]
}

fn change(bytes: &mut Vec<u8>, stream: &mut Stream) -> String {
    let length = bytes.len();
    // A stretch somewhere, mostly short and on a multiple of 8.
    let stretch = |stream: &mut Stream| {
        let long = [8, 16, 64, 512, 4096][stream.index(5)].min(length);
        let at = stream.index(length - long + 1);
        (if stream.index(3) > 0 { at / 8 * 8 } else { at }, long)
    };
    match stream.index(9) {
        0 | 1 => {
            // Structure is in the front of most files.
            let within = [length, length.min(4096)][stream.index(2)];
            let (at, bit) = (stream.index(within), stream.index(8));
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        2 => {
            let keep = stream.index(length);
            bytes.truncate(keep);
            format!("cut to {keep} bytes")
        }
        3 => {
            let ((a, n), (b, m)) = (stretch(stream), stretch(stream));
            let n = n.min(m).min(a.abs_diff(b));
            for i in 0..n {
                bytes.swap(a + i, b + i);
            }
            format!("{n} bytes at {a} and {b} exchanged")
        }
        4 => {
            let ((from, n), (to, _)) = (stretch(stream), stretch(stream));
            let n = n.min(length - to);
            bytes.copy_within(from..from + n, to);
            format!("{n} bytes at {from} copied to {to}")
        }
        5 => {
            let ((at, n), with) = (stretch(stream), [0, 0xff][stream.index(2)]);
            bytes[at..at + n].fill(with);
            format!("{n} bytes at {at} made {with}")
        }
        6 => {
            let (number, (at, n)) = (extreme(length, stream), stretch(stream));
            let n = [1, 2, 4, 8][stream.index(4)].min(n);
            bytes[at..at + n].copy_from_slice(&number.to_le_bytes()[..n]);
            format!("{n} bytes at {at} made those of {number}")
        }
        7 => {
            let (at, n) = stretch(stream);
            bytes.drain(at..at + n);
            format!("{n} bytes at {at} removed")
        }
        _ => {
            let ((from, n), (to, _)) = (stretch(stream), stretch(stream));
            let more = bytes[from..from + n].to_vec();
            bytes.splice(to..to, more);
            format!("{n} bytes at {from} inserted at {to}")
        }
    }
}

/// A broken copy of a text, which is not empty, and how it was broken: its numbers,
/// words and lines are changed, and sometimes its bytes.
pub(crate) fn text(whole: &str, stream: &mut Stream) -> (Vec<u8>, String) {
    let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let at = stream.index(lines.len());
    let other = stream.index(lines.len());
    let said = match stream.index(6) {
        0 => {
            lines.remove(at);
            format!("line {} removed", at + 1)
        }
        1 => {
            let line = lines[at].clone();
            lines.insert(other, line);
            format!("line {} repeated before line {}", at + 1, other + 1)
        }
        2 => {
            lines.swap(at, other);
            format!("lines {} and {} exchanged", at + 1, other + 1)
        }
        3 | 4 => replace_word(&mut lines, at, stream),
        _ => return bytes(whole.as_bytes(), stream),
    };
    (lines.join("\n").into_bytes(), said)
}

/// Puts something unexpected in the place of a word at or after line `at`.
fn replace_word(lines: &mut [String], at: usize, stream: &mut Stream) -> String {
    const WORDS: [&str; 16] = [
        "0",
        "-1",
        "1e30",
        "1e-30",
        "nan",
        "inf",
        "99999999999999999999",
        "1000000000000",
        "true",
        "\"\"",
        "\"../up\"",
        "[]",
        "{}",
        "\"\\u001b[2J\"",
        "0.5",
        "[0]",
    ];
    let word = |c: char| c.is_alphanumeric() || "._-+".contains(c);
    let (before, after) = lines.split_at_mut(at);
    let Some((i, line)) =
        (after.iter_mut().chain(before).enumerate()).find(|(_, l)| l.contains(word))
    else {
        return "nothing changed".to_owned();
    };
    let starts: Vec<usize> = line
        .char_indices()
        .filter(|&(i, c)| word(c) && !line[..i].ends_with(word))
        .map(|(i, _)| i)
        .collect();
    let start = starts[stream.index(starts.len())];
    let end = line[start..]
        .find(|c| !word(c))
        .map_or(line.len(), |n| start + n);
    let new = WORDS[stream.index(WORDS.len())];
    let said = format!(
        "`{}` made `{new}`, {i} lines after line {}",
        &line[start..end],
        at + 1
    );
    line.replace_range(start..end, new);
    said
}

/// How a watched process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if it was killed for the time or memory it took.
    pub(crate) status: Option<ExitStatus>,
    /// Largest memory that it, or a child of its, held, as far as was seen.
    pub(crate) peak: u64,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Holds a process that read `what` to the rule; returns whether it succeeded.
    ///
    /// # Panics
    /// If it crashed, hung, panicked, took too much memory, or failed with anything but
    /// code 1 or 2 and a single error line, hints aside.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) -> bool {
        assert!(
            self.peak < MEMORY,
            "{what}: {} bytes of memory: {self:?}",
            self.peak
        );
        let Some(status) = self.status else {
            panic!("{what}: no end: {self:?}");
        };
        for line in self.err.lines() {
            assert!(!line.chars().any(char::is_control), "{what}: {self:?}");
        }
        match status.code() {
            Some(0) => true,
            Some(1 | 2) => {
                let errors = self.err.lines().filter(|l| l.starts_with("error: "));
                assert_eq!(errors.count(), 1, "{what}: {self:?}");
                assert!(!self.err.contains("panicked"), "{what}: {self:?}");
                false
            }
            _ => panic!("{what}: {status}: {self:?}"),
        }
    }
}

/// Runs `command` to its end, which comes by itself or when it takes longer than
/// [`PATIENCE`] or holds more than [`MEMORY`].
pub(crate) fn watch(command: &mut Command) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let drain = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = drain(child.stdout.take().map(|p| Box::new(p) as _));
    let err = drain(child.stderr.take().map(|p| Box::new(p) as _));
    let limit = Instant::now() + PATIENCE;
    let mut peak = 0;
    let status = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break Some(status);
        }
        peak = peak.max(held(child.id()));
        if Instant::now() > limit || peak > MEMORY {
            // Its own children end with the pipes, or by their own bounds.
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    Ended {
        status,
        peak,
        out: text(out),
        err: text(err),
    }
}

/// The most memory that the process `id`, or one of its children, has held so far; 0
/// where the system does not tell.
fn held(id: u32) -> u64 {
    let of = |id: &str| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(1024 * kilobytes)
    };
    let id = id.to_string();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    let all = children.split_whitespace().chain([id.as_str()]);
    all.filter_map(of).max().unwrap_or(0)
}

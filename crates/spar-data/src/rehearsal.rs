//! Files are opened by another process first.
//!
//! libhdf5 is C, and bytes can be arranged on which it crashes, never returns or
//! asks for all memory there is; the library that reads Parquet is not, and takes what
//! memory a page says it unpacks to. A file is therefore opened by a child with bounds on
//! its memory and time, which has the library do all that it is going to do. Only a
//! file that it came through is opened by this process; of any other the user gets one
//! line. Arrays that are unpacked without the library the child does not read: it costs
//! milliseconds.
//!
//! There is a child only in a program that says how to start one
//! ([`rehearse_in`]), as `spar` does.

use std::{
    io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
};

#[cfg(feature = "hdf5")]
use crate::{
    dataset::Layout,
    h5::{d4rl::D4rl, groups::Groups},
    reading::{Asked, Parts},
};
use crate::{error::DataError, parquet_file, precheck::Kind, read::Checked, reading::Reading};

/// Seconds of CPU time that a child has, and one more for each [`BYTES_PER_SECOND`].
const SECONDS: u64 = 60;
const BYTES_PER_SECOND: u64 = 1 << 20;
/// Bytes of memory that a child may take beyond four times the file's: what this process
/// takes for the same is as much at most.
const MEMORY: u64 = 128 << 20;

/// Makes the command of a child that reads the file at the path, its observations joined
/// from arrays of these names.
type Start = fn(&Path, &[String]) -> io::Result<Command>;

static START: OnceLock<Start> = OnceLock::new();

/// From now on, has every file opened by a child first. `start` makes its command,
/// a program that calls [`rehearse`] and ends with code 0, or with code 1 and the
/// error as a line on stdout. The first call counts.
pub fn rehearse_in(start: Start) {
    START.get_or_init(|| start);
}

/// What a child does: opens the data at `path`, whose observations are joined from arrays
/// of the names in `observations`, and has the library do all that
/// [`Dataset::read`](crate::Dataset::read) would, within bounds on this process's
/// memory and time that stay. What cannot be done within them is refused.
///
/// # Errors
/// As [`Dataset::read`](crate::Dataset::read), but for what is wrong with numbers.
pub fn rehearse(path: &Path, observations: &[String]) -> Result<(), DataError> {
    let checked = Checked::unrehearsed(path)?;
    confine(checked.length()).map_err(|source| DataError::Io {
        path: path.into(),
        doing: "bound the memory and time of reading the file",
        source,
    })?;
    let reading = Reading {
        observations: observations.to_vec(),
        ..Reading::default()
    };
    if checked.kind() == Kind::Parquet {
        return parquet_file::rehearse(&checked, &reading);
    }
    rehearse_hdf5(&checked, &reading)
}

#[cfg(not(feature = "hdf5"))]
fn rehearse_hdf5(checked: &Checked, _: &Reading) -> Result<(), DataError> {
    let path = checked.path().into();
    Err(DataError::WithoutHdf5 { path })
}

#[cfg(feature = "hdf5")]
fn rehearse_hdf5(checked: &Checked, reading: &Reading) -> Result<(), DataError> {
    let asked = Asked {
        env: None,
        reading,
        parts: Parts::Everything,
    };
    let source = checked.open()?;
    if let Some(groups) = Groups::of(&source) {
        return groups.read(reading).map(drop);
    }
    match source.layout {
        Layout::D4rl => D4rl::open(&source, asked)?.rehearse(),
        Layout::Minari => {
            let mut episodes = checked.episodes(&source, asked)?;
            (0..episodes.count()).try_for_each(|i| episodes.open(i)?.rehearse())
        }
    }
}

/// Has a child open the file at `path`, which this `library` reads, if there can be one.
pub(crate) fn before(
    path: &Path,
    library: &'static str,
    observations: &[String],
) -> Result<(), DataError> {
    let Some(start) = START.get() else {
        return Ok(());
    };
    let run = || {
        let mut child = start(path, observations)?;
        child.stdin(Stdio::null()).stderr(Stdio::null()).output()
    };
    let output = run().map_err(|source| DataError::Io {
        path: path.into(),
        doing: "open the file in another process first",
        source,
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    match (output.status.code(), said.trim()) {
        (Some(0), _) => Ok(()),
        (Some(1), line) if !line.is_empty() => Err(DataError::Refused(line.to_owned())),
        _ => Err(DataError::Crashed {
            path: path.into(),
            library,
            what: if was_stopped(output.status) {
                "does not come to an end"
            } else {
                "crashes"
            },
            status: output.status.to_string(),
        }),
    }
}

/// Whether a process had used up its time.
#[cfg(unix)]
fn was_stopped(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let signals = [rustix::process::Signal::KILL, rustix::process::Signal::XCPU];
    let signals = signals.map(rustix::process::Signal::as_raw);
    status.signal().is_some_and(|s| signals.contains(&s))
}

#[cfg(not(unix))]
fn was_stopped(_: ExitStatus) -> bool {
    false
}

/// Bounds this process for a file of `length` bytes.
#[cfg(unix)]
fn confine(length: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let bound = |resource, most: u64| {
        // A bound that is there already may be lower, and then stays.
        let there = getrlimit(resource);
        let least = |was: Option<u64>| Some(was.map_or(most, |was| was.min(most)));
        setrlimit(
            resource,
            Rlimit {
                current: least(there.current),
                maximum: least(there.maximum),
            },
        )
    };
    bound(Resource::Cpu, SECONDS + length / BYTES_PER_SECOND)?;
    bound(Resource::Core, 0)?;
    if let Some(used) = data_bytes() {
        let more = MEMORY.saturating_add(length.saturating_mul(4));
        bound(Resource::Data, used.saturating_add(more))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn confine(_: u64) -> io::Result<()> {
    Ok(())
}

/// Memory that counts for the bound on it, where the system tells.
#[cfg(unix)]
fn data_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmData:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kilobytes)
}

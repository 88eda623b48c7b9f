//! What can go wrong with a download: here, or at a mirror.

use std::{io, path::PathBuf, time::Duration};

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The operating system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What was tried, as in "write to it".
        doing: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Nothing can be written to the folder.
    #[error("{}: cannot write to this folder: {source}; choose another --dir or D4RL_DATASET_DIR", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The disk has no space for the file.
    #[error("{}: {needed} more bytes are needed for {id}, {free} are free on this disk; free some space or choose another --dir", path.display())]
    Space {
        /// The folder.
        path: PathBuf,
        /// The file's id.
        id: String,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that can be written.
        free: u64,
    },
    /// A file of that name is there, but it is not the one asked for. It is
    /// left alone.
    #[error("{}: is not {id}: {flaw}; move it away and fetch again", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
        /// The id asked for.
        id: String,
        /// What differs.
        flaw: Flaw,
    },
    /// No mirror had it.
    #[error("{id}: no mirror gave the file: {tried}{}; check the connection, or name other addresses with --manifest", kept(*part))]
    Mirrors {
        /// The file's id.
        id: String,
        /// Each address and what was wrong there.
        tried: String,
        /// Bytes of the partial download that was kept, to resume from.
        part: u64,
    },
    /// The file with the pins is not what it has to be.
    #[error("{}: {why}; delete it to trust the files anew", path.display())]
    Pins {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        why: String,
    },
}

fn kept(part: u64) -> String {
    match part {
        0 => String::new(),
        bytes => format!(" ({bytes} bytes are kept; the same command resumes there)"),
    }
}

/// How a file differs from the one expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Another length.
    #[error("it has {got} bytes, expected {expected}")]
    Size {
        /// The length expected.
        expected: u64,
        /// The length found.
        got: u64,
    },
    /// Another hash than the manifest's.
    #[error("its sha256 is {got}, expected {expected}")]
    Hash {
        /// The manifest's hash.
        expected: String,
        /// The hash found.
        got: String,
    },
    /// Another hash than the one that was pinned when the file first came.
    #[error("its sha256 is {got}, expected {expected} as pinned on first use in {}", pins.display())]
    Pin {
        /// The pinned hash.
        expected: String,
        /// The hash found.
        got: String,
        /// Where it is pinned.
        pins: PathBuf,
    },
    /// No HDF5 file, or a damaged one.
    #[error("{0}")]
    Content(String),
}

/// What was wrong at a mirror.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// No answer came.
    #[error("no connection: {0}")]
    Connection(String),
    /// Nothing came for this long.
    #[error("nothing came for {:?}", .0)]
    Stalled(Duration),
    /// So little came that the whole would take years.
    #[error("only {came} bytes came in {took:.0?}, expected at least {least}")]
    Drip {
        /// Bytes that came.
        came: u64,
        /// How long that took.
        took: Duration,
        /// The least that would have done.
        least: u64,
    },
    /// More came than any file has whose length nobody tells.
    #[error(
        "no length is known, and more than {0} bytes came; give the length as `bytes` in the --manifest"
    )]
    Endless(u64),
    /// The answer is not the file.
    #[error("HTTP status {0}, expected 200 or 206")]
    Status(u16),
    /// The answer's content is packed, which nobody asked for.
    #[error("content encoding `{0}`, expected none")]
    Encoding(String),
    /// The server offers another part than the one asked for.
    #[error("content range `{got}`, expected {expected}")]
    Range {
        /// The part expected.
        expected: String,
        /// The part offered.
        got: String,
    },
    /// The answer ended early.
    #[error("the download broke off after {got} bytes, expected {}: {reason}", .expected.map_or_else(|| "more".to_owned(), |n| n.to_string()))]
    Cut {
        /// The whole file's length, where known.
        expected: Option<u64>,
        /// Bytes that are here.
        got: u64,
        /// What ended it.
        reason: String,
    },
    /// What came, or was about to come, is another file.
    #[error(transparent)]
    Flaw(#[from] Flaw),
}

/// Whose fault a failed attempt was.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This machine's: another mirror would not help.
    Here(FetchError),
    /// The mirror's.
    There(MirrorError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Self::Here(error)
    }
}

impl From<MirrorError> for Trouble {
    fn from(error: MirrorError) -> Self {
        Self::There(error)
    }
}

impl From<Flaw> for Trouble {
    fn from(flaw: Flaw) -> Self {
        Self::There(flaw.into())
    }
}

//! What can be told of a file before the HDF5 library sees it.
//!
//! libhdf5 is C and was written for files one trusts. The plain cases (a web
//! page saved as `.hdf5`, a download that stopped) are recognised here, where
//! they get a precise message.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

use crate::error::DataError;

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Bytes of the superblock that are looked at; more than any version has
/// before its end-of-file address.
const HEAD: usize = 96;

/// Checks that `path` is an HDF5 file whose superblock agrees with the file's
/// length, and returns that length.
pub(crate) fn precheck(path: &Path) -> Result<u64, DataError> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => DataError::NotFound { path: path.into() },
        _ => DataError::Io {
            path: path.into(),
            doing: "read the data file",
            source,
        },
    };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut head = read_at(&mut file, 0).map_err(io)?;
    if head.is_empty() {
        return Err(DataError::Empty { path: path.into() });
    }
    let (got, hint) = describe(&head);
    // A user block may precede the superblock: HDF5 looks at 0, 512, 1024, 2048 ...
    let mut start = 0;
    while !head.starts_with(SIGNATURE) {
        start = if start == 0 { 512 } else { start * 2 };
        if start >= length {
            return Err(DataError::NotHdf5 {
                path: path.into(),
                got,
                hint,
            });
        }
        head = read_at(&mut file, start).map_err(io)?;
    }
    match declared_end(&head) {
        Some(end) if end <= length => Ok(length),
        Some(end) => Err(DataError::Truncated {
            path: path.into(),
            expected: end,
            got: length,
        }),
        None => Err(DataError::Damaged {
            path: path.into(),
            place: "superblock".into(),
            reason: "its version or its size fields are unknown, or it is cut short".into(),
        }),
    }
}

fn read_at(file: &mut File, offset: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Absolute end-of-file address, by the HDF5 file format specification
/// (superblock versions 0 to 3).
fn declared_end(head: &[u8]) -> Option<u64> {
    let (size_at, addresses_at) = match head.get(8)? {
        0 => (13, 24),
        1 => (13, 28),
        2 | 3 => (9, 12),
        _ => return None,
    };
    let size = usize::from(*head.get(size_at)?);
    if !matches!(size, 2 | 4 | 8) {
        return None;
    }
    // Base address, free space or extension address, end of file.
    let mut bytes = [0; 8];
    let at = addresses_at + 2 * size;
    bytes[..size].copy_from_slice(head.get(at..at + size)?);
    Some(u64::from_le_bytes(bytes))
}

fn describe(head: &[u8]) -> (&'static str, &'static str) {
    let text = String::from_utf8_lossy(head).trim_start().to_lowercase();
    if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        (
            "a web page",
            "the download saved an error or log-in page instead of the file: download it again",
        )
    } else if text.starts_with("version https://git-lfs") {
        (
            "a Git LFS pointer",
            "fetch the real file with `git lfs pull`",
        )
    } else if head.starts_with(b"\x1f\x8b") || head.starts_with(b"PK\x03\x04") {
        ("an archive", "unpack it first")
    } else {
        (
            "something else (no HDF5 signature)",
            "give a D4RL .hdf5 file, or download it again",
        )
    }
}

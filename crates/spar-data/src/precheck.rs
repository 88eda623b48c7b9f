//! What can be told of a file before the HDF5 library sees it.
//!
//! libhdf5 is C and was written for files one trusts. The plain cases (a web
//! page saved as `.hdf5`, a download that stopped) are recognised here, where
//! they get a precise message; and so is the one known content on which the
//! library never returns.

use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

use spar_core::files::sha256_file_seen;

use crate::error::DataError;

const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// How archives begin, those of NumPy among them.
const ZIP: &[u8] = b"PK\x03\x04";
/// How Parquet files begin.
const PARQUET: &[u8] = b"PAR1";

/// Bytes of the superblock that are looked at; more than any version has
/// before its end-of-file address.
const HEAD: usize = 96;

/// Signature and version of a global heap collection.
const HEAP: &[u8] = b"GCOL\x01";
/// Bytes searched at a time.
const PIECE: usize = 1 << 17;

/// What kind of file holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hdf5,
    /// An archive of NumPy arrays.
    Npz,
    /// Lines of text, by the file's name.
    Csv,
    /// A Parquet file, or LeRobot's folder of them.
    Parquet,
}

/// Checks that `path` is an HDF5 file whose superblock agrees with the file's
/// length, an archive that may be NumPy's, a Parquet file or one of text, and returns which,
/// and that length.
pub(crate) fn precheck(path: &Path) -> Result<(Kind, u64), DataError> {
    let io = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => DataError::NotFound { path: path.into() },
        _ => DataError::Io {
            path: path.into(),
            doing: "read the data file",
            source,
        },
    };
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if let Some(what) = no_file(&path.metadata().map_err(io)?) {
        return Err(DataError::NotAFile {
            path: path.into(),
            what,
        });
    }
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut head = read_at(&mut file, 0).map_err(io)?;
    if head.is_empty() {
        return Err(DataError::Empty { path: path.into() });
    }
    if head.starts_with(ZIP) {
        return Ok((Kind::Npz, length));
    }
    if head.starts_with(PARQUET) {
        return Ok((Kind::Parquet, length));
    }
    let csv = |extension: &std::ffi::OsStr| extension.eq_ignore_ascii_case("csv");
    if !head.starts_with(SIGNATURE) && path.extension().is_some_and(csv) {
        return Ok((Kind::Csv, length));
    }
    let (got, hint) = recognise(&head).unwrap_or((
        "something else (no HDF5 signature)",
        "give a D4RL .hdf5 file, or download it again",
    ));
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
    if names_a_driver(&head) {
        return Err(DataError::Damaged {
            path: path.into(),
            place: "superblock".into(),
            reason: "it names a driver, as one of several files that are read together does".into(),
        });
    }
    match declared_end(&head) {
        Some(end) if end <= length => Ok((Kind::Hdf5, length)),
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

/// What else than a file or a folder something is.
#[cfg(unix)]
fn no_file(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        kind.is_dir().then_some("a folder")
    }
}

#[cfg(not(unix))]
fn no_file(metadata: &Metadata) -> Option<&'static str> {
    metadata.is_dir().then_some("a folder")
}

/// Bytes of the header of an object in it, and of the collection's own.
const OBJECT: u64 = 16;

/// What one pass over all bytes of a file told.
pub(crate) struct Scanned {
    /// Their hash.
    pub(crate) sha256: String,
    /// See [`heaps_end`].
    pub(crate) heaps_end: bool,
}

/// Hashes the file at `path` and looks at its heaps on the way.
pub(crate) fn scan(path: &Path) -> io::Result<Scanned> {
    let mut heaps = Heaps::of(path)?;
    let sha256 = sha256_file_seen(path, |offset, piece| heaps.see(offset, piece))?;
    Ok(Scanned {
        sha256,
        heaps_end: heaps.end,
    })
}

/// Whether libhdf5 comes to an end of every global heap (where variable-length
/// strings live) in the file at `path`.
///
/// Version 2.2.0 loops for ever on a heap object whose size decodes to no
/// progress (`H5HG__cache_heap_deserialize`). The objects are walked here as it
/// does, and only where it would stop may such strings be asked for.
pub(crate) fn heaps_end(path: &Path) -> io::Result<bool> {
    let mut heaps = Heaps::of(path)?;
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(heaps.end),
            n => heaps.see(offset, &piece[..n])?,
        }
        offset = file.stream_position()?;
    }
}

/// A search for heaps in the pieces of a file.
struct Heaps {
    file: File,
    /// The last bytes seen, fewer than a mark has.
    last: Vec<u8>,
    /// How many more objects there can be: heaps may pretend to overlap, and real ones
    /// do not.
    objects: u64,
    /// Whether all so far come to an end.
    end: bool,
}

impl Heaps {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            objects: file.metadata()?.len() / OBJECT,
            file,
            last: Vec::new(),
            end: true,
        })
    }

    /// The next piece, which lies at `offset`.
    fn see(&mut self, offset: u64, piece: &[u8]) -> io::Result<()> {
        let few = HEAP.len() - 1;
        let seam = [&self.last, &piece[..few.min(piece.len())]].concat();
        let before = offset - self.last.len() as u64;
        let across = memchr::memmem::find_iter(&seam, HEAP).map(|at| before + at as u64);
        let within = memchr::memmem::find_iter(piece, HEAP).map(|at| offset + at as u64);
        for at in across.chain(within) {
            self.end = self.end && heap_ends(&mut self.file, at, &mut self.objects)?;
        }
        // A piece may be shorter than a mark.
        let mut last = [&self.last, &piece[piece.len().saturating_sub(few)..]].concat();
        last.drain(..last.len().saturating_sub(few));
        self.last = last;
        Ok(())
    }
}

/// Whether the heap at `offset` of the file ends, having taken what was looked at from
/// the number of objects that may be.
fn heap_ends(file: &mut File, offset: u64, objects: &mut u64) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    let mut header = [0; OBJECT as usize];
    file.seek(SeekFrom::Start(offset))?;
    if file.read_exact(&mut header).is_err() {
        return Ok(true); // cut off: an error in the library, not a loop
    }
    let size = number(&header[8..]);
    if size > length.saturating_sub(offset) {
        return Ok(true); // likewise
    }
    let mut at = OBJECT;
    // An object may claim to be longer than anything can be.
    while at.checked_add(OBJECT).is_some_and(|end| end <= size) {
        let Some(less) = objects.checked_sub(1) else {
            return Ok(false);
        };
        *objects = less;
        file.seek(SeekFrom::Start(offset + at))?;
        file.read_exact(&mut header)?;
        let (index, bytes) = (number(&header[..2]), number(&header[8..]));
        // Free space, which has index 0, counts its header.
        let need = match index {
            0 => Some(bytes),
            _ => bytes
                .checked_next_multiple_of(8)
                .and_then(|b| b.checked_add(OBJECT)),
        };
        match need {
            Some(need @ OBJECT..) => at = at.saturating_add(need),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn read_at(file: &mut File, offset: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Absolute end-of-file address, by the HDF5 file format specification
/// (superblock versions 0 to 3).
fn declared_end(head: &[u8]) -> Option<u64> {
    let (sizes_at, addresses_at) = match head.get(8)? {
        0 => (13, 24),
        1 => (13, 28),
        2 | 3 => (9, 12),
        _ => return None,
    };
    // Addresses and lengths have 8 bytes in every file of the libraries in use.
    if head.get(sizes_at..sizes_at + 2)? != [8, 8] {
        return None;
    }
    // Base address, free space or extension address, end of file.
    let end = head.get(addresses_at + 16..addresses_at + 24)?;
    end.try_into().ok().map(u64::from_le_bytes)
}

/// Whether the superblock, of a version that can, has the address of a driver's block:
/// the library takes as much memory as that block says it has bytes, up to 4 GiB.
fn names_a_driver(head: &[u8]) -> bool {
    let at = match head.get(8) {
        Some(0) => 24,
        Some(1) => 28,
        _ => return false,
    };
    // The last of four addresses; all ones are none.
    let driver = head.get(at + 24..at + 32);
    driver.is_some_and(|address| address != [0xff; 8])
}

/// What a file that starts with `head` is instead of an HDF5 file, where that
/// can be told, and what to do about it.
pub(crate) fn recognise(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(head).trim_start().to_lowercase();
    if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        Some((
            "a web page",
            "the download saved an error or log-in page instead of the file: download it again",
        ))
    } else if text.starts_with("version https://git-lfs") {
        Some((
            "a Git LFS pointer",
            "fetch the real file with `git lfs pull`",
        ))
    } else if head.starts_with(b"\x1f\x8b") || head.starts_with(b"PK\x03\x04") {
        Some(("an archive", "unpack it first"))
    } else {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A heap of one object without progress, wherever a piece ends within its mark.
    #[test]
    fn a_heap_is_found_across_pieces() {
        let mut bytes = vec![0u8; 64];
        bytes[24..29].copy_from_slice(HEAP);
        bytes[32..40].copy_from_slice(&32u64.to_le_bytes());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        assert!(!heaps_end(file.path()).unwrap());
        assert!(!scan(file.path()).unwrap().heaps_end);
        for size in 1..40 {
            let mut heaps = Heaps::of(file.path()).unwrap();
            for (i, piece) in bytes.chunks(size).enumerate() {
                heaps.see((i * size) as u64, piece).unwrap();
            }
            assert!(!heaps.end, "pieces of {size}");
        }
        // The same, with an object that fills the heap.
        bytes[48..56].copy_from_slice(&16u64.to_le_bytes());
        std::fs::write(file.path(), &bytes).unwrap();
        assert!(heaps_end(file.path()).unwrap());
        // And with one that ends past all numbers.
        for bytes_of_object in [u64::MAX, u64::MAX - 15] {
            bytes[48..56].copy_from_slice(&bytes_of_object.to_le_bytes());
            std::fs::write(file.path(), &bytes).unwrap();
            assert!(heaps_end(file.path()).unwrap());
        }
        // Each of many heaps reaches to the end, past the headers of the others.
        let mut nested = Vec::new();
        for left in (1..2000u64).rev() {
            nested.extend_from_slice(b"GCOL\x01\0\0\0");
            nested.extend_from_slice(&(32 * left).to_le_bytes());
            nested.extend_from_slice(&[0; 8]);
            nested.extend_from_slice(&32u64.to_le_bytes());
        }
        std::fs::write(file.path(), &nested).unwrap();
        assert!(!heaps_end(file.path()).unwrap());
    }
}

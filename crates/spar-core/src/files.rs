//! The one way files are written, and their hashes.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use crate::{hash::hex, partial};

pub use crate::{hash::sha256_hex, located::in_file};

/// Writes `bytes` to `path`, whose folder is made where missing, so that a reader sees
/// the old file or the whole new one, never a part: a temporary file beside it is
/// written, synced and renamed over it. On error nothing is left behind and the old file
/// stands.
///
/// # Errors
/// Any I/O error, with `path` in its message.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder_of(path)).map_err(|e| in_file(e, path))?;
    replace_file(path, bytes)
}

/// [`write_atomic`] in a folder that has to be there: one that was removed meanwhile is
/// not made anew.
///
/// # Errors
/// Any I/O error, with `path` in its message.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let folder = folder_of(path);
        let mut file = partial::file_in(folder, "")?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let _written = file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|e| in_file(e, path))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Seconds since 1970, by this machine's clock: for records, never for what is computed.
pub fn unix_time() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Opens the file at `path` to be read and written, made if it is missing and otherwise
/// as it is: a file that others may have put something in the place of, as a lock or a
/// partial download in a folder that is shared.
///
/// # Errors
/// Any I/O error, with `path` in its message; one of the kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is a link, has other names, is no
/// file or another user's: what is written to it would go elsewhere.
pub fn open_own(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    not_through_links(&mut options);
    let foreign = |what: &str| {
        let why = format!(
            "{}: is {what}, expected a file of one's own; remove it",
            path.display()
        );
        io::Error::new(io::ErrorKind::InvalidInput, why)
    };
    if path.is_symlink() {
        return Err(foreign("a link"));
    }
    let file = options.open(path).map_err(|e| in_file(e, path))?;
    let metadata = file.metadata().map_err(|e| in_file(e, path))?;
    match why_foreign(&metadata) {
        None => Ok(file),
        Some(what) => Err(foreign(what)),
    }
}

#[cfg(unix)]
fn not_through_links(options: &mut fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    // A pipe would wait for its other end.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
}

#[cfg(not(unix))]
fn not_through_links(_: &mut fs::OpenOptions) {}

#[cfg(unix)]
fn why_foreign(metadata: &fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    if !metadata.is_file() {
        Some("no file")
    } else if metadata.nlink() > 1 {
        Some("a file with other names")
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Some("another user's")
    } else {
        None
    }
}

#[cfg(not(unix))]
fn why_foreign(metadata: &fs::Metadata) -> Option<&'static str> {
    (!metadata.is_file()).then_some("no file")
}

/// SHA-256 of the file at `path` in lower-case hexadecimal, read in pieces.
///
/// # Errors
/// Any I/O error, with `path` in its message.
pub fn sha256_file(path: &Path) -> io::Result<String> {
    sha256_file_seen(path, |_, _| Ok(()))
}

/// [`sha256_file`], and each piece, with its place in the file, is shown to `see` on the
/// way, so that nobody has to read the file again to look for something.
///
/// # Errors
/// Any I/O error, the first of `see` among them, with `path` in its message.
pub fn sha256_file_seen(
    path: &Path,
    mut see: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<String> {
    let mut read = || {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        // Stays in a core's own cache.
        let mut piece = vec![0; 1 << 17];
        let mut offset = 0;
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hex(&hash.finalize())),
                n => {
                    hash.update(&piece[..n]);
                    see(offset, &piece[..n])?;
                    offset += n as u64;
                }
            }
        }
    };
    read().map_err(|e| in_file(e, path))
}

/// This program's folder among the user's data: `spar` in `$XDG_DATA_HOME`, else in
/// `~/.local/share` (XDG base directories; a relative path there counts as none). `None`
/// where neither variable is set.
pub fn data_home() -> Option<PathBuf> {
    let set = |name: &str| {
        let path = env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let home = || set("HOME").map(|home| home.join(".local/share"));
    set("XDG_DATA_HOME")
        .or_else(home)
        .map(|home| home.join("spar"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file");
        write_atomic(&path, b"a long first version").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        let error = write_atomic(&dir.path().join("file/below"), b"x").unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_opened_through_links() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("other"), "kept").unwrap();
        symlink(at("other"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::hard_link(at("other"), at("name")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for name in ["link", "dangling", "name", "other"] {
            let error = open_own(&at(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
            assert!(error.to_string().contains("remove it"), "{error}");
        }
        assert!(open_own(&at("folder")).is_err());
        assert!(!at("nowhere").exists());
        assert_eq!(fs::read(at("other")).unwrap(), b"kept");
        let mut file = open_own(&at("own")).unwrap();
        file.write_all(b"1").unwrap();
        assert!(open_own(&at("own")).is_ok());
    }

    #[test]
    fn hashes_are_those_of_fips_180() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"abc").unwrap();
        assert_eq!(sha256_file(file.path()).unwrap(), abc);
        // Every piece is seen, where it is.
        let long: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        fs::write(file.path(), &long).unwrap();
        let mut seen = Vec::new();
        let hash = sha256_file_seen(file.path(), |offset, piece| {
            assert_eq!(offset, seen.len() as u64);
            seen.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(hash.unwrap(), sha256_hex(&long));
        assert_eq!(seen, long);
    }
}

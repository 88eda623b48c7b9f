//! Downloading the files of a manifest into D4RL's cache folder, so that files a
//! user already has are used and ours serve D4RL.
//!
//! A file is written as `NAME.part` and gets its name when its length and
//! sha256 are right: nothing else ever bears it. A download that broke off goes
//! on where it stopped, from the same mirror or the next. One process at a time
//! works on a file; others wait and then find it.
//!
//! A file whose hash the manifest does not know is trusted on first use: its
//! hash is pinned in the folder's `spar-pins.toml` and must not change later.
//! That makes it [`Proof::Pinned`], which is less than [`Proof::Official`]: the
//! latter needs the built-in manifest's hash, whatever manifest the addresses
//! came from.

mod error;
mod http;
mod part;
mod pins;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use spar_core::{files::open_own, sha256_file};
use ureq::Agent;

use error::Trouble;
pub use error::{FetchError, Flaw, MirrorError};
use part::{Part, io_error};
use pins::Pin;

use crate::{
    manifest::{self, Entry},
    precheck::{Kind, precheck},
};

/// Attempts at one mirror that bring less than [`PROGRESS`] before it is given up.
const ATTEMPTS: u32 = 3;
/// Bytes after which a download counts as alive, so that it may break off again.
const PROGRESS: u64 = 1 << 20;

/// What a file is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The built-in manifest has its hash: it is D4RL's file.
    Official,
    /// Another manifest has its hash.
    Listed,
    /// Its hash is the one pinned on first use. Nobody else vouches for it.
    Pinned,
}

/// A file that is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// What it is known by.
    pub proof: Proof,
    /// Whether it was pinned just now.
    pub first_use: bool,
    /// Whether it had to be downloaded.
    pub downloaded: bool,
}

/// How an entry of a manifest stands in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not there.
    Absent,
    /// So many bytes of it are.
    Partial(u64),
    /// It is there and proven.
    Present {
        /// Where it is.
        path: PathBuf,
        /// What it is known by.
        proof: Proof,
    },
    /// It is there, but no hash is known or pinned to prove it by.
    Unproven(PathBuf),
    /// A file of its name is there that is another one.
    Wrong(PathBuf, Flaw),
}

/// Who looks on while one file is fetched.
pub trait Watch {
    /// Another process is at work on the file; it is waited for.
    fn waits(&self);
    /// Bytes come from `url`: `from` are here already, `whole` is the file's length.
    fn began(&self, url: &str, from: u64, whole: Option<u64>);
    /// So many bytes are here.
    fn reached(&self, bytes: u64);
    /// The file's hash is computed.
    fn checks(&self);
    /// An attempt at `url` failed; `next` says what is done about it.
    fn failed(&self, url: &str, why: &MirrorError, next: &str);
}

/// Fetches files into one folder.
pub struct Fetcher {
    agent: Agent,
    stall: Duration,
    folder: PathBuf,
    elsewhere: Vec<PathBuf>,
    limit: u64,
}

impl Fetcher {
    /// Files go into `folder`; those of a known hash that are in one of the
    /// folders `elsewhere` are used where they are. A mirror that sends nothing
    /// for `stall` is given up.
    pub fn new(folder: PathBuf, elsewhere: Vec<PathBuf>, stall: Duration) -> Self {
        Self {
            agent: http::agent(stall),
            stall,
            folder,
            elsewhere,
            limit: http::UNKNOWN,
        }
    }

    /// Takes at most so many bytes of a file whose length neither the manifest nor the
    /// server tells, instead of 32 GiB.
    #[must_use]
    pub fn limited(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Finds the file of `entry` or downloads it; returns when it is in place
    /// and its length and hash are right.
    ///
    /// # Errors
    /// If the folder cannot be written to or is full, another file is in the
    /// way, or no mirror has the file. A partial download is kept.
    pub fn fetch(&self, entry: &Entry, watch: &dyn Watch) -> Result<Fetched, FetchError> {
        if let Some(found) = self.present(entry, watch)? {
            return Ok(found);
        }
        fs::create_dir_all(&self.folder).map_err(|source| self.unwritable(source))?;
        let path = self.folder.join(format!(".{}.lock", entry.name));
        let lock = lock(&path, watch).map_err(|source| self.unwritable(source))?;
        // Whoever held the lock may have fetched it.
        let fetched = match self.present(entry, watch)? {
            Some(found) => found,
            None => self.download(entry, watch)?,
        };
        // Whoever still waits for the removed lock finds the file.
        let _ = fs::remove_file(&path);
        drop(lock);
        Ok(fetched)
    }

    /// The file in which hashes are pinned on first use.
    pub fn pins(&self) -> PathBuf {
        pins::path(&self.folder)
    }

    fn unwritable(&self, source: io::Error) -> FetchError {
        FetchError::Folder {
            path: self.folder.clone(),
            source,
        }
    }

    /// How the file of `entry` stands: its hash is computed if it is there.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn state(&self, entry: &Entry) -> Result<State, FetchError> {
        if let Some((path, sha256)) = self.elsewhere(entry)? {
            let proof = proof(entry, &sha256);
            return Ok(State::Present { path, proof });
        }
        let path = self.folder.join(&entry.name);
        if !path.exists() {
            return Ok(match part::waiting(&path) {
                0 => State::Absent,
                bytes => State::Partial(bytes),
            });
        }
        let pin = self.pin(entry)?;
        Ok(match self.check(entry, pin.as_ref(), &path)? {
            Err(flaw) => State::Wrong(path, flaw),
            Ok(_) if entry.sha256.is_none() && pin.is_none() => State::Unproven(path),
            Ok(sha256) => State::Present {
                proof: proof(entry, &sha256),
                path,
            },
        })
    }

    /// The file of `entry` if it is there already.
    fn present(&self, entry: &Entry, watch: &dyn Watch) -> Result<Option<Fetched>, FetchError> {
        let path = self.folder.join(&entry.name);
        if path.exists() {
            watch.checks();
            let pin = self.pin(entry)?;
            return match self.check(entry, pin.as_ref(), &path)? {
                Ok(sha256) => self
                    .accept(entry, pin.as_ref(), path, sha256, false)
                    .map(Some),
                Err(flaw) => Err(FetchError::Occupied {
                    path,
                    id: entry.id.clone(),
                    flaw,
                }),
            };
        }
        match self.elsewhere(entry)? {
            Some((path, sha256)) => self.accept(entry, None, path, sha256, false).map(Some),
            None => Ok(None),
        }
    }

    /// The file of a known hash in another folder, and that hash.
    fn elsewhere(&self, entry: &Entry) -> Result<Option<(PathBuf, String)>, FetchError> {
        if entry.sha256.is_none() || self.folder.join(&entry.name).exists() {
            return Ok(None);
        }
        for folder in &self.elsewhere {
            let path = folder.join(&entry.name);
            if path.is_file()
                && let Ok(sha256) = self.check(entry, None, &path)?
            {
                return Ok(Some((path, sha256)));
            }
        }
        Ok(None)
    }

    fn pin(&self, entry: &Entry) -> Result<Option<Pin>, FetchError> {
        match entry.sha256 {
            Some(_) => Ok(None),
            None => pins::find(&self.folder, &entry.name),
        }
    }

    /// The hash of the file at `path`, or how it is not the one of `entry`.
    fn check(
        &self,
        entry: &Entry,
        pin: Option<&Pin>,
        path: &Path,
    ) -> Result<Result<String, Flaw>, FetchError> {
        let io = |e| io_error(path, "read it", e);
        let got = path.metadata().map_err(io)?.len();
        let expected = entry.bytes.or(pin.map(|pin| pin.bytes));
        if let Some(expected) = expected.filter(|&expected| expected != got) {
            return Ok(Err(Flaw::Size { expected, got }));
        }
        let got = sha256_file(path).map_err(io)?;
        let flaw = match (&entry.sha256, pin) {
            (Some(expected), _) if *expected != got => Flaw::Hash {
                expected: expected.clone(),
                got,
            },
            (None, Some(pin)) if pin.sha256 != got => Flaw::Pin {
                expected: pin.sha256.clone(),
                got,
                pins: pins::path(&self.folder),
            },
            // Nothing else speaks for such a file than that it is one.
            (None, None) => match precheck(path) {
                Ok((Kind::Hdf5, _)) => return Ok(Ok(got)),
                Ok((Kind::Npz, _)) => {
                    Flaw::Content("it is an archive, expected an HDF5 file".into())
                }
                Ok((Kind::Parquet, _)) => {
                    Flaw::Content("it is a Parquet file, expected an HDF5 file".into())
                }
                Ok((Kind::Csv, _)) => Flaw::Content("it is text, expected an HDF5 file".into()),
                Err(error) => Flaw::Content(error.to_string()),
            },
            _ => return Ok(Ok(got)),
        };
        Ok(Err(flaw))
    }

    /// Pins a checked file if it has to be, and says what it is known by.
    fn accept(
        &self,
        entry: &Entry,
        pin: Option<&Pin>,
        path: PathBuf,
        sha256: String,
        downloaded: bool,
    ) -> Result<Fetched, FetchError> {
        let bytes = path
            .metadata()
            .map_err(|e| io_error(&path, "read it", e))?
            .len();
        let first_use = entry.sha256.is_none() && pin.is_none();
        if first_use {
            let pin = Pin {
                sha256: sha256.clone(),
                bytes,
            };
            pins::add(&self.folder, &entry.name, pin)?;
        }
        Ok(Fetched {
            proof: proof(entry, &sha256),
            path,
            sha256,
            bytes,
            first_use,
            downloaded,
        })
    }

    /// Downloads the file of `entry` from the first mirror that has it.
    fn download(&self, entry: &Entry, watch: &dyn Watch) -> Result<Fetched, FetchError> {
        let target = self.folder.join(&entry.name);
        let pin = self.pin(entry)?;
        let mut part = Part::open(&target)?;
        let mut tried = Vec::new();
        for (i, url) in entry.urls.iter().enumerate() {
            match self.mirror(entry, pin.as_ref(), url, &mut part, watch) {
                Ok(sha256) => {
                    part.finish(&target)?;
                    return self.accept(entry, pin.as_ref(), target, sha256, true);
                }
                Err(Trouble::Here(error)) => {
                    part.leave();
                    return Err(error);
                }
                Err(Trouble::There(why)) => {
                    if i + 1 < entry.urls.len() {
                        watch.failed(url, &why, "trying the next mirror");
                    }
                    tried.push(format!("{url}: {why}"));
                }
            }
        }
        Err(FetchError::Mirrors {
            id: entry.id.clone(),
            tried: tried.join("; "),
            part: part.leave(),
        })
    }

    /// Completes `part` from `url`, in as many attempts as make sense, and
    /// returns its hash once it is right.
    fn mirror(
        &self,
        entry: &Entry,
        pin: Option<&Pin>,
        url: &str,
        part: &mut Part,
        watch: &dyn Watch,
    ) -> Result<String, Trouble> {
        let proven = entry.sha256.is_some() || pin.is_some();
        let (mut attempts, mut anew, mut restarted) = (0, false, false);
        loop {
            let start = part.len();
            let from = match std::mem::take(&mut anew) {
                true => 0,
                false => part.resumable(url, proven),
            };
            let request = http::Request {
                agent: &self.agent,
                stall: self.stall,
                url,
                entry,
                from,
                limit: self.limit,
            };
            let got = match entry.bytes {
                Some(bytes) if proven && bytes == from => Ok(()),
                _ => request.run(part, watch),
            };
            let complete = got.is_ok();
            let why = match got {
                Ok(()) => {
                    watch.checks();
                    match self.check(entry, pin, part.path())? {
                        Ok(sha256) => return Ok(sha256),
                        Err(flaw) => {
                            part.clear()?;
                            flaw.into()
                        }
                    }
                }
                Err(Trouble::There(why)) => why,
                Err(here) => return Err(here),
            };
            match why {
                // The old bytes are as likely to be wrong as the mirror.
                _ if (complete || matches!(why, MirrorError::Range { .. }))
                    && from > 0
                    && !restarted =>
                {
                    (anew, restarted) = (true, true);
                    watch.failed(url, &why, "starting anew");
                }
                MirrorError::Range { .. }
                | MirrorError::Flaw(_)
                | MirrorError::Encoding(_)
                | MirrorError::Drip { .. }
                | MirrorError::Endless(_) => {
                    return Err(why.into());
                }
                MirrorError::Status(code) if !passing(code) => return Err(why.into()),
                _ => {
                    let gained = part.len().saturating_sub(start);
                    attempts = if gained >= PROGRESS { 1 } else { attempts + 1 };
                    if attempts >= ATTEMPTS {
                        return Err(why.into());
                    }
                    watch.failed(url, &why, "trying again");
                    if gained == 0 {
                        sleep(Duration::from_secs(attempts.into()));
                    }
                }
            }
        }
    }
}

/// Whether a status may be another one in a moment.
fn passing(status: u16) -> bool {
    status >= 500 || [408, 429].contains(&status)
}

/// What the file of `entry` with this hash, which is right, is known by.
fn proof(entry: &Entry, sha256: &str) -> Proof {
    match manifest::by_sha256(sha256) {
        Some(official) if official.id == entry.id => Proof::Official,
        _ if entry.sha256.is_some() => Proof::Listed,
        _ => Proof::Pinned,
    }
}

/// Locks the file at `path`, which is created; waits for another process.
fn lock(path: &Path, watch: &dyn Watch) -> io::Result<File> {
    let file = open_own(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            watch.waits();
            file.lock()?;
            Ok(file)
        }
        // Some network file systems have no locks: alone, nothing is lost.
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn official_is_who_has_the_built_in_hash_of_his_id() {
        let official = &manifest::files()[0];
        let sha256 = official.sha256.as_deref().unwrap();
        let mut entry = official.clone();
        assert_eq!(proof(&entry, sha256), Proof::Official);
        // A manifest of one's own need not know the hash ...
        entry.sha256 = None;
        assert_eq!(proof(&entry, sha256), Proof::Official);
        assert_eq!(proof(&entry, &"0".repeat(64)), Proof::Pinned);
        // ... and cannot make official what is not.
        entry.sha256 = Some("0".repeat(64));
        assert_eq!(proof(&entry, &"0".repeat(64)), Proof::Listed);
        entry = manifest::files()[1].clone();
        entry.sha256 = official.sha256.clone();
        assert_eq!(proof(&entry, sha256), Proof::Listed);
    }
}

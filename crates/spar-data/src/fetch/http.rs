//! One attempt to get the rest of a file from one address.

use std::{
    io::{self, Read},
    path::Path,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
};

use super::{
    Watch,
    error::{FetchError, Flaw, MirrorError, Trouble},
    part::Part,
};
use crate::{manifest::Entry, precheck::recognise};

/// Bytes read at a time.
const PIECE: usize = 1 << 18;
/// The most of a file whose length neither the manifest nor the server tells: four times
/// D4RL's largest.
pub(super) const UNKNOWN: u64 = 32 << 30;
/// The least that has to come while a silent server would be given up, a second: a tenth of
/// what a telephone line brought.
const DRIP: u64 = 512;
/// Bytes by which a web page or an archive is told from data.
const HEAD: usize = 96;

/// A client that gives up on a server that says nothing for `stall`. A status
/// that is no success is no error to it, since a page may say more.
pub(super) fn agent(stall: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(stall))
        .timeout_connect(Some(stall))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .user_agent(concat!("spar/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Where a download is from, and how it is asked for.
pub(super) struct Request<'a> {
    pub(super) agent: &'a Agent,
    pub(super) stall: Duration,
    pub(super) url: &'a str,
    pub(super) entry: &'a Entry,
    /// The first byte asked for; with 0 the part is made anew.
    pub(super) from: u64,
    /// The most bytes that are taken of a file whose length is not known.
    pub(super) limit: u64,
}

impl Request<'_> {
    /// Bytes that have to come while a silent server would be given up.
    fn least(&self) -> u64 {
        (DRIP as f64 * self.stall.as_secs_f64()) as u64
    }

    /// Appends to `part` until the file is whole. On an error it holds what came;
    /// what was there stays unless data came that replace it.
    pub(super) fn run(&self, part: &mut Part, watch: &dyn Watch) -> Result<(), Trouble> {
        let from = self.from;
        // A packed answer could neither be resumed nor measured.
        let mut request = self
            .agent
            .get(self.url)
            .header(header::ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
            if let Some(validator) = part.validator(self.url) {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let mut response = request.call().map_err(|error| self.unanswered(&error))?;
        let total = self.check(&response)?;
        if let (Some(expected), Some(got)) = (self.entry.bytes, total)
            && expected != got
        {
            return Err(Flaw::Size { expected, got }.into());
        }
        let whole = total.or(self.entry.bytes);
        if let Some(whole) = whole {
            disk_space(self.entry, part, whole)?;
        }
        let fresh = response.status() == StatusCode::OK;
        let tag = validator(&response);
        let mut body = response.body_mut().as_reader();
        let mut piece = vec![0; PIECE];
        let mut read = if fresh {
            let head = fill(&mut body, &mut piece, HEAD);
            if let Some((what, _)) = recognise(&piece[..head.count.min(HEAD)]) {
                return Err(not_data(what).into());
            }
            part.begin(self.url, tag)?;
            head
        } else {
            fill(&mut body, &mut piece, 1)
        };
        watch.began(self.url, part.len(), whole);
        // Every stretch of time has to bring something.
        let mut stretch = (Instant::now(), part.len());
        loop {
            part.write(&piece[..read.count])?;
            watch.reached(part.len());
            if whole.is_none() && part.len() > self.limit {
                part.clear()?;
                return Err(MirrorError::Endless(self.limit).into());
            }
            let (since, before) = stretch;
            if since.elapsed() >= self.stall {
                let (came, least) = (part.len() - before, self.least());
                if came < least && read.end.is_none() {
                    let took = since.elapsed();
                    return Err(MirrorError::Drip { came, took, least }.into());
                }
                stretch = (Instant::now(), part.len());
            }
            if whole.is_some_and(|whole| part.len() > whole) {
                return Ok(()); // The check of the whole says by how much.
            }
            if let Some(end) = read.end {
                return Ok(self.ended(end, part.len(), whole)?);
            }
            read = fill(&mut body, &mut piece, 1);
        }
    }

    /// Refuses what is no answer to the request; returns the whole file's length
    /// where it is told.
    fn check(&self, response: &Response<Body>) -> Result<Option<u64>, MirrorError> {
        let from = self.from;
        let text = |name| header_text(response, name);
        let status = response.status();
        let total = match status {
            StatusCode::OK => text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            StatusCode::PARTIAL_CONTENT if from > 0 => {
                let got = text(header::CONTENT_RANGE).unwrap_or("none");
                let expected = format!("bytes {from}-");
                let total = got
                    .strip_prefix(&expected)
                    .and_then(|rest| rest.split_once('/'));
                let (_, total) = total.ok_or_else(|| MirrorError::Range {
                    expected: format!("{expected}END/TOTAL"),
                    got: got.to_owned(),
                })?;
                total.parse().ok()
            }
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                return Err(MirrorError::Range {
                    expected: format!("bytes {from}-END/TOTAL"),
                    got: text(header::CONTENT_RANGE).unwrap_or("none").to_owned(),
                });
            }
            _ => return Err(MirrorError::Status(status.as_u16())),
        };
        if text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
            return Err(not_data("a web page"));
        }
        match text(header::CONTENT_ENCODING) {
            None | Some("identity") => Ok(total),
            Some(packed) => Err(MirrorError::Encoding(packed.to_owned())),
        }
    }

    /// Checks the end of a body when `got` bytes are here.
    fn ended(&self, end: io::Result<()>, got: u64, whole: Option<u64>) -> Result<(), MirrorError> {
        let reason = match end {
            Ok(()) if whole.is_none_or(|whole| got >= whole) => return Ok(()),
            Ok(()) => "the server ended it".to_owned(),
            Err(e) if timed_out(&e) => return Err(MirrorError::Stalled(self.stall)),
            Err(e) => e.to_string(),
        };
        Err(MirrorError::Cut {
            expected: whole,
            got,
            reason,
        })
    }

    fn unanswered(&self, error: &ureq::Error) -> MirrorError {
        match error {
            ureq::Error::Timeout(_) => MirrorError::Stalled(self.stall),
            ureq::Error::Io(e) if timed_out(e) => MirrorError::Stalled(self.stall),
            other => MirrorError::Connection(other.to_string()),
        }
    }
}

/// Whether a read or a connection took too long, by the system's word or by the
/// client's wrapped in it.
fn timed_out(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

fn not_data(what: &str) -> MirrorError {
    MirrorError::Flaw(Flaw::Content(format!(
        "it is {what}, expected an HDF5 file"
    )))
}

/// What one read gave.
struct Piece {
    count: usize,
    /// Whether and how the body has ended after it.
    end: Option<io::Result<()>>,
}

/// Reads until there are `wanted` bytes or the body ends.
fn fill(body: &mut impl Read, piece: &mut [u8], wanted: usize) -> Piece {
    let mut count = 0;
    while count < wanted {
        let end = match body.read(&mut piece[count..]) {
            Ok(0) => Ok(()),
            Ok(more) => {
                count += more;
                continue;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        return Piece {
            count,
            end: Some(end),
        };
    }
    Piece { count, end: None }
}

fn header_text(response: &Response<Body>, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// What `If-Range` takes: a strong entity tag, else the date of the last change.
fn validator(response: &Response<Body>) -> Option<String> {
    let tag = header_text(response, header::ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| header_text(response, header::LAST_MODIFIED))
        .map(str::to_owned)
}

/// Refuses to start what the disk cannot hold, where the system tells.
#[cfg(unix)]
fn disk_space(entry: &Entry, part: &Part, whole: u64) -> Result<(), FetchError> {
    let folder = part.path().parent().unwrap_or(Path::new("."));
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = whole.saturating_sub(part.len());
    if needed > free {
        return Err(FetchError::Space {
            path: folder.into(),
            id: entry.id.clone(),
            needed,
            free,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn disk_space(_: &Entry, _: &Part, _: u64) -> Result<(), FetchError> {
    Ok(())
}

//! The same over a Unix socket.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Write},
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use spar_core::Signals;
use spar_policy::Policy;

use super::frames::{Format, OnFault, answer};
use crate::{failure::Interrupted, output};

/// Time between two looks at whether somebody asks for a connection, or for the end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Most programs that are connected at a time.
const MOST_CONNECTIONS: usize = 64;

/// Listens at `path` until a signal asks for the end.
pub(super) fn listen(policy: Policy, format: Format, path: &Path) -> Result<()> {
    remove_stale(path)?;
    let signals = Signals::listen().context("cannot listen for signals")?;
    let listener = UnixListener::bind(path);
    let listener = listener.with_context(|| format!("cannot listen at {}", path.display()))?;
    let _socket = Socket(path);
    listener.set_nonblocking(true)?;
    output::say(&format!(
        "listening at {}: {} numbers in, {} out",
        path.display(),
        policy.obs_dim(),
        policy.act_dim()
    ));
    let (policy, connected) = (Arc::new(policy), Arc::new(AtomicUsize::new(0)));
    loop {
        if let Some(asked) = signals.asked() {
            return Err(Interrupted { asked }.into());
        }
        match listener.accept() {
            Ok((stream, _)) => {
                if connected.load(Ordering::SeqCst) >= MOST_CONNECTIONS {
                    output::note(&format!(
                        "a program was turned away: {MOST_CONNECTIONS} are connected"
                    ));
                    // One that is gone, or does not read, has no use for it.
                    let _ = turn_away(format, stream);
                    continue;
                }
                connected.fetch_add(1, Ordering::SeqCst);
                let (policy, connected) = (Arc::clone(&policy), Arc::clone(&connected));
                thread::spawn(move || {
                    if let Err(why) = serve(&policy, format, stream) {
                        output::note(&format!("a connection ended: {why}"));
                    }
                    connected.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOOK_EVERY),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).context("cannot accept a connection"),
        }
    }
}

/// Says to a program why it gets no answers, where its answers have a form for it: single
/// numbers have none, and there the end of the stream says it.
fn turn_away(format: Format, mut stream: UnixStream) -> io::Result<()> {
    let Format::Json = format else {
        return Ok(());
    };
    // Not to wait: a line fits into the buffer of a new connection.
    stream.set_nonblocking(true)?;
    let why = format!("{MOST_CONNECTIONS} programs are connected, the most there may be");
    let line = format!("{}\n", serde_json::json!({ "error": why }));
    stream.write_all(line.as_bytes())
}

fn serve(policy: &Policy, format: Format, stream: UnixStream) -> Result<()> {
    stream.set_nonblocking(false)?;
    let output = BufWriter::new(stream.try_clone()?);
    Ok(answer(
        policy,
        format,
        BufReader::new(stream),
        output,
        OnFault::Tell,
    )?)
}

/// Removes the socket of a program that is gone; whatever else is there stays.
fn remove_stale(path: &Path) -> Result<()> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !there.file_type().is_socket() {
        bail!(
            "{}: is there and no socket; choose another --socket",
            path.display()
        );
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => bail!(
            "{}: another program listens there; choose another --socket",
            path.display()
        ),
    }
}

/// The socket's file, removed when nobody listens any more.
struct Socket<'a>(&'a Path);

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        // One that is gone already is no matter.
        let _ = fs::remove_file(self.0);
    }
}

//! A film as MP4, which ffmpeg makes of its frames.

use std::{
    io::{ErrorKind, Read, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::{RenderError, film::Film};

/// Has ffmpeg, found on PATH, write `film` to `path`, which is replaced if it is there: give
/// the path of a temporary file.
///
/// # Errors
/// If there is no ffmpeg, or if it fails: its own last line says why.
pub fn to_mp4(film: &Film, path: &Path) -> Result<(), RenderError> {
    let (width, height) = film.size();
    let failed = |e: std::io::Error| RenderError::Ffmpeg(e.to_string());
    let mut child = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-nostdin", "-y"])
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24"])
        .args(["-s", &format!("{width}x{height}")])
        .args(["-r", &format!("{:.6}", 1.0 / film.frame_seconds)])
        .args(["-i", "pipe:0"])
        // Its encoder takes even sizes alone.
        .args(["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"])
        .args([
            "-pix_fmt",
            "yuv420p",
            "-movflags",
            "+faststart",
            "-f",
            "mp4",
        ])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => RenderError::NoFfmpeg,
            _ => failed(e),
        })?;
    let errors = child.stderr.take();
    let said = thread::spawn(move || {
        let mut said = String::new();
        if let Some(mut errors) = errors {
            // What cannot be read is not said.
            let _ = errors.read_to_string(&mut said);
        }
        said
    });
    let mut written = Ok(());
    if let Some(mut input) = child.stdin.take() {
        for index in 0..film.frames() {
            let frame = film.rgb(index)?;
            written = input.write_all(&frame);
            if written.is_err() {
                break;
            }
        }
    }
    let status = child.wait().map_err(failed)?;
    let said = said.join().unwrap_or_default();
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    match (status.success(), written) {
        (true, Ok(())) => Ok(()),
        (true, Err(e)) => Err(failed(e)),
        (false, _) => Err(RenderError::Ffmpeg(
            last.map_or_else(|| status.to_string(), str::to_owned),
        )),
    }
}

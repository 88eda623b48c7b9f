//! A film as MP4, which ffmpeg makes of its frames.

use std::{
    io::{ErrorKind, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

use crate::{RenderError, film::Film};

/// Has ffmpeg, found on PATH, write `film` to `path`, which is replaced if it is there: give
/// the path of a temporary file.
///
/// # Errors
/// If there is no ffmpeg, or if it fails: its own last line says why.
pub fn to_mp4(film: &Film, path: &Path) -> Result<(), RenderError> {
    let mut mp4 = Mp4::start(film.size(), film.frame_seconds, path)?;
    for index in 0..film.frames() {
        if !mp4.push(&film.rgb(index)?) {
            break;
        }
    }
    mp4.finish()
}

/// An ffmpeg that is given frames.
pub(crate) struct Mp4 {
    child: Child,
    said: JoinHandle<String>,
    written: std::io::Result<()>,
}

impl Mp4 {
    /// Starts it, for frames of this size, each of which lasts so many seconds.
    pub(crate) fn start(
        (width, height): (u32, u32),
        frame_seconds: f64,
        path: &Path,
    ) -> Result<Self, RenderError> {
        let mut child = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-nostdin", "-y"])
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24"])
            .args(["-s", &format!("{width}x{height}")])
            .args(["-r", &format!("{:.6}", 1.0 / frame_seconds)])
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
                _ => failed(&e),
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
        Ok(Self {
            child,
            said,
            written: Ok(()),
        })
    }

    /// Gives it the next frame; whether it took it. Why it did not, [`Self::finish`] says.
    pub(crate) fn push(&mut self, rgb: &[u8]) -> bool {
        if let (Some(input), Ok(())) = (&mut self.child.stdin, &self.written) {
            self.written = input.write_all(rgb);
        }
        self.written.is_ok()
    }

    /// Ends the film and waits for it.
    pub(crate) fn finish(mut self) -> Result<(), RenderError> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|e| failed(&e))?;
        let said = self.said.join().unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        match (status.success(), self.written) {
            (true, Ok(())) => Ok(()),
            (true, Err(e)) => Err(failed(&e)),
            (false, _) => Err(RenderError::Ffmpeg(
                last.map_or_else(|| status.to_string(), str::to_owned),
            )),
        }
    }
}

fn failed(e: &std::io::Error) -> RenderError {
    RenderError::Ffmpeg(e.to_string())
}

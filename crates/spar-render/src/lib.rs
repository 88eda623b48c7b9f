//! Films of episodes: where things are in, pictures that move out.
//!
//! A score says that a policy falls, a film says how. Everything but what a [`Recorder`] is given
//! is drawn here from the solids
//! of a [`spar_env::Scene`]: no display, no graphics driver and no renderer of a simulator, so
//! that a film is made wherever a policy is evaluated, the same bytes each time. Balls and
//! capsules are drawn exactly, since a parallel projection keeps their outlines; boxes and
//! cylinders by their hulls, meshes as the boxes around them.

mod film;
mod gif;
mod mark;
mod mp4;
mod project;
mod raster;
mod recorder;
mod svg;

pub use film::{Film, Options};
pub use mark::{Form, Mark, Paint};
pub use mp4::to_mp4;
pub use project::Camera;
pub use recorder::Recorder;

/// Why there is no film.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// There is nothing to see.
    #[error("no frame to draw: the episode has no step")]
    Empty,
    /// The scenes are of different environments.
    #[error(
        "frame {frame} has {got} solids, the first one {expected}: they are of one environment each"
    )]
    Mixed {
        /// Which frame.
        frame: usize,
        /// How many solids it has.
        got: usize,
        /// How many the first one has.
        expected: usize,
    },
    /// A position is not a number that can be drawn.
    #[error("frame {frame}: solid {solid} is nowhere that could be drawn")]
    Nowhere {
        /// Which frame.
        frame: usize,
        /// Which of its solids.
        solid: usize,
    },
    /// The picture cannot be made.
    #[error("cannot make a picture of {width} x {height} points")]
    Size {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// The GIF cannot be written.
    #[error("cannot write the GIF: {0}")]
    Gif(#[from] ::gif::EncodingError),
    /// ffmpeg is not there.
    #[error(
        "an MP4 is made by ffmpeg, and there is none on PATH; install it, or write .svg or .gif"
    )]
    NoFfmpeg,
    /// ffmpeg did not make it.
    #[error("ffmpeg made no film: {0}")]
    Ffmpeg(String),
}

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

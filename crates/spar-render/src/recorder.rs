//! Films of pictures that another renderer has drawn, written as they come: an episode of a
//! kitchen in full colour does not lie in memory.

use std::path::Path;

use gif::{DisposalMethod, Encoder, Frame, Repeat};

use crate::{
    Options, RenderError,
    film::steps_of_a_frame,
    gif::{Delays, changed},
    mp4::Mp4,
};

/// How thoroughly a palette is looked for, from 1, the best, to 30.
const SPEED: i32 = 10;

/// A film under way: pictures of one size, one for each step of an episode, of which every so
/// many are kept that time passes as in the simulation.
pub struct Recorder {
    out: Out,
    size: (u32, u32),
    /// Steps that a frame lasts.
    every: usize,
    frame_seconds: f64,
    steps: usize,
    frames: usize,
}

enum Out {
    Gif {
        encoder: Encoder<Vec<u8>>,
        delays: Delays,
        before: Vec<u8>,
    },
    Mp4(Mp4),
}

impl Recorder {
    /// A GIF, in memory, with a palette for each frame.
    ///
    /// # Errors
    /// If the picture is larger than a GIF can be.
    pub fn gif(height: u32, options: &Options, step_seconds: f64) -> Result<Self, RenderError> {
        let size = (options.width, height);
        let too_large = |_| RenderError::Size {
            width: size.0,
            height: size.1,
        };
        let width = u16::try_from(size.0).map_err(too_large)?;
        let height = u16::try_from(size.1).map_err(too_large)?;
        let mut encoder = Encoder::new(Vec::new(), width, height, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        let out = Out::Gif {
            encoder,
            delays: Delays::default(),
            before: Vec::new(),
        };
        Ok(Self::of(out, size, options, step_seconds))
    }

    /// An MP4 that ffmpeg writes to `path`, which is replaced: give that of a temporary file.
    ///
    /// # Errors
    /// If there is no ffmpeg.
    pub fn mp4(
        height: u32,
        options: &Options,
        step_seconds: f64,
        path: &Path,
    ) -> Result<Self, RenderError> {
        let size = (options.width, height);
        let every = steps_of_a_frame(options.fps, step_seconds);
        let mp4 = Mp4::start(size, step_seconds * every as f64, path)?;
        Ok(Self::of(Out::Mp4(mp4), size, options, step_seconds))
    }

    fn of(out: Out, size: (u32, u32), options: &Options, step_seconds: f64) -> Self {
        let every = steps_of_a_frame(options.fps, step_seconds);
        Self {
            out,
            size,
            every,
            frame_seconds: step_seconds * every as f64,
            steps: 0,
            frames: 0,
        }
    }

    fn wants(&self) -> bool {
        self.steps.is_multiple_of(self.every)
    }

    /// The next step: `draw` gives its picture, red, green and blue of each point row by row,
    /// if it is kept.
    ///
    /// # Errors
    /// What `draw` says, and if the picture has another size or cannot be written.
    pub fn step<E: From<RenderError>>(
        &mut self,
        draw: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        if self.wants() {
            self.push(draw()?)?;
        }
        self.steps += 1;
        Ok(())
    }

    fn push(&mut self, rgb: Vec<u8>) -> Result<(), RenderError> {
        let (width, height) = self.size;
        if rgb.len() as u64 != 3 * u64::from(width) * u64::from(height) {
            return Err(RenderError::Size { width, height });
        }
        self.frames += 1;
        match &mut self.out {
            // Why it takes no more, its end says.
            Out::Mp4(mp4) => {
                mp4.push(&rgb);
            }
            Out::Gif {
                encoder,
                delays,
                before,
            } => {
                let across = width as usize;
                let (points, _) = rgb.as_chunks::<3>();
                let [left, top, wide, tall] = changed(before.as_chunks::<3>().0, points, across);
                let rows = points.chunks(across).skip(top).take(tall);
                let part: Vec<u8> = rows
                    .flat_map(|row| row[left..left + wide].as_flattened())
                    .copied()
                    .collect();
                encoder.write_frame(&Frame {
                    left: left as u16,
                    top: top as u16,
                    delay: delays.next(self.frame_seconds),
                    dispose: DisposalMethod::Keep,
                    ..Frame::from_rgb_speed(wide as u16, tall as u16, &part, SPEED)
                })?;
                *before = rgb;
            }
        }
        Ok(())
    }

    /// Width and height of the pictures, in points.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Frames so far.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Seconds from the first frame to the end of the last.
    pub fn seconds(&self) -> f64 {
        self.frame_seconds * self.frames as f64
    }

    /// Ends the film: the GIF's bytes, none of an MP4, which ffmpeg has written.
    ///
    /// # Errors
    /// If there is no frame, or ffmpeg did not make it.
    pub fn finish(self) -> Result<Vec<u8>, RenderError> {
        match self.out {
            Out::Gif { encoder, .. } if self.frames > 0 => Ok(encoder.into_inner()?),
            Out::Gif { .. } => Err(RenderError::Empty),
            Out::Mp4(mp4) => mp4.finish().map(|()| Vec::new()),
        }
    }
}

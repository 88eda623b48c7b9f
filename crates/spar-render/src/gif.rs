//! A film as GIF: a small palette, and of each frame the part that changed.

use std::collections::HashMap;

use gif::{DisposalMethod, Encoder, Frame, Repeat};

use crate::{RenderError, film::Film, raster::palette};

/// Hundredths of a second that a frame lasts at least: browsers slow down what is faster.
const LEAST: f64 = 2.0;

impl Film {
    /// The film as GIF, played over and over. The same film gives the same bytes.
    ///
    /// # Errors
    /// If the picture is larger than a GIF can be.
    pub fn gif(&self) -> Result<Vec<u8>, RenderError> {
        let (width, height) = self.size();
        let (Ok(w), Ok(h)) = (u16::try_from(width), u16::try_from(height)) else {
            return Err(RenderError::Size { width, height });
        };
        let colors = palette();
        let mut places = HashMap::new();
        let flat: Vec<u8> = colors.iter().flatten().copied().collect();
        let mut encoder = Encoder::new(Vec::new(), w, h, &flat)?;
        encoder.set_repeat(Repeat::Infinite)?;
        let mut before: Vec<u8> = Vec::new();
        let mut delays = Delays::default();
        for index in 0..self.frames() {
            let rgb = self.rgb(index)?;
            let (points, _) = rgb.as_chunks::<3>();
            let place =
                |rgb: &[u8; 3]| *places.entry(*rgb).or_insert_with(|| nearest(&colors, rgb));
            let picture: Vec<u8> = points.iter().map(place).collect();
            let part = changed(&before, &picture, w.into());
            let [left, top, wide, tall] = part;
            let rows = picture.chunks(w.into()).skip(top).take(tall);
            let pixels: Vec<u8> = rows
                .flat_map(|row| &row[left..left + wide])
                .copied()
                .collect();
            encoder.write_frame(&Frame {
                left: left as u16,
                top: top as u16,
                width: wide as u16,
                height: tall as u16,
                delay: delays.next(self.frame_seconds),
                dispose: DisposalMethod::Keep,
                buffer: pixels.into(),
                ..Frame::default()
            })?;
            before = picture;
        }
        Ok(encoder.into_inner()?)
    }
}

/// How long each frame lasts, in hundredths of a second: what they leave over is made up by
/// the next frame.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    frames: usize,
    shown: f64,
}

impl Delays {
    /// That of the next frame, of which each should last `seconds`.
    pub(crate) fn next(&mut self, seconds: f64) -> u16 {
        self.frames += 1;
        let due = 100.0 * seconds * self.frames as f64;
        let delay = (due - self.shown).round().max(LEAST);
        self.shown += delay;
        delay.min(f64::from(u16::MAX)) as u16
    }
}

/// The colour of `colors` that is nearest to `rgb`; of equally near ones the first.
fn nearest(colors: &[[u8; 3]], rgb: &[u8; 3]) -> u8 {
    let far = |color: &[u8; 3]| -> u32 {
        let parts = color.iter().zip(rgb);
        parts.map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    };
    let found = colors
        .iter()
        .enumerate()
        .min_by_key(|(_, color)| far(color));
    // There are fewer than 256.
    found.map_or(0, |(place, _)| place as u8)
}

/// Left, top, width and height of the smallest part in which the picture differs from the one
/// `before` it; all of the first, and a point of one that is the same.
pub(crate) fn changed<T: PartialEq>(before: &[T], picture: &[T], width: usize) -> [usize; 4] {
    let height = picture.len() / width;
    if before.len() != picture.len() {
        return [0, 0, width, height];
    }
    let (mut left, mut right, mut top, mut bottom) = (width, 0, height, 0);
    for (row, (a, b)) in before.chunks(width).zip(picture.chunks(width)).enumerate() {
        let differs = |(column, _): &(usize, &T)| a[*column] != b[*column];
        let mut columns = b
            .iter()
            .enumerate()
            .filter(differs)
            .map(|(column, _)| column);
        if let Some(first) = columns.next() {
            left = left.min(first);
            right = right.max(columns.next_back().unwrap_or(first) + 1);
            top = top.min(row);
            bottom = row + 1;
        }
    }
    match top < bottom {
        true => [left, top, right - left, bottom - top],
        false => [0, 0, 1, 1],
    }
}

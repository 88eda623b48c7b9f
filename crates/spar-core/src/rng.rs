//! Named, seeded random streams.
//!
//! Every random draw of the project comes from a [`Stream`]. A stream is
//! identified by a seed and a name (`"anchor/init"`, `"sampler"`,
//! `"eval/episode/3"`), so that adding a draw to one part of a program never
//! shifts the numbers another part sees, and a checkpoint can hold the exact
//! state of each.

use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use crate::hash::{sha256, sha256_of_values};

/// A named random stream: xoshiro256++ seeded with
/// `SHA-256("spar" | seed as 8 little-endian bytes | name)`.
///
/// Its serialized form is its whole state: a stream read back continues exactly
/// where the written one stood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    state: Xoshiro256PlusPlus,
}

impl Stream {
    /// The stream `name` of `seed`. Equal arguments give equal streams;
    /// streams that differ in either argument are independent.
    pub fn new(seed: u64, name: &str) -> Self {
        let seed = sha256(&[b"spar", &seed.to_le_bytes(), name.as_bytes()]);
        Self {
            state: Xoshiro256PlusPlus::from_seed(seed),
        }
    }

    /// The stream `name` of some numbers, seeded with
    /// `SHA-256("spar" | values as little-endian bytes | name)`: for draws that are to be
    /// a function of an observation. Equal bits give equal streams.
    pub fn of_values(values: &[f32], name: &str) -> Self {
        Self {
            state: Xoshiro256PlusPlus::from_seed(sha256_of_values(values, name)),
        }
    }

    /// One draw from the uniform distribution on `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit: f64 = StandardUniform.sample(&mut self.state);
        low + (high - low) * unit
    }

    /// One draw from the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.state)
    }

    /// Fills `out` with draws from `N(0, std^2)`.
    pub fn fill_normal(&mut self, std: f32, out: &mut [f32]) {
        for x in out {
            let draw: f32 = StandardNormal.sample(&mut self.state);
            *x = std * draw;
        }
    }

    /// Fills `out` with draws from the uniform distribution on `[low, high)`.
    pub fn fill_uniform(&mut self, low: f32, high: f32, out: &mut [f32]) {
        for x in out {
            let unit: f32 = StandardUniform.sample(&mut self.state);
            *x = low + (high - low) * unit;
        }
    }

    /// One index, uniform on `0..n`, by the multiply-shift method on 64 random
    /// bits (its bias, at most `n / 2^64`, is far below anything measurable).
    ///
    /// # Panics
    /// If `n` is zero: there is no index to draw.
    pub fn index(&mut self, n: usize) -> usize {
        assert!(n > 0, "cannot draw an index below zero");
        let wide = u128::from(self.state.next_u64()) * n as u128;
        (wide >> 64) as usize
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_seed_and_name() {
        let draw = |seed, name: &str| Stream::new(seed, name).normal();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn a_stream_of_numbers_is_their_bits_and_its_name() {
        let draw = |values: &[f32], name: &str| Stream::of_values(values, name).normal();
        assert_eq!(draw(&[1.0, 2.0], "a"), draw(&[1.0, 2.0], "a"));
        assert_ne!(draw(&[1.0, 2.0], "a"), draw(&[1.0, 2.0], "b"));
        assert_ne!(draw(&[1.0, 2.0], "a"), draw(&[2.0, 1.0], "a"));
        assert_ne!(draw(&[0.0], "a"), draw(&[-0.0], "a"), "other bits");
    }

    #[test]
    fn a_stream_read_back_goes_on_where_it_stood() {
        let mut stream = Stream::new(7, "resume");
        stream.normal();
        let text = serde_json::to_string(&stream).unwrap();
        let mut again: Stream = serde_json::from_str(&text).unwrap();
        let ahead: Vec<usize> = (0..50).map(|_| stream.index(1000)).collect();
        assert_eq!(
            ahead,
            (0..50).map(|_| again.index(1000)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        let mut stream = Stream::new(3, "moments");
        let n = 200_000;
        let mut out = vec![0f32; n];
        stream.fill_normal(2.0, &mut out);
        let mean = out.iter().sum::<f32>() / n as f32;
        let var = out.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n as f32;
        assert!(
            mean.abs() < 0.02 && (var - 4.0).abs() < 0.06,
            "{mean} {var}"
        );
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[stream.index(7)] += 1;
        }
        assert!(
            counts.iter().all(|c| (9_600..10_400).contains(c)),
            "{counts:?}"
        );
        assert!((0..1000).all(|_| (-0.5..0.25).contains(&stream.uniform(-0.5, 0.25))));
    }
}

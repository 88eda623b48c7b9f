//! What the unit's instructions compute, in other instructions: the same bits on any machine.
//!
//! `TDPBF16PS`, as Intel's manual defines it: for each element of the sums, one chain of
//! fused multiply-adds over the first halves of the pairs and one over the second, each from
//! zero; the two are added, and their sum is added to what is there. Every step rounds to
//! the nearest, ties to even; denormal numbers that come in count as zero, those that would
//! come out are flushed to it, with their sign.
//!
//! AVX512-BF16 has an instruction of the same arithmetic that takes two steps of a chain at
//! once, the second half of a pair first. A CPU is believed to have that order only after it
//! has given the same bits as the plain loop (`dots`).

use super::{Block, Operands, SIDE, Sums, Terms, Tile};
use crate::vectorize::vectorized;

/// The sums of one block: what the lines of [`super::hardware`] compute.
pub(super) fn sum(operands: Operands<'_>, sums: &mut Block) {
    let add = dots::product();
    sums.fill(Sums([[0.0; SIDE]; SIDE]));
    let parts = operands.terms.parts();
    let rows = operands.upper.chunks_exact(parts);
    let rows = rows.zip(operands.lower.chunks_exact(parts));
    for ((upper, lower), right) in rows.zip(operands.right.chunks_exact(2 * parts)) {
        let mut term = |left: usize, columns: usize| {
            let right = &right[2 * columns..];
            for (i, a) in [&upper[left], &lower[left]].into_iter().enumerate() {
                add(&mut sums[2 * i], a, &right[0]);
                add(&mut sums[2 * i + 1], a, &right[1]);
            }
        };
        term(0, 0);
        if operands.terms == Terms::Three {
            term(0, 1);
            term(1, 0);
        }
    }
}

/// `x`, or a zero of its sign if `x` is denormal.
#[inline(always)]
fn flush(x: f32) -> f32 {
    let bits = x.to_bits();
    let kept = if bits & 0x7f80_0000 == 0 {
        bits & 0x8000_0000
    } else {
        bits
    };
    f32::from_bits(kept)
}

/// First and second half of a pair.
#[inline(always)]
fn halves(pair: u32) -> [f32; 2] {
    [pair << 16, pair & 0xffff_0000].map(|bits| flush(f32::from_bits(bits)))
}

vectorized! {
    /// `sums + left right`, the definition.
    pub(super) fn add(sums: &mut Sums, left: &Tile, right: &Tile) {
        let mut columns = [[[0.0; SIDE]; SIDE]; 2];
        for (k, pairs) in right.0.iter().enumerate() {
            for (j, &pair) in pairs.iter().enumerate() {
                let [first, second] = halves(pair);
                columns[0][k][j] = first;
                columns[1][k][j] = second;
            }
        }
        for (sums, left) in sums.0.iter_mut().zip(&left.0) {
            let mut chains = [[0.0f32; SIDE]; 2];
            for (k, &pair) in left.iter().enumerate() {
                for (half, a) in halves(pair).into_iter().enumerate() {
                    for (chain, b) in chains[half].iter_mut().zip(&columns[half][k]) {
                        *chain = flush(a.mul_add(*b, *chain));
                    }
                }
            }
            for (sum, (first, second)) in sums.iter_mut().zip(chains[0].iter().zip(&chains[1])) {
                *sum = flush(flush(*sum) + flush(first + second));
            }
        }
    }
}

/// The products of pairs of AVX512-BF16.
mod dots {
    use super::{Sums, Tile, add};

    /// The fastest function that computes [`add`] on this thread.
    pub(super) fn product() -> fn(&mut Sums, &Tile, &Tile) {
        #[cfg(target_arch = "x86_64")]
        if x86::agrees() {
            return x86::add;
        }
        add
    }

    #[cfg(target_arch = "x86_64")]
    pub(in crate::tiles) mod x86 {
        use std::{arch::x86_64::*, sync::OnceLock};

        use super::super::{SIDE, Sums, Tile, add as definition, flush};
        use crate::isa::has_bf16;

        /// Whether this thread may use the instruction and this CPU does with it what
        /// [`definition`] does, which is tried once.
        pub(in crate::tiles) fn agrees() -> bool {
            static AGREES: OnceLock<bool> = OnceLock::new();
            has_bf16() && *AGREES.get_or_init(trial)
        }

        /// Tiles of all kinds of numbers: of like size, of any bits, and around the least
        /// normal one.
        fn trial() -> bool {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let mut draw = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u32
            };
            let kinds: [(u32, u32); 3] = [(120, 16), (0, 255), (0, 130)];
            (0..24).all(|i| {
                let (least, count) = kinds[i % 3];
                let mut half = || (draw() & 0x807f) | ((least + draw() % count) << 7);
                let mut tile =
                    || Tile([[(); SIDE]; SIDE].map(|r| r.map(|()| half() | half() << 16)));
                let (left, right) = (tile(), tile());
                let start = Sums(tile().0.map(|row| row.map(f32::from_bits)));
                let (mut want, mut got) = (start, start);
                definition(&mut want, &left, &right);
                add(&mut got, &left, &right);
                let pairs = want.0.iter().flatten().zip(got.0.iter().flatten());
                pairs
                    .into_iter()
                    .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
            })
        }

        /// [`definition`] by the instruction.
        ///
        /// # Panics
        /// If this thread may not use it.
        pub(in crate::tiles) fn add(sums: &mut Sums, left: &Tile, right: &Tile) {
            assert!(has_bf16(), "bf16 products on this machine");
            // SAFETY: `has_bf16` found AVX-512F and AVX512-BF16, all the function enables.
            unsafe { add_bf16(sums, left, right) }
        }

        /// Two steps of each chain of a row of pairs, two pairs at a time: the instruction
        /// multiplies the upper half first.
        #[inline(always)]
        fn steps(first: u32, second: u32) -> [u32; 2] {
            [
                first << 16 | second & 0xffff,
                first & 0xffff_0000 | second >> 16,
            ]
        }

        #[target_feature(enable = "avx512f,avx512bf16")]
        fn add_bf16(sums: &mut Sums, left: &Tile, right: &Tile) {
            let mut columns = [[[0u32; SIDE]; 2]; SIDE / 2];
            for (columns, rows) in columns.iter_mut().zip(right.0.chunks_exact(2)) {
                for j in 0..SIDE {
                    let [even, odd] = steps(rows[0][j], rows[1][j]);
                    columns[0][j] = even;
                    columns[1][j] = odd;
                }
            }
            for (sums, left) in sums.0.iter_mut().zip(&left.0) {
                let mut chains = [_mm512_setzero_ps(); 2];
                for (columns, pairs) in columns.iter().zip(left.chunks_exact(2)) {
                    let pairs = steps(pairs[0], pairs[1]);
                    for ((chain, columns), pair) in chains.iter_mut().zip(columns).zip(pairs) {
                        // SAFETY: the array has the 64 bytes that are read; the load needs no
                        // alignment. Both types are 512 bits, each of which may be anything.
                        let (a, b) = unsafe {
                            (
                                std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(
                                    pair.cast_signed(),
                                )),
                                std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(
                                    columns.as_ptr().cast(),
                                )),
                            )
                        };
                        *chain = _mm512_dpbf16_ps(*chain, a, b);
                    }
                }
                let mut both = [0.0f32; SIDE];
                // SAFETY: the array has the 64 bytes that are written; no alignment is needed.
                unsafe {
                    _mm512_storeu_ps(both.as_mut_ptr(), _mm512_add_ps(chains[0], chains[1]));
                }
                for (sum, both) in sums.iter_mut().zip(both) {
                    *sum = flush(flush(*sum) + flush(both));
                }
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
pub(super) use dots::x86::{add as add_by_dots, agrees as dots_agree};

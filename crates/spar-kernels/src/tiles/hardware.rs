//! The unit's own instructions: all that is not the same code on every machine.
//!
//! Stable Rust has no intrinsics for them. A block is one `asm!`, so that no tile has to
//! live from one to the next, and its lines are written once: a test of every machine reads
//! them (`tests/lines.rs`) and does what they say.

use super::{Block, Operands};

/// The lines of a block with one term, for whoever takes them as literals. `a` and `d` are
/// the upper and lower rows, `b` the columns, `c` the sums, `n` the steps, and `s` is 64,
/// bytes from one row of a tile to the next.
macro_rules! one {
    ($lines:ident) => {
        $lines! {
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {s}*1]",
            "tileloadd tmm5, [{d} + {s}*1]",
            "tileloadd tmm6, [{b} + {s}*1]",
            "tileloadd tmm7, [{b} + {s}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 1024",
            "add {d}, 1024",
            "add {b}, 2048",
            "sub {n}, 1",
            "jnz 2b",
            "tilestored [{c} + {s}*1], tmm0",
            "tilestored [{c} + {s}*1 + 1024], tmm1",
            "tilestored [{c} + {s}*1 + 2048], tmm2",
            "tilestored [{c} + {s}*1 + 3072], tmm3",
        }
    };
}

/// The same with three terms: `hi hi`, `hi lo`, `lo hi`.
macro_rules! three {
    ($lines:ident) => {
        $lines! {
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {s}*1]",
            "tileloadd tmm5, [{d} + {s}*1]",
            "tileloadd tmm6, [{b} + {s}*1]",
            "tileloadd tmm7, [{b} + {s}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{b} + {s}*1 + 2048]",
            "tileloadd tmm7, [{b} + {s}*1 + 3072]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{a} + {s}*1 + 1024]",
            "tileloadd tmm5, [{d} + {s}*1 + 1024]",
            "tileloadd tmm6, [{b} + {s}*1]",
            "tileloadd tmm7, [{b} + {s}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {d}, 2048",
            "add {b}, 4096",
            "sub {n}, 1",
            "jnz 2b",
            "tilestored [{c} + {s}*1], tmm0",
            "tilestored [{c} + {s}*1 + 1024], tmm1",
            "tilestored [{c} + {s}*1 + 2048], tmm2",
            "tilestored [{c} + {s}*1 + 3072], tmm3",
        }
    };
}

/// The 64 bytes of `ldtilecfg`: palette 1, eight tiles of 16 rows of 64 bytes.
#[cfg_attr(
    not(any(test, all(target_arch = "x86_64", target_os = "linux"))),
    allow(dead_code)
)]
#[repr(C, align(64))]
pub(super) struct Configuration([u8; 64]);

impl Configuration {
    /// The one that all passes use.
    pub(super) const ALL: Self = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut i = 0;
        while i < 8 {
            bytes[16 + 2 * i] = 64;
            bytes[48 + i] = 16;
            i += 1;
        }
        Self(bytes)
    };
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86 {
    use std::arch::asm;

    use super::{super::Terms, Block, Configuration, Operands};
    use crate::tiles::MatrixUnit;

    /// Configures this thread's tiles.
    ///
    /// # Panics
    /// If the process has no unit.
    pub(in crate::tiles) fn configure() {
        assert!(MatrixUnit::absent().is_none(), "a matrix unit");
        static CONFIGURATION: Configuration = Configuration::ALL;
        // SAFETY: the assert found the instruction, and Linux's leave to use it. It reads 64
        // bytes of a static, in the format that palette 1 wants.
        unsafe {
            asm!(
                "ldtilecfg [{from}]",
                from = in(reg) &raw const CONFIGURATION.0,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly),
            );
        }
    }

    /// Gives this thread's tiles back.
    ///
    /// # Panics
    /// If the process has no unit.
    pub(in crate::tiles) fn release() {
        assert!(MatrixUnit::absent().is_none(), "a matrix unit");
        // SAFETY: the assert found the instruction; it touches tiles alone.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, nomem),
            );
        }
    }

    /// The sums of one block, on a thread whose tiles are configured.
    ///
    /// # Panics
    /// If the process has no unit, or a slice is too short.
    pub(in crate::tiles) fn sum(operands: Operands<'_>, sums: &mut Block) {
        assert!(MatrixUnit::absent().is_none(), "a matrix unit");
        let Operands {
            upper,
            lower,
            right,
            terms,
        } = operands;
        let steps = operands.steps();
        let tiles = steps * terms.parts();
        assert!(
            steps > 0 && upper.len() == tiles && lower.len() == tiles && right.len() == 2 * tiles,
            "tiles of a block"
        );
        /// The lines with their operands.
        macro_rules! run {
            ($($line:literal,)*) => {
                // SAFETY: the first assert found the instructions; `Tiles`, who alone calls
                // this, has the tiles configured, 16 rows of 64 bytes each. A load takes 1024
                // contiguous bytes, `s` being 64: step `i < steps` those of part 0, and with
                // three terms of part 1, at `i * parts` of `upper` and `lower`, and twice as
                // many of `right` at `2 * i * parts`, all inside the slices by the second
                // assert. The stores take the 4096 bytes that `sums` has.
                unsafe {
                    asm!(
                        $($line,)*
                        a = inout(reg) upper.as_ptr() => _,
                        d = inout(reg) lower.as_ptr() => _,
                        b = inout(reg) right.as_ptr() => _,
                        n = inout(reg) steps => _,
                        c = in(reg) sums.as_mut_ptr(),
                        s = in(reg) 64usize,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    )
                }
            };
        }
        match terms {
            Terms::One => one!(run),
            Terms::Three => three!(run),
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use x86::{configure, release, sum};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod none {
    use super::{Block, Operands};

    pub(in crate::tiles) fn configure() {
        unreachable!("a matrix unit is never present here");
    }

    pub(in crate::tiles) fn release() {
        unreachable!("a matrix unit is never present here");
    }

    pub(in crate::tiles) fn sum(_: Operands<'_>, _: &mut Block) {
        unreachable!("a matrix unit is never present here");
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(super) use none::{configure, release, sum};

/// What a test reads: the lines of each number of terms, and the configuration.
#[cfg(test)]
pub(super) mod lines {
    use super::Configuration;

    macro_rules! text {
        ($($line:literal,)*) => { &[$($line,)*] };
    }

    pub(in crate::tiles) const ONE: &[&str] = one!(text);
    pub(in crate::tiles) const THREE: &[&str] = three!(text);
    pub(in crate::tiles) const CONFIGURATION: [u8; 64] = Configuration::ALL.0;
}

//! What this machine can do: the ceiling that every figure is a fraction of.

use std::hint::black_box;

use anyhow::Result;
use candle_core::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};

use crate::work::Work;

/// Independent sums: fused multiply-adds take four cycles and two start per
/// cycle, so that at least eight must be under way; more than 28 would not fit
/// beside the two factors into AVX-512's 32 registers, 14 into AVX2's 16.
const SUMS: usize = 12;

/// Multiply-adds of each sum in one step.
const REPEATS: usize = 100_000;

/// Side of the reference product. Candle's matrix product: the one of the
/// `gemm` crate, so that no change of ours moves the reference.
const SIDE: usize = 1024;

/// A tight loop of fused multiply-adds in registers.
struct FmaLoop;

impl WithSimd for FmaLoop {
    /// Floating-point operations done, and a number that depends on them all.
    type Output = (usize, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        // x <- 0.999 x + 0.001 stays finite and never becomes subnormal.
        let factor = simd.splat_f32s(black_box(0.999));
        let term = simd.splat_f32s(black_box(0.001));
        let mut sums = [simd.splat_f32s(black_box(1.0)); SUMS];
        for _ in 0..REPEATS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, term);
            }
        }
        let all = sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum));
        (2 * REPEATS * SUMS * S::F32_LANES, all.sum())
    }
}

/// One step of the loop of multiply-adds; returns its floating-point operations.
pub(crate) fn fma() -> usize {
    let (flops, number) = Arch::new().dispatch(FmaLoop);
    black_box(number);
    flops
}

/// The reference matrix product.
pub(crate) struct Sgemm {
    a: Tensor,
    b: Tensor,
}

impl Sgemm {
    /// Two square matrices.
    ///
    /// # Errors
    /// Only if candle cannot hold them.
    pub(crate) fn new() -> Result<Self> {
        let mut stream = spar_core::Stream::new(0, "bench/sgemm");
        let mut matrix = || {
            let mut values = vec![0.0; SIDE * SIDE];
            stream.fill_normal(1.0, &mut values);
            Tensor::from_vec(values, (SIDE, SIDE), &Device::Cpu)
        };
        Ok(Self {
            a: matrix()?,
            b: matrix()?,
        })
    }

    /// Floating-point operations of one product.
    pub(crate) const FLOPS: usize = 2 * SIDE * SIDE * SIDE;

    /// One product.
    ///
    /// # Errors
    /// Only if candle fails.
    pub(crate) fn step(&self) -> Result<()> {
        black_box(self.a.matmul(&self.b)?);
        Ok(())
    }
}

/// A pass over memory: `a <- a + s b` over arrays that no cache holds.
pub(crate) struct Stream {
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Stream {
    /// Elements of each array: together 512 MB, more than any cache.
    const LEN: usize = 64 << 20;

    /// What one pass does: every element of `a` is read and written, every one of
    /// `b` read.
    pub(crate) const WORK: Work = Work {
        flops: 2 * Self::LEN,
        bytes: 3 * size_of::<f32>() * Self::LEN,
    };

    /// Two arrays whose pages are there.
    pub(crate) fn new() -> Self {
        Self {
            a: vec![1.0; Self::LEN],
            b: vec![0.5; Self::LEN],
        }
    }

    /// One pass.
    pub(crate) fn step(&mut self) {
        // It alternates, so that the sums stay what they are.
        let scale = black_box(-self.a[0].signum());
        for (a, b) in self.a.iter_mut().zip(&self.b) {
            *a += scale * b;
        }
        black_box(&mut self.a);
    }
}

/// The widest instructions our kernels use here, by which baselines are kept.
pub(crate) fn isa() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "avx2";
        }
    }
    "other"
}

/// The vector instructions this machine has, of those that matter here.
pub(crate) fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let all = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
            ("amx-bf16", spar_kernels::MatrixUnit::absent().is_none()),
        ];
        all.into_iter()
            .filter_map(|(name, there)| there.then_some(name))
            .collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

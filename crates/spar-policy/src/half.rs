//! Numbers of sixteen bits in single precision, which holds every one of them exactly.

/// The value of an IEEE 754 binary16 number.
pub(crate) fn f16(bits: u16) -> f32 {
    /// `2^-24`, the least positive number.
    const LEAST: f32 = 1.0 / 16_777_216.0;
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => (fraction as f32 * LEAST).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The value of a bfloat16 number: the first half of a single-precision one.
pub(crate) fn bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_number_of_sixteen_bits_is_that_of_the_half_crate() {
        for bits in 0..=u16::MAX {
            for (got, want) in [
                (super::f16(bits), half::f16::from_bits(bits).to_f32()),
                (super::bf16(bits), half::bf16::from_bits(bits).to_f32()),
            ] {
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                assert!(same, "{bits:#x}: {got}, expected {want}");
            }
        }
    }
}

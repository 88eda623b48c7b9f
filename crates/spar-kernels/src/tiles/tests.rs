//! Tiles against their definition, and the lines of assembly through an interpreter.

mod lines;

use proptest::prelude::*;

use super::{
    BLOCK, Block, MatrixUnit, Operands, SIDE, Scratch, Split, Sums, Terms, Tile, Tiles, emulation,
    gradient, hardware, left, multiply, right, right_of_transpose,
};
use crate::isa::Isa;

/// Numbers like those of a network, from a seed.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let mut draw = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| draw() * 1.7).collect()
}

/// Tiles of bits of all kinds.
fn tiles(count: usize, least: u32, range: u32, seed: u64) -> Vec<Tile> {
    let mut state = seed | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    };
    let mut half = || (draw() & 0x807f) | ((least + draw() % range) << 7);
    let mut pair = || half() | half() << 16;
    let mut tile = || Tile([[(); SIDE]; SIDE].map(|row| row.map(|()| pair())));
    (0..count).map(|_| tile()).collect()
}

const TERMS: [Terms; 2] = [Terms::One, Terms::Three];

fn empty() -> Block {
    [Sums([[f32::NAN; SIDE]; SIDE]); 4]
}

#[track_caller]
fn same(got: &[Sums], want: &[Sums], what: &str) {
    let numbers = |sums: &[Sums]| -> Vec<f32> {
        sums.iter()
            .flat_map(|sums| sums.0.into_iter().flatten())
            .collect()
    };
    for (i, (got, want)) in numbers(got).into_iter().zip(numbers(want)).enumerate() {
        let equal = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
        assert!(equal, "{what}, number {i}: {got:e}, expected {want:e}");
    }
}

/// One sum as the manual writes it, number by number, in double precision where that is
/// exact and the result rounds once: between numbers of like size.
#[test]
fn a_product_of_tiles_is_that_of_the_manual() {
    let half = |pair: u32, second: usize| match second {
        0 => f32::from_bits(pair << 16),
        _ => f32::from_bits(pair & 0xffff_0000),
    };
    let given = tiles(2, 120, 14, 77);
    let (a, b) = (&given[0], &given[1]);
    let start = Sums([[0.375; SIDE]; SIDE]);
    let mut want = start;
    for m in 0..SIDE {
        for n in 0..SIDE {
            let mut chains = [0.0f32; 2];
            for k in 0..SIDE {
                for (second, chain) in chains.iter_mut().enumerate() {
                    let product =
                        f64::from(half(a.0[m][k], second)) * f64::from(half(b.0[k][n], second));
                    *chain = (f64::from(*chain) + product) as f32;
                }
            }
            want.0[m][n] += chains[0] + chains[1];
        }
    }
    for isa in Isa::present() {
        let mut got = start;
        isa.confine(|| emulation::add(&mut got, a, b));
        same(&[got], &[want], &format!("{isa:?}"));
    }
}

/// Denormal numbers count as zero when they come in, and are flushed to one when they would
/// come out.
#[test]
fn denormal_numbers_are_zeros() {
    let pair = |first: u32, second: u32| first | second << 16;
    let all = |first, second| Tile([[pair(first, second); SIDE]; SIDE]);
    let (one, denormal, small, least) = (0x3f80, 0x0040, 0x1f80, 0x0080);
    for (left, right, start, want) in [
        // In.
        (all(denormal, 0), all(one, one), 1.0, 1.0),
        (all(one, 0), all(denormal, one), 1.0, 1.0),
        (all(0, denormal), all(one, one), 1.0, 1.0),
        // In, where the product would not be one: 2^-127 times 2^127.
        (all(denormal, 0), all(0x7f00, 0), 1.0, 1.0),
        (all(0, 0x7f00), all(0, denormal), 1.0, 1.0),
        // Out: 2^-64 squared, in every step of a chain.
        (all(small, 0), all(small, one), 0.0, 0.0),
        // What is there already.
        (all(0, 0), all(one, one), f32::from_bits(1), 0.0),
        (all(0, 0), all(one, one), -f32::from_bits(0x7f_ffff), 0.0),
        // The least normal number is none.
        (all(least, 0), all(one, 0), 0.0, 16.0 * f32::MIN_POSITIVE),
    ] {
        for isa in Isa::present() {
            let mut got = Sums([[start; SIDE]; SIDE]);
            isa.confine(|| emulation::add(&mut got, &left, &right));
            for got in got.0.into_iter().flatten() {
                assert_eq!(got, want, "{isa:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The same bits by every instruction set, and by products of pairs where the CPU has
    /// them, whatever the numbers are.
    #[test]
    fn every_way_of_adding_a_product_gives_the_same_bits(
        kind in 0usize..3, seed: u64,
    ) {
        let (least, range) = [(120, 16), (0, 256), (0, 130)][kind];
        let given = tiles(3, least, range, seed);
        let start = Sums(given[2].0.map(|row| row.map(f32::from_bits)));
        let mut want = start;
        Isa::Plain.confine(|| emulation::add(&mut want, &given[0], &given[1]));
        for isa in Isa::present() {
            let mut got = start;
            isa.confine(|| emulation::add(&mut got, &given[0], &given[1]));
            same(&[got], &[want], &format!("{isa:?}"));
        }
        #[cfg(target_arch = "x86_64")]
        if emulation::dots_agree() {
            let mut got = start;
            emulation::add_by_dots(&mut got, &given[0], &given[1]);
            same(&[got], &[want], "pairs");
        }
    }

    /// The lines that hardware runs do what the emulation does, and read and write nothing
    /// else.
    #[test]
    fn the_lines_of_assembly_compute_what_the_emulation_does(
        steps in 1usize..5, three: bool, kind in 0usize..3, seed: u64,
    ) {
        let terms = TERMS[usize::from(three)];
        let (least, range) = [(120, 16), (0, 256), (0, 130)][kind];
        let count = steps * terms.parts();
        let given = tiles(4 * count, least, range, seed);
        let (rows, columns) = given.split_at(2 * count);
        let (upper, lower) = rows.split_at(count);
        let operands = Operands::new(terms, upper, lower, columns);
        let (mut got, mut want) = (empty(), empty());
        lines::run(operands, &mut got);
        emulation::sum(operands, &mut want);
        same(&got, &want, &format!("{terms:?}"));
    }

    #[test]
    fn products_are_their_definition(
        rows in 0usize..80, k in 1usize..140, n in 1usize..80, seed: u64,
    ) {
        let (x, w) = (values(rows * k, seed), values(k * n, seed ^ 1));
        for terms in TERMS {
            let got = product(terms, &x, &w, (rows, k, n));
            for (at, &got) in got.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                close(terms, got, k, |p| (x[i * k + p], w[p * n + j]));
            }
            // The same weight handed over as its transpose gives the same bits.
            let turned: Vec<f32> = (0..k * n).map(|at| w[at % k * n + at / k]).collect();
            let mut columns = vec![Tile::default(); Split::new(terms, n, k).tiles()];
            let mut again = columns.clone();
            right(terms, &w, n, &mut columns);
            right_of_transpose(terms, &turned, k, &mut again);
            prop_assert!(columns == again);
        }
    }

    #[test]
    fn gradients_are_their_definition(
        rows in 1usize..150, k in 1usize..70, n in 1usize..70, add: bool, seed: u64,
    ) {
        let (x, dy) = (values(rows * k, seed), values(rows * n, seed ^ 1));
        let before = if add { 0.25 } else { f32::NAN };
        for terms in TERMS {
            let mut out = vec![before; k * n];
            let mut scratch = Scratch::default();
            gradient(&mut Tiles::configure(terms), &x, &dy, n, &mut out, add, &mut scratch);
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let got = if add { got - before } else { got };
                close(terms, got, rows + 8, |p| match p < rows {
                    true => (x[p * k + i], dy[p * n + j]),
                    // What the addition to what is there rounds.
                    false => (0.0, 0.0),
                });
            }
        }
    }

    /// Whatever surrounds it, and wherever it stands.
    #[test]
    fn a_row_of_a_product_is_its_own(
        rows in 1usize..70, k in 1usize..70, n in 1usize..40, seed: u64,
    ) {
        let (x, w) = (values(rows * k, seed), values(k * n, seed ^ 1));
        for terms in TERMS {
            let all = product(terms, &x, &w, (rows, k, n));
            for i in [0, rows / 2, rows - 1] {
                let alone = product(terms, &x[i * k..(i + 1) * k], &w, (1, k, n));
                prop_assert_eq!(&alone, &all[i * n..(i + 1) * n]);
            }
        }
    }
}

/// `x W` through layouts whose memory held other numbers before.
fn product(terms: Terms, x: &[f32], w: &[f32], (rows, k, n): (usize, usize, usize)) -> Vec<f32> {
    let stale = Tile([[0x7fc1_ff80; SIDE]; SIDE]);
    let mut lefts = vec![stale; Split::new(terms, rows, k).tiles()];
    let mut rights = vec![stale; Split::new(terms, n, k).tiles()];
    left(terms, x, k, 0, &mut lefts);
    right(terms, w, n, &mut rights);
    let mut out = vec![f32::NAN; rows * n];
    let mut seen = 0;
    let mut tiles = Tiles::configure(terms);
    multiply(
        &mut tiles,
        &lefts,
        &rights,
        (k, n),
        &mut out,
        |first, rows| {
            assert_eq!(first * n, seen);
            assert!(first.is_multiple_of(BLOCK));
            seen += rows.len();
        },
    );
    assert_eq!(seen, out.len(), "every row is handed on once");
    out
}

/// Holds a sum of products to the error of its terms: one rounds both factors to 8 bits, three
/// round their lower parts so, and leave out the product of these.
#[track_caller]
fn close(terms: Terms, got: f32, k: usize, factors: impl Fn(usize) -> (f32, f32)) {
    let products = (0..k).map(|p| {
        let (a, b) = factors(p);
        f64::from(a) * f64::from(b)
    });
    let (want, size) = products.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
    let each = match terms {
        Terms::One => 2f64.powi(-7) + 2f64.powi(-16),
        Terms::Three => 3.0 * 2f64.powi(-16),
    };
    let bound = 1e-30 + (each + f64::from(f32::EPSILON) * (k as f64 + 2.0)) * (size + 0.25);
    let off = (f64::from(got) - want).abs();
    assert!(
        off <= bound,
        "{terms:?}: {got}, expected {want} within {bound:e}"
    );
}

/// The figures of the documentation, of products of 256 numbers: relative to the root mean
/// square of the exact results.
#[test]
fn errors_are_those_that_the_documentation_names() {
    let (rows, k, n) = (64, 256, 64);
    let (x, w) = (values(rows * k, 5), values(k * n, 6));
    let exact: Vec<f64> = (0..rows * n)
        .map(|at| {
            let (i, j) = (at / n, at % n);
            (0..k)
                .map(|p| f64::from(x[i * k + p]) * f64::from(w[p * n + j]))
                .sum()
        })
        .collect();
    let mean = |v: &mut dyn Iterator<Item = f64>| {
        (v.map(|v| v * v).sum::<f64>() / exact.len() as f64).sqrt()
    };
    let size = mean(&mut exact.iter().copied());
    for (terms, least, most) in [(Terms::Three, 1e-7, 1e-5), (Terms::One, 5e-4, 4e-3)] {
        let got = product(terms, &x, &w, (rows, k, n));
        let off = got.iter().zip(&exact).map(|(g, e)| f64::from(*g) - e);
        let off = mean(&mut { off }) / size;
        assert!((least..most).contains(&off), "{terms:?}: {off:e}");
    }
}

#[test]
fn a_split_number_is_its_two_parts() {
    for (x, hi, lo) in [
        (1.0, 0x3f80, 0),
        // Halfway between two: to the even one.
        (1.0 + 2f32.powi(-8), 0x3f80, 0x3b80),
        (1.0 + 3.0 * 2f32.powi(-8), 0x3f82, 0xbb80),
        (-1.5, 0xbfc0, 0),
        (0.0, 0, 0),
    ] {
        let mut tile = vec![Tile::default(); 4];
        left(Terms::Three, &[x], 1, 0, &mut tile);
        assert_eq!((tile[0].0[0][0], tile[1].0[0][0]), (hi, lo), "{x}");
    }
    for (x, hi) in [
        (f32::NAN, 0x7fc0),
        (f32::from_bits(0x7f80_0001), 0x7fc0),
        (f32::INFINITY, 0x7f80),
    ] {
        let mut tile = vec![Tile::default(); 2];
        left(Terms::One, &[x], 1, 0, &mut tile);
        assert_eq!(tile[0].0[0][0], hi, "{x}");
    }
}

#[test]
fn the_configuration_is_eight_tiles_of_sixteen_rows_of_sixty_four_bytes() {
    let bytes = hardware::lines::CONFIGURATION;
    assert_eq!((bytes[0], bytes[1]), (1, 0), "palette, first row");
    for tile in 0..8 {
        let width = u16::from_le_bytes([bytes[16 + 2 * tile], bytes[17 + 2 * tile]]);
        assert_eq!((width, bytes[48 + tile]), (64, 16), "tile {tile}");
    }
    let reserved = bytes[2..16]
        .iter()
        .chain(&bytes[32..48])
        .chain(&bytes[56..]);
    assert!(reserved.copied().all(|byte| byte == 0));
}

#[test]
#[should_panic(expected = "tiles of rows for")]
fn operands_that_are_too_short_are_refused() {
    let tiles = tiles(8, 120, 8, 1);
    Operands::new(Terms::Three, &tiles[..4], &tiles[..4], &tiles[..7]);
}

#[test]
#[should_panic(expected = "strips of 2 blocks")]
fn a_left_side_that_is_too_short_is_refused() {
    let terms = Terms::Three;
    let (left, right) = (vec![Tile::default(); 4], vec![Tile::default(); 4]);
    let mut out = vec![0.0; 33];
    multiply(
        &mut Tiles::configure(terms),
        &left,
        &right,
        (5, 1),
        &mut out,
        |_, _| {},
    );
}

#[test]
fn a_panic_gives_the_tiles_back() {
    let panicked = std::panic::catch_unwind(|| {
        let _tiles = Tiles::configure(Terms::One);
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    let tiles = Tiles::configure(Terms::One);
    // One pass on a thread has them; another thread has its own.
    assert!(std::panic::catch_unwind(|| drop(Tiles::configure(Terms::One))).is_err());
    std::thread::spawn(|| drop(Tiles::configure(Terms::One)))
        .join()
        .unwrap();
    drop(tiles);
    drop(Tiles::configure(Terms::One));
}

#[test]
fn a_thread_can_be_held_to_the_emulation() {
    MatrixUnit::Emulated.confine(|| assert_eq!(MatrixUnit::detect(), MatrixUnit::Emulated));
    match MatrixUnit::absent() {
        None => assert_eq!(MatrixUnit::detect(), MatrixUnit::Amx),
        Some(absent) => {
            assert_eq!(MatrixUnit::detect(), MatrixUnit::Emulated);
            assert!(!absent.to_string().contains('\n'));
            let refused = std::panic::catch_unwind(|| MatrixUnit::Amx.confine(|| ()));
            assert!(refused.is_err(), "the unit on a machine without one");
        }
    }
}

#[test]
fn a_peak_is_measured_of_the_unit_alone() {
    assert_eq!(MatrixUnit::Emulated.confine(super::matrix_peak), None);
    assert_eq!(
        super::matrix_peak().is_some(),
        MatrixUnit::absent().is_none()
    );
}

/// The unit itself, on tiles of all kinds of bits. The passes over it are compared in
/// `tests/amx_hardware.rs`.
#[test]
fn amx_hardware_blocks_have_the_bits_of_the_emulation() {
    if let Some(absent) = MatrixUnit::absent() {
        println!("skipped: no matrix unit, {absent}");
        return;
    }
    for (seed, (least, range)) in [(120, 16), (0, 256), (0, 130)].into_iter().enumerate() {
        for terms in TERMS {
            for steps in [1, 2, 8, 33] {
                let count = steps * terms.parts();
                let given = tiles(4 * count, least, range, seed as u64 + 1);
                let (rows, columns) = given.split_at(2 * count);
                let (upper, lower) = rows.split_at(count);
                let operands = Operands::new(terms, upper, lower, columns);
                let (mut got, mut want) = (empty(), empty());
                Tiles::configure(terms).sum(operands, &mut got);
                emulation::sum(operands, &mut want);
                same(
                    &got,
                    &want,
                    &format!("{terms:?}, {steps} steps of kind {seed}"),
                );
            }
        }
    }
}

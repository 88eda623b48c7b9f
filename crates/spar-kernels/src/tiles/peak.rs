//! How fast the unit is where nothing holds it up: the ceiling that a bench compares with.

use std::hint::black_box;

use super::{Block, MatrixUnit, Operands, SIDE, Sums, Terms, Tile, Tiles};

/// Products of tiles to a block, as in a layer 256 wide: all operands stay in the first cache.
const STEPS: usize = 8;

/// Blocks in one step.
const BLOCKS: usize = 256;

/// One step of a loop of nothing but products of tiles, loaded from the first cache; returns
/// its floating-point operations, two for a multiply-add of bf16. `None` where this process
/// has no matrix unit: that of the emulation would be no ceiling.
pub fn matrix_peak() -> Option<usize> {
    if MatrixUnit::detect() != MatrixUnit::Amx {
        return None;
    }
    let one = Tile([[0x3f80_3f80; SIDE]; SIDE]);
    let (rows, right) = ([one; STEPS], [one; 2 * STEPS]);
    let mut sums: Block = [Sums([[0.0; SIDE]; SIDE]); 4];
    let mut tiles = Tiles::configure(Terms::One);
    for _ in 0..BLOCKS {
        let operands = Operands::new(Terms::One, &rows, &rows, black_box(&right));
        tiles.sum(operands, &mut sums);
        black_box(&mut sums);
    }
    let each = 2 * (2 * SIDE).pow(3);
    Some(BLOCKS * STEPS * each)
}

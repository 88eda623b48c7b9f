//! Does what the lines of assembly say, one by one, over memory whose bounds it knows: what
//! a machine without the unit can test of them.

use std::collections::BTreeMap;

use super::super::{Block, Operands, SIDE, Sums, Terms, Tile, emulation, hardware::lines};

/// Bytes of a tile.
const BYTES: usize = size_of::<Tile>();

/// A register: a number, or a place in memory.
#[derive(Clone, Copy, Debug)]
enum Register {
    Number(usize),
    At(Memory, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Memory {
    Upper,
    Lower,
    Right,
    Sums,
}

/// Runs the lines of a block.
pub(super) fn run(operands: Operands<'_>, sums: &mut Block) {
    let lines = match operands.terms {
        Terms::One => lines::ONE,
        Terms::Three => lines::THREE,
    };
    // As in `hardware`: where each operand is put.
    let mut registers = BTreeMap::from([
        ("{a}", Register::At(Memory::Upper, 0)),
        ("{d}", Register::At(Memory::Lower, 0)),
        ("{b}", Register::At(Memory::Right, 0)),
        ("{c}", Register::At(Memory::Sums, 0)),
        ("{n}", Register::Number(operands.steps())),
        ("{s}", Register::Number(64)),
    ]);
    let mut machine = Machine {
        operands,
        sums,
        tiles: [None; 8],
    };
    let (mut next, mut zero, mut label) = (0, false, None);
    while let Some(line) = lines.get(next) {
        next += 1;
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let fields: Vec<&str> = rest.split(", ").collect();
        match (name, &fields[..]) {
            ("2:", _) => label = Some(next),
            ("tilezero", [tile]) => machine.tiles[number(tile)] = Some(Tile::default()),
            ("tileloadd", [tile, at]) => {
                machine.tiles[number(tile)] = Some(machine.load(address(at, &registers)));
            }
            ("tilestored", [at, tile]) => machine.store(address(at, &registers), number(tile)),
            ("tdpbf16ps", [to, a, b]) => machine.multiply(number(to), number(a), number(b)),
            ("add", [register, count]) => {
                let count: usize = count.parse().unwrap();
                let Some(Register::At(_, at)) = registers.get_mut(register) else {
                    panic!("{line}: expected an address");
                };
                *at += count;
            }
            ("sub", ["{n}", "1"]) => {
                let Some(Register::Number(n)) = registers.get_mut("{n}") else {
                    panic!("{line}: expected a number");
                };
                *n = n.checked_sub(1).expect("steps left");
                zero = *n == 0;
            }
            ("jnz", ["2b"]) if zero => {}
            ("jnz", ["2b"]) => next = label.expect("a label before"),
            _ => panic!("`{line}` is none of the lines that are known here"),
        }
    }
    // Every operand was read to its end, and no further.
    for (name, memory) in [
        ("{a}", Memory::Upper),
        ("{d}", Memory::Lower),
        ("{b}", Memory::Right),
    ] {
        let Register::At(_, at) = registers[name] else {
            panic!("{name} is no address");
        };
        assert_eq!(at, machine.bytes(memory), "{name} at the end");
    }
}

struct Machine<'a> {
    operands: Operands<'a>,
    sums: &'a mut Block,
    tiles: [Option<Tile>; 8],
}

impl Machine<'_> {
    fn memory(&self, memory: Memory) -> &[Tile] {
        match memory {
            Memory::Upper => self.operands.upper,
            Memory::Lower => self.operands.lower,
            Memory::Right => self.operands.right,
            Memory::Sums => panic!("sums are not read"),
        }
    }

    fn bytes(&self, memory: Memory) -> usize {
        self.memory(memory).len() * BYTES
    }

    /// A tile whose rows follow each other.
    fn load(&self, (memory, at): (Memory, usize)) -> Tile {
        assert!(at.is_multiple_of(BYTES), "the start of a tile");
        self.memory(memory)[at / BYTES]
    }

    fn store(&mut self, (memory, at): (Memory, usize), tile: usize) {
        assert!(
            memory == Memory::Sums && at.is_multiple_of(BYTES),
            "a tile of sums"
        );
        self.sums[at / BYTES] = floats(self.tile(tile));
    }

    fn tile(&self, i: usize) -> Tile {
        self.tiles[i].expect("a tile that was written")
    }

    fn multiply(&mut self, to: usize, a: usize, b: usize) {
        assert!(to != a && to != b && a != b, "three different tiles");
        let mut sums = floats(self.tile(to));
        emulation::add(&mut sums, &self.tile(a), &self.tile(b));
        self.tiles[to] = Some(Tile(sums.0.map(|row| row.map(f32::to_bits))));
    }
}

fn floats(tile: Tile) -> Sums {
    Sums(tile.0.map(|row: [u32; SIDE]| row.map(f32::from_bits)))
}

/// Which tile `tmm0` to `tmm7` is.
fn number(tile: &str) -> usize {
    let number = tile
        .strip_prefix("tmm")
        .and_then(|number| number.parse().ok());
    number.filter(|number| *number < 8).expect("a tile")
}

/// Where `[{a} + {s}*1 + 1024]` is, rows being `{s}` apart.
fn address(text: &str, registers: &BTreeMap<&str, Register>) -> (Memory, usize) {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .expect("an address");
    let mut parts = inner.split(" + ");
    let base = registers[parts.next().expect("a base")];
    assert_eq!(parts.next(), Some("{s}*1"), "the distance of rows");
    assert!(
        matches!(registers["{s}"], Register::Number(64)),
        "rows of 64 bytes"
    );
    let offset: usize = parts.next().map_or(0, |offset| offset.parse().unwrap());
    let Register::At(memory, at) = base else {
        panic!("{text}: expected an address");
    };
    (memory, at + offset)
}

//! Damaged files, read in a child process.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use spar_core::Stream;

mod child;

const MINARI: &str = "minari/test/gzip-v0/data/main_data.hdf5";
/// Described by its attributes.
const OLD_MINARI: &str = "minari/test/old-v0/data/main_data.hdf5";

/// Only does something as the child of the tests below.
#[test]
fn child() {
    child::main();
}

/// A committed file.
fn fixture(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    std::fs::read(Path::new(root).join(name)).unwrap()
}

/// Writes the damaged files, has a child read them and returns what it said.
fn survive(name: &str, files: &[Vec<u8>]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(i, bytes): (usize, &Vec<u8>)| {
        let path = folder.path().join(format!("{i}.hdf5"));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().enumerate().map(write).collect();
    let said = child::read(name, &paths);
    // No file here has a megabyte, whatever it says of itself.
    let most = 512 << 10;
    assert!(said.peak < most, "{name}: {} kB of memory", said.peak);
    said.lines
}

#[test]
fn cut_anywhere() {
    for name in ["d4rl/everything.hdf5", "d4rl/f32.hdf5", MINARI] {
        let whole = fixture(name);
        let step = whole.len() / 150;
        let cut = |at: usize| whole[..at].to_vec();
        let said = survive(
            name,
            &(0..whole.len()).step_by(step).map(cut).collect::<Vec<_>>(),
        );
        assert!(said.iter().all(|line| line.starts_with("REFUSED")));
    }
}

/// The header made to agree with the cut, so that only the library can notice.
#[test]
fn cut_with_a_header_that_agrees() {
    let whole = fixture("d4rl/everything.hdf5");
    let cut = |at: usize| {
        let mut bytes = whole[..at].to_vec();
        bytes[40..48].copy_from_slice(&(at as u64).to_le_bytes());
        bytes
    };
    assert_eq!(
        whole[40..48],
        (whole.len() as u64).to_le_bytes(),
        "superblock version 0"
    );
    let said = survive(
        "cut",
        &(100..whole.len()).step_by(400).map(cut).collect::<Vec<_>>(),
    );
    assert!(said.iter().any(|line| line.contains("damaged")), "{said:?}");
}

#[test]
fn bits_flipped() {
    for name in [
        "d4rl/everything.hdf5",
        "d4rl/local.hdf5",
        "d4rl/f64_gzip.hdf5",
        MINARI,
        OLD_MINARI,
    ] {
        let whole = fixture(name);
        let mut stream = Stream::new(2026, name);
        let mut flipped = || {
            let mut bytes = whole.clone();
            for _ in 0..1 + stream.index(6) {
                let at = stream.index(bytes.len());
                bytes[at] ^= 1 << stream.index(8);
            }
            bytes
        };
        let files: Vec<_> = (0..300).map(|_| flipped()).collect();
        let said = survive(name, &files);
        assert!(said.iter().any(|line| line.starts_with("REFUSED")));
    }
}

/// Structures broken where they are, instead of anywhere: sizes, counts and addresses
/// become what a reader may not have thought of, or another's.
#[test]
fn structures_broken() {
    for name in [
        "d4rl/everything.hdf5",
        "d4rl/local.hdf5",
        "d4rl/f64_gzip.hdf5",
        MINARI,
        OLD_MINARI,
    ] {
        let whole = fixture(name);
        let mut stream = Stream::new(7, name);
        let files: Vec<_> = (0..400).map(|_| broken(&whole, &mut stream)).collect();
        let said = survive(name, &files);
        assert!(said.iter().any(|line| line.starts_with("REFUSED")));
    }
}

/// Where HDF5's structures start: object headers, B-trees, heaps, symbol tables.
const MARKS: [&[u8]; 7] = [
    b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"FRHP", b"\x89HDF",
];

/// `whole` after one to four changes of whole fields.
fn broken(whole: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| MARKS.iter().any(|mark| bytes[at..].starts_with(mark)))
        .collect();
    // Object headers of the first version have no mark, but lie on multiples of 8.
    let place = |stream: &mut Stream| {
        let near = stream.index(3) > 0;
        let start = if near {
            starts[stream.index(starts.len())]
        } else {
            stream.index(whole.len())
        };
        (start + 8 * stream.index(24)).min(whole.len() - 8) / 8 * 8
    };
    for _ in 0..1 + stream.index(4) {
        let at = place(stream);
        let length = whole.len() as u64;
        match stream.index(4) {
            0 => {
                let values = [0, 1, u64::MAX, length, length - 1, 1 << 40, 1 << 63, 96];
                let value = values[stream.index(values.len())];
                let width = [1, 2, 4, 8][stream.index(4)];
                bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            }
            1 => {
                let from = place(stream);
                bytes.copy_within(from..from + 8, at);
            }
            2 => {
                let (from, count) = (place(stream), 8 * (1 + stream.index(16)));
                let count = count.min(bytes.len() - at.max(from));
                bytes.copy_within(from..from + count, at);
            }
            _ => {
                let at = at + stream.index(8);
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff][stream.index(5)];
            }
        }
    }
    bytes
}

/// libhdf5 2.2.0 alone takes as many bytes as the block says it has, up to 4 GiB.
#[test]
fn a_driver_s_block() {
    let mut bytes = fixture("d4rl/everything.hdf5");
    assert_eq!(bytes[48..56], [0xff; 8], "none, in superblock version 0");
    let block = bytes.len() as u64;
    bytes[48..56].copy_from_slice(&block.to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let end = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&end.to_le_bytes());
    let said = survive("driver", &[bytes]);
    assert!(said[0].contains("names a driver"), "{said:?}");
}

/// libhdf5 takes as much memory as a text of variable length claims to have bytes.
#[test]
fn a_text_longer_than_the_file() {
    let whole = fixture("d4rl/everything.hdf5");
    let heap = whole.windows(5).position(|w| w == b"GCOL\x01").unwrap();
    // A text is its length, the address of its heap, and its place there.
    let address = (heap as u64).to_le_bytes();
    let texts: Vec<usize> = (4..whole.len() - 8)
        .filter(|&at| whole[at..at + 8] == address)
        .map(|at| at - 4)
        .collect();
    assert!(texts.len() > 2, "texts of metadata");
    let claims = [u32::MAX, 1 << 31, 1 << 30, whole.len() as u32 + 1];
    let mut files = Vec::new();
    for (text, claim) in texts.iter().flat_map(|&at| claims.map(|claim| (at, claim))) {
        let mut bytes = whole.clone();
        bytes[text..text + 4].copy_from_slice(&claim.to_le_bytes());
        files.push(bytes);
    }
    let said = survive("texts", &files);
    let claimed = |line: &String| line.starts_with("REFUSED") && line.contains("a text claims");
    assert!(said.iter().all(claimed), "{said:?}");
}

/// libhdf5 2.2.0 alone never returns from this one.
#[test]
fn a_heap_without_end() {
    let mut bytes = fixture("d4rl/everything.hdf5");
    let heap = bytes.windows(5).position(|w| w == b"GCOL\x01").unwrap();
    // An object of index 0 and length 0: no progress.
    bytes[heap + 16..heap + 32].fill(0);
    let said = survive("heap", &[bytes]);
    assert_eq!(said, ["READ 44"]);
}

//! Pickles as Python writes them with protocol 3, without its memo.
#![allow(dead_code)] // each test file uses its part

/// An array without its state.
pub(crate) const CONSTRUCT: &[u8] =
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R";

/// A pickle of what `body` builds.
pub(crate) fn pickle(body: &[u8]) -> Vec<u8> {
    [b"\x80\x03", body, b"."].concat()
}

fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &(text.len() as u32).to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

/// An array of this shape, kind, byte order, storage order and bytes, be they right or not.
pub(crate) fn stored(
    shape: &[i64],
    kind: &str,
    order: &str,
    by_columns: bool,
    bytes: &[u8],
) -> Vec<u8> {
    let axes = shape.iter().map(|&axis| {
        let axis = i32::try_from(axis).unwrap();
        [b"J", &axis.to_le_bytes()[..]].concat()
    });
    let axes = axes.collect::<Vec<_>>().concat();
    let flag = [if by_columns { 0x88 } else { 0x89 }];
    [
        CONSTRUCT,
        b"(K\x01(",
        &axes[..],
        b"tcnumpy\ndtype\n",
        &text(kind),
        b"K\0K\x01\x87R(K\x03",
        &text(order),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
        &flag,
        b"B",
        &(bytes.len() as u32).to_le_bytes(),
        bytes,
        b"tb",
    ]
    .concat()
}

/// An array of double precision.
pub(crate) fn array(shape: &[usize], values: &[f64]) -> Vec<u8> {
    let shape: Vec<i64> = shape.iter().map(|&axis| axis as i64).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    stored(&shape, "f8", "<", false, &bytes)
}

/// A list of what was built.
pub(crate) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"](", &items.concat()[..], b"e"].concat()
}

/// A dictionary of what was built.
pub(crate) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries
        .iter()
        .map(|(key, value)| [text(key), value.clone()].concat());
    [b"}(", &entries.collect::<Vec<_>>().concat()[..], b"u"].concat()
}

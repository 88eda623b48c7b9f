//! Pickles of arrays are read; whatever else is in one, however hostile, is an error that says
//! what, and takes neither long nor much memory.
#![allow(clippy::unwrap_used)]

mod pickled;

use pickled::{CONSTRUCT, array, dict, list, pickle};
use spar_collect::pickle::{Array, MOST_OPERATIONS, PickleError, Value, read};

/// What was built of two numbers and of three.
fn small() -> Vec<u8> {
    let numbers = array(&[2], &[0.5, -3.0]);
    let matrix = array(&[3, 1], &[1.0, 2.0, 3.0]);
    pickle(&list(&[dict(&[("a", numbers), ("b", matrix)])]))
}

fn refused(body: &[u8]) -> PickleError {
    read(&pickle(body)).unwrap_err()
}

#[test]
fn lists_and_dictionaries_of_arrays_are_read() {
    let Value::List(items) = read(&small()).unwrap() else {
        panic!("no list");
    };
    let [Value::Dict(entries)] = &items[..] else {
        panic!("{items:?}");
    };
    let array = |shape: &[usize], values: &[f64]| {
        let (shape, values) = (shape.to_vec(), values.to_vec());
        Value::Array(Array { shape, values })
    };
    assert_eq!(entries["a"], array(&[2], &[0.5, -3.0]));
    assert_eq!(entries["b"], array(&[3, 1], &[1.0, 2.0, 3.0]));
    assert_eq!(entries.len(), 2);
}

#[test]
fn columns_first_and_single_precision_are_read() {
    let bytes: Vec<u8> = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let body = pickled::stored(&[2, 3], "f4", "<", true, &bytes);
    let read = read(&pickle(&body)).unwrap();
    let values = vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0];
    let shape = vec![2, 3];
    assert_eq!(read, Value::Array(Array { shape, values }));
    // No numbers, but many rows of them.
    let body = pickled::stored(&[0x7fff_ffff, 0], "f8", "<", true, &[]);
    assert!(read_is_empty(&body));
}

fn read_is_empty(body: &[u8]) -> bool {
    matches!(read(&pickle(body)), Ok(Value::Array(array)) if array.values.is_empty())
}

/// Constructors are compared with three names and never called, whatever is asked of them.
#[test]
fn no_other_constructor_is_taken() {
    for (module, name) in [
        ("os", "system"),
        ("builtins", "eval"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy\nos", "system"),
        ("_codecs", "encode"),
    ] {
        // The classic: call it with a text.
        let called = b"X\x04\0\0\0echo\x85R.";
        let by_lines = [
            b"\x80\x03c",
            module.as_bytes(),
            b"\n",
            name.as_bytes(),
            b"\n",
            called,
        ];
        let text = |text: &str| [b"\x8c", &[text.len() as u8][..], text.as_bytes()].concat();
        let by_stack = [b"\x80\x04", &text(module)[..], &text(name), b"\x93", called];
        for bytes in [by_lines.concat(), by_stack.concat()] {
            let error = read(&bytes).unwrap_err();
            let PickleError::Global { name: said, .. } = &error else {
                panic!("{module}.{name}: {error:?}");
            };
            assert!(
                !said.contains('\n') && said.starts_with(&module[..2]),
                "{said}"
            );
            assert!(error.to_string().contains("it was not called"), "{error}");
        }
    }
    // A name of any length is not repeated whole, nor printed raw.
    let long = [b"c", &[0x1b; 5000][..], b"\nx\n"].concat();
    assert!(refused(&long).to_string().len() < 400);
}

#[test]
fn operations_that_arrays_do_not_need_are_refused() {
    // INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, EXT2, EXT4, PERSID, BINPERSID, INT, LONG, FLOAT,
    // STRING, GET, PUT, DUP, EMPTY_SET, NEXT_BUFFER, READONLY_BUFFER, BYTEARRAY8, LONG4
    let codes = b"io\x81\x92\x82\x83\x84PQILFSgp2\x8f\x97\x98\x96\x8b";
    for &code in codes {
        let found = refused(&[b"N", &[code][..], b"0000000000000000\n\n"].concat());
        assert_eq!(found, PickleError::Operation { at: 3, code });
    }
}

#[test]
fn what_is_not_there_is_an_error() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "needs what is not there"),
        (b"N", "no list, dictionary or array"),
        (b"h\x07", "never put there"),
        (b"j\xff\xff\xff\xff", "never put there"),
        (b"q\0", "needs what is not there"),
        (b"t", "needs a mark"),
        (b"e", "needs a mark"),
        (b"N(a", "needs what is not there"),
        (b"](R", "needs what is not there"),
        (b"NN\x86NR", "no constructor"),
        (b"N)R", "no constructor"),
        (b"cnumpy\nndarray\n)R", "what it does not take"),
        (b"cnumpy\nndarray\nN\x85R", "what it does not take"),
        (b"cnumpy\ndtype\nX\x01\0\0\0O\x85R", "neither f4 nor f8"),
        (b"N)b", "not that of an array"),
        (b"NNb", "no tuple"),
        (b"}(NNu", "no short text"),
        (b"}(Nu", "without a value"),
        (b"](NNu", "no dictionary"),
        (b"}(Ne", "no list"),
        (b"]]", "left over"),
        (b"X\x02\0\0\0\xff\xfe", "no UTF-8"),
        (b"\x8a\x08\0\0\0\0\0\0\0\0", "too large"),
        (CONSTRUCT, "never filled"),
    ];
    for (body, expected) in cases {
        let said = refused(body).to_string();
        assert!(said.contains(expected), "{}: {said}", body.escape_ascii());
    }
    let left = [&small()[..], b"."].concat();
    assert!(read(&left).unwrap_err().to_string().contains("left over"));
}

#[test]
fn shapes_are_those_of_the_bytes() {
    let stored = |shape: &[i64], bytes: usize| {
        let bytes = vec![0; bytes];
        refused(&pickled::stored(shape, "f8", "<", false, &bytes)).to_string()
    };
    let size = "not that of its bytes";
    assert!(stored(&[2], 8).contains(size));
    assert!(stored(&[1], 9).contains(size));
    assert!(stored(&[0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff], 8).contains(size));
    assert!(stored(&[1, 1, 1, 1, 1], 8).contains(size));
    assert!(stored(&[-1], 8).contains("whole numbers"));
    let order = pickled::stored(&[1], "f8", ">", false, &[0; 8]);
    assert!(refused(&order).to_string().contains("little-endian"));
    let many = pickled::stored(&[1, 1, 1], "f8", "<", true, &[0; 8]);
    assert!(refused(&many).to_string().contains("many axes"));
}

/// Sizes that are claimed and not there are not set aside.
#[test]
fn claimed_sizes_take_no_memory() {
    for body in [
        &b"B\xff\xff\xff\xff"[..],
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
        b"X\xff\xff\xff\x7f",
        b"T\xff\xff\xff\xff",
        b"cnumpy",
    ] {
        assert!(matches!(refused(body), PickleError::Truncated { .. }));
    }
}

#[test]
fn little_that_unfolds_to_much_is_refused() {
    let many = |what: &[u8], n: usize| what.repeat(n);
    // Operations without end.
    let found = refused(&many(b"N0", MOST_OPERATIONS));
    assert!(
        matches!(found, PickleError::Operation { code: b'0', .. }),
        "{found}"
    );
    let found = refused(&many(b"(1", MOST_OPERATIONS));
    assert!(matches!(
        found,
        PickleError::Limit {
            what: "operations",
            ..
        }
    ));
    // A list in itself.
    let found = refused(b"]q\0h\0a");
    assert!(matches!(
        found,
        PickleError::Limit {
            what: "lists in each other",
            ..
        }
    ));
    let deep = [&many(b"]", 1000)[..], &many(b"a", 999)].concat();
    assert!(matches!(refused(&deep), PickleError::Limit { .. }));
    // Each list ten times the one before: 10^7 values of a hundred bytes.
    let mut body = b"]q\0".to_vec();
    for i in 0..7u8 {
        body.extend([b"](", &many(&[b'h', i], 10)[..], b"e", &[b'q', i + 1]].concat());
    }
    let body = [b"(", &body[..], b"1]h\x07a"].concat();
    assert!(matches!(
        refused(&body),
        PickleError::Limit { what: "values", .. }
    ));
    // One array, taken a thousand times.
    let numbers = [&array(&[1000], &[0.0; 1000])[..], b"q\xff"].concat();
    let body = [b"](", &numbers[..], &many(b"h\xff", 999), b"e"].concat();
    assert!(matches!(
        refused(&body),
        PickleError::Limit {
            what: "numbers",
            ..
        }
    ));
    // One key that is long.
    let key = [b"X\0\x10\0\0", &[b'k'; 4096][..]].concat();
    let body = [b"}", &key[..], b"]s"].concat();
    assert!(refused(&body).to_string().contains("no short text"));
}

/// Every beginning of a pickle is an error; with any byte changed it is read or is an error.
#[test]
fn damaged_pickles_are_errors() {
    let whole = small();
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        for byte in 0..=255 {
            damaged[at] = byte;
            drop(read(&damaged));
        }
    }
}

//! A reader of pickles that hold arrays of numbers, in lists and dictionaries, and nothing
//! else.
//!
//! A pickle is a program. This is no interpreter of it: of its operations only those that
//! build lists, dictionaries, tuples, texts, bytes and whole numbers are known, and of its
//! constructors only the three that NumPy writes an array with, whose names are compared and
//! never looked up. Anything else is an error. No code is run, nothing is imported.
//!
//! A hostile file cannot take much memory either: there are at most [`MOST_OPERATIONS`]
//! operations, bytes stay where they are until the end, and no more numbers are taken out than
//! the file has bytes.
//!
//! The format is that of Python's `pickletools.py`, protocols 2 to 5; what an array's state
//! holds is that of NumPy's `ndarray.__reduce__`.

mod machine;

use std::collections::BTreeMap;

use machine::{Kind, Machine, Node};

/// Most operations of a pickle. The demonstrations of a door have three thousand.
pub const MOST_OPERATIONS: usize = 100_000;

/// Most lists and dictionaries in each other.
const DEEPEST: usize = 8;

/// What a pickle holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// In order.
    List(Vec<Value>),
    /// By its keys, which are texts.
    Dict(BTreeMap<String, Value>),
    /// Numbers.
    Array(Array),
}

/// A NumPy array of single or double precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its length along each axis; empty of a single number.
    pub shape: Vec<usize>,
    /// Its numbers, the last axis fastest.
    pub values: Vec<f64>,
}

/// Why bytes are no pickle of arrays. `at` is the place of the operation in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The bytes end before the pickle does.
    #[error("it ends at byte {at}, before its last operation")]
    Truncated {
        /// The place.
        at: usize,
    },
    /// An operation that arrays do not need.
    #[error("byte {at}: operation {code:#04x} is none that arrays need")]
    Operation {
        /// The place.
        at: usize,
        /// Its code.
        code: u8,
    },
    /// A constructor that is not one of NumPy's three.
    #[error("byte {at}: `{name}` is none of NumPy's constructors of arrays; it was not called")]
    Global {
        /// The place.
        at: usize,
        /// Its module and name, printable.
        name: String,
    },
    /// An operation on what is not there, or not what it needs.
    #[error("byte {at}: {what}")]
    Malformed {
        /// The place.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// More than a reader takes.
    #[error("it has more than {most} {what}")]
    Limit {
        /// What it has too much of.
        what: &'static str,
        /// What is allowed.
        most: usize,
    },
}

/// What the pickle in `bytes` holds: a list, a dictionary or an array.
///
/// # Errors
/// If it is damaged, uses what arrays do not need, names any other constructor or goes beyond
/// a limit.
pub fn read(bytes: &[u8]) -> Result<Value, PickleError> {
    let (nodes, root, at) = Machine::new(bytes).run()?;
    let mut out = Taken {
        nodes: &nodes,
        at,
        numbers: bytes.len(),
        values: MOST_OPERATIONS,
        limits: [bytes.len(), MOST_OPERATIONS],
    };
    out.value(root, 0)
}

/// What is taken out of the nodes, and how much more may be.
struct Taken<'n, 'a> {
    nodes: &'n [Node<'a>],
    at: usize,
    numbers: usize,
    values: usize,
    limits: [usize; 2],
}

impl Taken<'_, '_> {
    fn value(&mut self, node: usize, depth: usize) -> Result<Value, PickleError> {
        let [numbers, values] = self.limits;
        let limit = |what, most| PickleError::Limit { what, most };
        if depth > DEEPEST {
            return Err(limit("lists in each other", DEEPEST));
        }
        self.values = match self.values.checked_sub(1) {
            Some(left) => left,
            None => return Err(limit("values", values)),
        };
        let at = self.at;
        let malformed = |what| PickleError::Malformed { at, what };
        let nodes = self.nodes;
        Ok(match &nodes[node] {
            Node::List(items) => {
                let items = items.iter().map(|&item| self.value(item, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Node::Dict(items) => {
                let items = items.iter().map(|&(key, item)| {
                    let key = nodes[key].name();
                    let key =
                        key.ok_or_else(|| malformed("a dictionary's key is no short text"))?;
                    Ok((key.to_owned(), self.value(item, depth + 1)?))
                });
                Value::Dict(items.collect::<Result<_, _>>()?)
            }
            Node::Array(Some(array)) => {
                let count = array.bytes.len() / array.kind.size();
                self.numbers = match self.numbers.checked_sub(count) {
                    Some(left) => left,
                    None => return Err(limit("numbers", numbers)),
                };
                let stored: Vec<f64> = match array.kind {
                    Kind::Single => {
                        let (parts, _) = array.bytes.as_chunks::<4>();
                        let parts = parts.iter().map(|b| f32::from_le_bytes(*b));
                        parts.map(f64::from).collect()
                    }
                    Kind::Double => {
                        let (parts, _) = array.bytes.as_chunks::<8>();
                        parts.iter().map(|b| f64::from_le_bytes(*b)).collect()
                    }
                };
                let values = match (array.by_columns, &array.shape[..]) {
                    (true, &[rows, columns]) if !stored.is_empty() => {
                        let places = (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c)));
                        places.map(|(row, c)| stored[c * rows + row]).collect()
                    }
                    _ => stored,
                };
                Value::Array(Array {
                    shape: array.shape.clone(),
                    values,
                })
            }
            Node::Array(None) => return Err(malformed("an array was never filled")),
            _ => return Err(malformed("it holds what is no list, dictionary or array")),
        })
    }
}

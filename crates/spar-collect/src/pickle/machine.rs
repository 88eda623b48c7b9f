//! The operations of a pickle, on nodes that point at each other and at its bytes.

use std::collections::HashMap;

use super::{MOST_OPERATIONS, PickleError};

/// Most bytes of a key or of another name.
const LONGEST_NAME: usize = 100;

/// Most axes of an array.
const MOST_AXES: usize = 4;

/// What an operation makes.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Nothing,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    Constructor(Constructor),
    Kind(Kind),
    /// None until its state is set.
    Array(Option<Stored<'a>>),
}

/// NumPy's three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constructor {
    Reconstruct,
    Array,
    Kind,
}

/// What an array's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    Double,
}

impl Kind {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Double => 8,
        }
    }
}

/// An array's state: its bytes are as many as its shape needs.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    /// The first axis is the fastest; only of two axes.
    pub(super) by_columns: bool,
    pub(super) bytes: &'a [u8],
}

impl<'a> Node<'a> {
    /// A name, of at most [`LONGEST_NAME`] bytes; of Python 2's pickles also one that is kept as
    /// bytes.
    pub(super) fn name(&self) -> Option<&'a str> {
        match *self {
            Self::Text(text) if text.len() <= LONGEST_NAME => Some(text),
            Self::Bytes(bytes) if bytes.len() <= LONGEST_NAME => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// A pickle while it is gone through.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte.
    next: usize,
    /// The operation's first byte.
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<usize>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, usize>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            next: 0,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// All nodes, which of them the pickle holds, and the place of the last operation.
    pub(super) fn run(mut self) -> Result<(Vec<Node<'a>>, usize, usize), PickleError> {
        for _ in 0..MOST_OPERATIONS {
            self.at = self.next;
            let code = self.byte()?;
            // STOP
            if code == b'.' {
                let root = self.pop()?;
                if self.next != self.bytes.len() || !self.stack.is_empty() {
                    return Err(self.malformed("something is left over at its end"));
                }
                return Ok((self.nodes, root, self.at));
            }
            self.operation(code)?;
        }
        Err(PickleError::Limit {
            what: "operations",
            most: MOST_OPERATIONS,
        })
    }

    fn operation(&mut self, code: u8) -> Result<(), PickleError> {
        match code {
            // PROTO, FRAME: nothing that is needed
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            // MARK, POP_MARK
            b'(' => self.marks.push(self.stack.len()),
            b'1' => drop(self.above_mark()?),
            b'N' => self.push(Node::Nothing),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let number = self.unsigned(4)? as u32;
                self.push(Node::Int(i64::from(number as i32)));
            }
            b'K' | b'M' => {
                let number = self.unsigned(if code == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(number as i64));
            }
            0x8a => {
                let length = self.unsigned(1)?;
                if length > 7 {
                    return Err(self.malformed("a whole number is too large"));
                }
                let bytes = self.take(length)?;
                let mut all = [0; 8];
                all[..length].copy_from_slice(bytes);
                let unused = 64 - 8 * length as u32;
                let number = i64::from_le_bytes(all);
                let signed = number.checked_shl(unused).map_or(0, |high| high >> unused);
                self.push(Node::Int(signed));
            }
            // SHORT_BINUNICODE, BINUNICODE
            0x8c | b'X' => {
                let length = self.unsigned(if code == b'X' { 4 } else { 1 })?;
                let text = str::from_utf8(self.take(length)?);
                let text = text.map_err(|_| self.malformed("a text is no UTF-8"))?;
                self.push(Node::Text(text));
            }
            // SHORT_BINBYTES, SHORT_BINSTRING; BINBYTES, BINSTRING; BINBYTES8
            b'C' | b'U' | b'B' | b'T' | 0x8e => {
                let length = self.unsigned(match code {
                    b'C' | b'U' => 1,
                    b'B' | b'T' => 4,
                    _ => 8,
                })?;
                let bytes = self.take(length)?;
                self.push(Node::Bytes(bytes));
            }
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            // TUPLE, TUPLE1, TUPLE2, TUPLE3
            b't' => {
                let items = self.above_mark()?;
                self.push(Node::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0..code - 0x84 {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Node::Tuple(items));
            }
            // APPEND, APPENDS
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.extend(&items)?;
            }
            // SETITEM, SETITEMS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.insert(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE; BINGET, LONG_BINGET
            b'q' | b'r' | 0x94 => {
                let name = match code {
                    b'q' => self.unsigned(1)?,
                    b'r' => self.unsigned(4)?,
                    _ => self.memo.len(),
                };
                let top = self.top()?;
                self.memo.insert(name, top);
            }
            b'h' | b'j' => {
                let name = self.unsigned(if code == b'h' { 1 } else { 4 })?;
                let Some(&node) = self.memo.get(&name) else {
                    return Err(self.malformed("what it remembers was never put there"));
                };
                self.stack.push(node);
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.constructor(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let texts = self.nodes[module].name().zip(self.nodes[name].name());
                let Some((module, name)) = texts else {
                    return Err(self.malformed("a constructor's name is no text"));
                };
                self.constructor(module.as_bytes(), name.as_bytes())?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return Err(PickleError::Operation { at: self.at, code }),
        }
        Ok(())
    }

    /// Compares a name with those of NumPy's constructors, before and after its version 2.
    fn constructor(&mut self, module: &'a [u8], name: &'a [u8]) -> Result<(), PickleError> {
        let found = match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Constructor::Reconstruct
            }
            (b"numpy", b"ndarray") => Constructor::Array,
            (b"numpy", b"dtype") => Constructor::Kind,
            _ => {
                // What is shown of a name that may be of any length.
                let shown = |text: &[u8]| text[..text.len().min(60)].escape_ascii().to_string();
                return Err(PickleError::Global {
                    at: self.at,
                    name: format!("{}.{}", shown(module), shown(name)),
                });
            }
        };
        self.push(Node::Constructor(found));
        Ok(())
    }

    /// REDUCE: an array without a state, or a kind of number.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (given, called) = (self.pop()?, self.pop()?);
        let (Node::Constructor(called), Node::Tuple(given)) =
            (&self.nodes[called], &self.nodes[given])
        else {
            return Err(self.malformed("what is called is no constructor of NumPy's"));
        };
        let first = given.first().map(|&node| &self.nodes[node]);
        let made = match (called, first) {
            (Constructor::Reconstruct, Some(Node::Constructor(Constructor::Array))) => {
                Node::Array(None)
            }
            (Constructor::Kind, Some(kind)) => Node::Kind(match kind.name() {
                Some("f4") => Kind::Single,
                Some("f8") => Kind::Double,
                _ => return Err(self.malformed("an array is of neither f4 nor f8")),
            }),
            _ => return Err(self.malformed("a constructor is given what it does not take")),
        };
        self.push(made);
        Ok(())
    }

    /// BUILD: the state of an array, or the byte order of a kind of number.
    fn build(&mut self) -> Result<(), PickleError> {
        let (state, built) = (self.pop()?, self.top()?);
        let Node::Tuple(state) = &self.nodes[state] else {
            return Err(self.malformed("a state is no tuple"));
        };
        let state: Vec<_> = state.iter().map(|&node| &self.nodes[node]).collect();
        match (&self.nodes[built], &state[..]) {
            (Node::Kind(_), [_, order, ..]) => match order.name() {
                Some("<") => Ok(()),
                _ => Err(self.malformed("an array's numbers are not little-endian")),
            },
            (Node::Array(_), &[_, shape, kind, by_columns, bytes]) => {
                let stored = self.stored([shape, kind, by_columns, bytes])?;
                self.nodes[built] = Node::Array(Some(stored));
                Ok(())
            }
            _ => Err(self.malformed("a state is not that of an array")),
        }
    }

    fn stored(
        &self,
        [shape, kind, order, bytes]: [&Node<'a>; 4],
    ) -> Result<Stored<'a>, PickleError> {
        let (&Node::Kind(kind), &Node::Bool(by_columns), &Node::Bytes(bytes), Node::Tuple(shape)) =
            (kind, order, bytes, shape)
        else {
            return Err(self.malformed("a state is not that of an array"));
        };
        let axes = shape.iter().map(|&axis| match self.nodes[axis] {
            Node::Int(length) => usize::try_from(length).ok(),
            _ => None,
        });
        let Some(shape) = axes.collect::<Option<Vec<_>>>() else {
            return Err(self.malformed("a shape is not of whole numbers"));
        };
        let count = shape
            .iter()
            .try_fold(kind.size(), |size, &axis| size.checked_mul(axis));
        if shape.len() > MOST_AXES || count != Some(bytes.len()) {
            return Err(self.malformed("an array's shape is not that of its bytes"));
        }
        if by_columns && shape.len() > 2 {
            return Err(self.malformed("an array of many axes has its first axis fastest"));
        }
        Ok(Stored {
            shape,
            kind,
            by_columns,
            bytes,
        })
    }

    fn extend(&mut self, items: &[usize]) -> Result<(), PickleError> {
        let top = self.top()?;
        let Node::List(list) = &mut self.nodes[top] else {
            return Err(self.malformed("what is appended to is no list"));
        };
        list.extend_from_slice(items);
        Ok(())
    }

    fn insert(&mut self, items: &[usize]) -> Result<(), PickleError> {
        let top = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(self.malformed("a key is without a value"));
        };
        let Node::Dict(dict) = &mut self.nodes[top] else {
            return Err(self.malformed("what is inserted into is no dictionary"));
        };
        dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    /// The topmost node above the last mark.
    fn top(&self) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&top) if self.stack.len() > floor => Ok(top),
            _ => Err(self.malformed("an operation needs what is not there")),
        }
    }

    fn pop(&mut self) -> Result<usize, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Takes off what is above the last mark, and the mark.
    fn above_mark(&mut self) -> Result<Vec<usize>, PickleError> {
        match self.marks.pop() {
            // Never higher than the stack: nothing is popped from below a mark.
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.malformed("an operation needs a mark")),
        }
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// A number of `size` bytes, at most 8.
    fn unsigned(&mut self, size: usize) -> Result<usize, PickleError> {
        let bytes = self.take(size)?;
        let number = bytes.iter().rev().fold(0, |n, &b| (n << 8) | u64::from(b));
        usize::try_from(number).map_err(|_| PickleError::Truncated { at: self.at })
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.next..];
        let taken = rest.get(..size);
        let taken = taken.ok_or(PickleError::Truncated { at: self.at })?;
        self.next += size;
        Ok(taken)
    }

    /// Up to the next line feed, without it.
    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.next..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or(PickleError::Truncated { at: self.at })?;
        self.next += length + 1;
        Ok(&rest[..length])
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { at: self.at, what }
    }
}

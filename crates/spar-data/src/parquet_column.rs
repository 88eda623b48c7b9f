//! One column of a Parquet file, unpacked: which types are numbers, and the numbers of a chunk
//! as they come, each row held to what the first one says.

use half::f16;
use parquet::{
    basic::{LogicalType, Type as Physical},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{DataType, FixedLenByteArray},
    schema::types::ColumnDescriptor,
};

/// Records decoded at a time.
const RECORDS: usize = 1024;

/// Most numbers of one list.
const WIDEST: usize = 1 << 16;

/// Where a file has a column, and what its numbers are.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    pub(crate) at: usize,
    pub(crate) list: bool,
    /// The definition level of a number that is there.
    pub(crate) defined: i16,
    pub(crate) kind: Kind,
}

/// What the values of a column mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Unsigned,
    Half,
    Text,
}

/// What the values of a column mean, or what they are instead of numbers.
pub(crate) fn kind(column: &ColumnDescriptor) -> Result<Kind, String> {
    let logical = column.logical_type_ref();
    let other = || match logical {
        Some(logical) => format!("values of type {logical:?}"),
        None => format!("values of type {}", column.physical_type()),
    };
    match (column.physical_type(), logical) {
        (Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE, None)
        | (Physical::INT32 | Physical::INT64, None) => Ok(Kind::Number),
        (Physical::INT32 | Physical::INT64, Some(LogicalType::Integer(int))) => {
            Ok(match int.is_signed {
                true => Kind::Number,
                false => Kind::Unsigned,
            })
        }
        (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16)) => Ok(Kind::Half),
        (Physical::BYTE_ARRAY, Some(LogicalType::String)) => Ok(Kind::Text),
        _ => Err(other()),
    }
}

/// Hands the numbers of a column chunk of `rows` rows to `take`: see [`drain`].
pub(crate) fn numbers(
    reader: ColumnReader,
    leaf: Leaf,
    rows: usize,
    width: &mut usize,
    take: impl FnMut(&[f64]) -> Result<(), String>,
) -> Result<(), String> {
    let unsigned = leaf.kind == Kind::Unsigned;
    match reader {
        ColumnReader::BoolColumnReader(reader) => {
            drain(reader, leaf, rows, width, |&x| f64::from(u8::from(x)), take)
        }
        ColumnReader::Int32ColumnReader(reader) if unsigned => {
            drain(reader, leaf, rows, width, |&x| f64::from(x as u32), take)
        }
        ColumnReader::Int32ColumnReader(reader) => {
            drain(reader, leaf, rows, width, |&x| f64::from(x), take)
        }
        ColumnReader::Int64ColumnReader(reader) if unsigned => {
            drain(reader, leaf, rows, width, |&x| x as u64 as f64, take)
        }
        ColumnReader::Int64ColumnReader(reader) => {
            drain(reader, leaf, rows, width, |&x| x as f64, take)
        }
        ColumnReader::FloatColumnReader(reader) => {
            drain(reader, leaf, rows, width, |&x| f64::from(x), take)
        }
        ColumnReader::DoubleColumnReader(reader) => drain(reader, leaf, rows, width, |&x| x, take),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            let number = |x: &FixedLenByteArray| match x.data() {
                &[low, high] => f16::from_le_bytes([low, high]).to_f64(),
                _ => f64::NAN,
            };
            drain(reader, leaf, rows, width, number, take)
        }
        ColumnReader::Int96ColumnReader(_) | ColumnReader::ByteArrayColumnReader(_) => {
            Err("it holds no numbers".to_owned())
        }
    }
}

/// Hands the numbers of a column chunk, which has to have `rows` rows, to `take` as they are
/// unpacked: of a list in every row `width` of them, of which the first says how many where
/// that is 0; of others one, NaN where there is none.
pub(crate) fn drain<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    leaf: Leaf,
    rows: usize,
    width: &mut usize,
    mut number: impl FnMut(&T::T) -> f64,
    mut take: impl FnMut(&[f64]) -> Result<(), String>,
) -> Result<(), String> {
    let (mut defined, mut repeated) = (Vec::new(), Vec::new());
    let (mut values, mut batch) = (Vec::new(), Vec::new());
    let (mut begun, mut inside) = (0, 0);
    loop {
        defined.clear();
        repeated.clear();
        values.clear();
        batch.clear();
        let read = reader.read_records(
            RECORDS,
            Some(&mut defined),
            Some(&mut repeated),
            &mut values,
        );
        let (_, _, levels) = read.map_err(|e| e.to_string())?;
        if levels == 0 {
            break;
        }
        let mut found = values.iter();
        for level in 0..levels {
            let there = leaf.defined == 0 || defined.get(level) == Some(&leaf.defined);
            let first = !leaf.list || repeated.get(level) == Some(&0);
            if first {
                if leaf.list && begun > 0 {
                    whole(inside, width, begun)?;
                }
                begun += 1;
                inside = 0;
            }
            inside += 1;
            if begun == 0 || begun > rows {
                return Err(format!("it has other rows than the {rows} declared"));
            }
            if leaf.list && !there {
                return Err(format!("row {}: a number is missing", begun - 1));
            }
            if inside > WIDEST {
                return Err(format!("a list of more than {WIDEST} numbers"));
            }
            batch.push(match there {
                false => f64::NAN,
                true => number(found.next().ok_or("it has fewer numbers than declared")?),
            });
        }
        take(&batch)?;
    }
    if leaf.list && begun > 0 {
        whole(inside, width, begun)?;
    }
    if begun != rows {
        return Err(format!("it has {begun} rows instead of {rows}"));
    }
    Ok(())
}

/// Holds the list of the row before row `next` to the width of all.
fn whole(inside: usize, width: &mut usize, next: usize) -> Result<(), String> {
    if *width == 0 {
        *width = inside;
    }
    if inside == *width {
        return Ok(());
    }
    Err(format!(
        "row {} of a row group has {inside} numbers, expected {width} as in the first",
        next - 1
    ))
}

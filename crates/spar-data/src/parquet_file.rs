//! Parquet files: one table, or LeRobot's folder of them ([`Folder`](crate::lerobot)); what
//! a column's name means is [`Columns`]'s to say.
//!
//! A column holds one number a row, or a list of as many numbers in every row. The library
//! is not shown more than the columns that are asked for, and, where there is a process for
//! it, not before that one has unpacked them ([`crate::rehearsal`]): pages unpack to what
//! they say, and a file that asserts the impossible makes the library panic.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use parquet::{
    basic::Compression,
    column::reader::ColumnReader,
    data_type::ByteArray,
    file::{
        metadata::ParquetStatisticsPolicy,
        reader::{FileReader, RowGroupReader},
        serialized_reader::{ReadOptionsBuilder, SerializedFileReader},
    },
    schema::types::ColumnDescriptor,
};
use spar_core::printable;

use crate::{
    columns::{self, Column, Columns, MOST_COLUMNS, Numbered, damaged},
    dataset::Dataset,
    elements::fits_stored,
    error::DataError,
    parquet_column::{Kind, Leaf, drain, kind, numbers},
    read::Checked,
    reading::{Asked, Reading},
};

/// Bytes that a number takes: once as a column, once in its row.
const BYTES: u128 = 8;
/// What is expected of a column.
const EXPECTED: &str = "numbers or flags, or lists of as many numbers in every row";

/// Reads the data `checked`.
pub(crate) fn read(checked: &Checked, asked: Asked<'_>) -> Result<Dataset, DataError> {
    let mut columns = read_columns(checked, asked.reading, true)?;
    if let Some(folder) = checked.folder() {
        columns.notes.extend(folder.notes());
    }
    columns.dataset(checked.scan()?.sha256, asked)
}

/// Has the library do all that [`read`] would, and keeps nothing.
pub(crate) fn rehearse(checked: &Checked, reading: &Reading) -> Result<(), DataError> {
    read_columns(checked, reading, false).map(drop)
}

fn read_columns<'a>(
    checked: &'a Checked,
    reading: &Reading,
    keep: bool,
) -> Result<Columns<'a>, DataError> {
    let mut tables = Tables {
        whole: checked.path(),
        length: checked.length(),
        reading,
        keep,
        columns: Vec::new(),
        episodes: None,
        numbered: Numbered::default(),
        before: None,
        names: HashMap::new(),
        rows: 0,
        declared: 0,
    };
    let files = checked.folder().map_or(&[][..], |folder| folder.files());
    let files = files.iter().map(|file| &**file);
    let single = checked.folder().is_none().then_some(checked.path());
    for file in files.chain(single) {
        // What it believes of a file, the library asserts.
        let work = AssertUnwindSafe(|| tables.read(file));
        let panicked = |_| Err(damaged(file, "file", "the library panics on it"));
        catch_unwind(work).unwrap_or_else(panicked)?;
    }
    if tables.rows == 0 {
        return Err(damaged(checked.path(), "file", "it has no rows"));
    }
    if let Some(folder) = checked.folder() {
        let episodes = tables.episodes.map(|_| tables.numbered.starts.len() + 1);
        folder.agrees(tables.rows, episodes)?;
    }
    Ok(Columns {
        path: checked.path(),
        columns: tables.columns,
        starts: tables.episodes.map(|_| tables.numbered.starts),
        rows: tables.rows,
        horizon: false,
        notes: Vec::new(),
    })
}

/// The rows of one file after the other.
struct Tables<'a> {
    /// The file or folder.
    whole: &'a Path,
    /// Its bytes, all files together.
    length: u64,
    reading: &'a Reading,
    keep: bool,
    /// Those of the first file that are read.
    columns: Vec<Column>,
    /// The column that numbers episodes.
    episodes: Option<&'static str>,
    numbered: Numbered,
    /// The number of the episode before.
    before: Option<f64>,
    /// The numbers of episodes, in the order of their first rows, where they have names.
    names: HashMap<Vec<u8>, f64>,
    rows: usize,
    /// Bytes of all numbers so far, by what the files declare.
    declared: u128,
}

/// The columns of a file that can be read, by their names; the others with what they hold.
type Leaves = BTreeMap<String, Result<Leaf, String>>;

impl Tables<'_> {
    fn read(&mut self, path: &Path) -> Result<(), DataError> {
        let opened = File::open(path).map_err(|source| DataError::Io {
            path: path.into(),
            doing: "read the data file",
            source,
        })?;
        let told = |place: &str, why: &dyn ToString| damaged(path, place, &why.to_string());
        let options = ReadOptionsBuilder::new()
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let file = SerializedFileReader::new_with_options(opened, options.build());
        let file = file.map_err(|e| told("footer", &e))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let leaves = leaves(path, schema.columns().iter().map(|column| &**column))?;
        if self.columns.is_empty() {
            self.choose(path, &leaves)?;
        }
        for group in 0..file.num_row_groups() {
            let rows = file.metadata().row_group(group).num_rows();
            let rows = usize::try_from(rows).map_err(|_| {
                let why = format!("row group {group} has {rows} rows");
                damaged(path, "footer", &why)
            })?;
            let group = file.get_row_group(group).map_err(|e| told("footer", &e))?;
            self.group(path, &*group, &leaves, rows)?;
        }
        Ok(())
    }

    /// Decides by the first file which columns are read: all of one number a row, since any
    /// may say where episodes end, and of lists those that are asked for.
    fn choose(&mut self, path: &Path, leaves: &Leaves) -> Result<(), DataError> {
        let reading = self.reading;
        self.episodes = columns::episodes(|name| leaves.contains_key(name));
        for (name, leaf) in leaves {
            let asked =
                reading.observations.contains(name) || reading.reward.as_ref() == Some(name);
            let known = asked || columns::is_known(name);
            let counts = self.episodes == Some(name);
            match leaf {
                Err(got) if known || counts => return Err(wrong_type(path, name, got)),
                Ok(leaf) if counts && leaf.list => return Err(wrong_type(path, name, "lists")),
                Ok(leaf) if leaf.kind == Kind::Text && known => {
                    return Err(wrong_type(path, name, "text"));
                }
                Ok(leaf) if !counts && leaf.kind != Kind::Text && (known || !leaf.list) => {
                    self.columns.push(Column {
                        name: name.clone(),
                        width: usize::from(!leaf.list),
                        values: Vec::new(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the `rows` rows of one row group.
    fn group(
        &mut self,
        path: &Path,
        group: &dyn RowGroupReader,
        leaves: &Leaves,
        rows: usize,
    ) -> Result<(), DataError> {
        let mut columns = std::mem::take(&mut self.columns);
        for column in &mut columns {
            let leaf = self.leaf(path, group, leaves, &column.name)?;
            if !leaf.list && column.width != 1 {
                let why = "it holds single numbers here and lists in a file before";
                return Err(damaged(path, &column.name, why));
            }
            let reader = group.get_column_reader(leaf.at);
            let (mut width, keep, values) = (column.width, self.keep, &mut column.values);
            let take = |numbers: &[f64]| {
                if keep {
                    values.extend(numbers.iter().map(|&x| x as f32));
                }
                Ok(())
            };
            let read = reader
                .map_err(|e| e.to_string())
                .and_then(|reader| numbers(reader, leaf, rows, &mut width, take));
            read.map_err(|why| damaged(path, &column.name, &why))?;
            column.width = width;
        }
        self.columns = columns;
        if let Some(name) = self.episodes {
            let leaf = self.leaf(path, group, leaves, name)?;
            self.count(group, leaf, rows)
                .map_err(|why| damaged(path, name, &why))?;
        }
        self.rows += rows;
        Ok(())
    }

    /// The column `name` of a file, whose numbers in this row group may be unpacked.
    fn leaf(
        &mut self,
        path: &Path,
        group: &dyn RowGroupReader,
        leaves: &Leaves,
        name: &str,
    ) -> Result<Leaf, DataError> {
        let leaf = match leaves.get(name) {
            Some(Ok(leaf)) => *leaf,
            Some(Err(got)) => return Err(wrong_type(path, name, got)),
            None => {
                return Err(DataError::MissingKey {
                    path: path.into(),
                    key: printable(name).into_owned(),
                    expected: "the columns of the data set's first file",
                });
            }
        };
        let chunk = group.metadata().column(leaf.at);
        let packing = chunk.compression();
        if !matches!(
            packing,
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_)
        ) {
            return Err(DataError::Packing {
                path: path.into(),
                key: printable(name).into_owned(),
                got: packing_name(packing),
                expected: "snappy, zstd or none",
            });
        }
        let values = chunk.num_values();
        let values = u128::try_from(values).map_err(|_| {
            let why = format!("it declares {values} numbers");
            damaged(path, name, &why)
        })?;
        self.declared += values.saturating_mul(BYTES);
        let (all, length) = (self.declared, self.length);
        fits_stored(self.whole, name, all, length, all, length)?;
        Ok(leaf)
    }

    /// Notes where episodes begin in the `rows` rows of a row group.
    fn count(&mut self, group: &dyn RowGroupReader, leaf: Leaf, rows: usize) -> Result<(), String> {
        let reader = group
            .get_column_reader(leaf.at)
            .map_err(|e| e.to_string())?;
        let (first, mut seen) = (self.rows, 0);
        let (numbered, before) = (&mut self.numbered, &mut self.before);
        let mut names = std::mem::take(&mut self.names);
        let take = |numbers: &[f64]| {
            for &number in numbers {
                if number.is_nan() {
                    return Err(format!("row {} has no value", first + seen));
                }
                if before.replace(number) != Some(number) {
                    numbered.row(first + seen, &number.to_string())?;
                }
                seen += 1;
            }
            Ok(())
        };
        let read = match (reader, leaf.kind) {
            (ColumnReader::ByteArrayColumnReader(reader), Kind::Text) => {
                let number = |name: &ByteArray| {
                    let next = names.len() as f64;
                    match names.get(name.data()) {
                        Some(known) => *known,
                        None => *names.entry(name.data().to_vec()).or_insert(next),
                    }
                };
                drain(reader, leaf, rows, &mut 1, number, take)
            }
            (reader, _) => numbers(reader, leaf, rows, &mut 1, take),
        };
        self.names = names;
        read
    }
}

/// What the columns of a file are.
fn leaves<'c>(
    path: &Path,
    columns: impl ExactSizeIterator<Item = &'c ColumnDescriptor>,
) -> Result<Leaves, DataError> {
    if columns.len() > MOST_COLUMNS {
        let why = format!("{} columns, expected at most {MOST_COLUMNS}", columns.len());
        return Err(damaged(path, "footer", &why));
    }
    let mut leaves = Leaves::new();
    for (at, column) in columns.enumerate() {
        let parts = column.path().parts();
        let Some(name) = parts.first() else { continue };
        let list = column.max_rep_level() == 1 && parts.len() <= 3;
        let leaf = match kind(column) {
            _ if !list && (column.max_rep_level() != 0 || parts.len() != 1) => {
                Err("groups of columns, or lists of lists".to_owned())
            }
            Err(got) => Err(got),
            Ok(kind) => Ok(Leaf {
                at,
                list,
                defined: column.max_def_level(),
                kind,
            }),
        };
        let several = leaves.contains_key(name);
        let leaf = match several {
            true => Err("groups of columns".to_owned()),
            false => leaf,
        };
        leaves.insert(name.clone(), leaf);
    }
    Ok(leaves)
}

/// As in `gzip`, without its level.
fn packing_name(packing: Compression) -> String {
    let name = format!("{packing:?}").to_lowercase();
    name.split('(').next().unwrap_or_default().to_owned()
}

fn wrong_type(path: &Path, name: &str, got: &str) -> DataError {
    DataError::Type {
        path: path.into(),
        key: printable(name).into_owned(),
        expected: EXPECTED,
        got: printable(got).into_owned(),
    }
}

//! Everything that can be wrong with a data file, each with one clear line.

use std::{io, path::PathBuf};

use spar_core::EnvId;

/// Why a data file was refused or could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file is HDF5, which this program was built without.
    #[error(
        "{}: the file is HDF5, which this program was built without; build it with the feature \
         `hdf5` of spar-data, or convert the file to .npz or Parquet",
        path.display()
    )]
    WithoutHdf5 {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("{}: no such data file; give the path of an existing data file, or the folder or id of a Minari or LeRobot data set", path.display())]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// What was tried, as in "read the file".
        doing: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{}: the file is empty (0 bytes), expected an HDF5 file; download or generate it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file does not start as an HDF5 file does.
    #[error("{}: not an HDF5 file, it looks like {got}; {hint}", path.display())]
    NotHdf5 {
        /// The file.
        path: PathBuf,
        /// What the first bytes look like.
        got: &'static str,
        /// How to fix it.
        hint: &'static str,
    },
    /// The file ends before its own header says it does.
    #[error("{}: truncated HDF5 file: its header declares {expected} bytes, got {got}; download or generate it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Length declared by the superblock.
        expected: u64,
        /// Length on disk.
        got: u64,
    },
    /// The library that reads it could not make sense of the file.
    #[error("{}: {place}: damaged or unsupported content ({reason}); download or generate the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The key or part concerned.
        place: String,
        /// The library's reason.
        reason: String,
    },
    /// A mandatory array is absent.
    #[error("{}: key `{key}` is missing, expected {expected}", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The absent key.
        key: String,
        /// The keys that would have done, and how to fix it.
        expected: &'static str,
    },
    /// An array has the wrong rank, width or number of rows.
    #[error("{}: key `{key}` has shape {got}, expected {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// The shape that would have done.
        expected: String,
        /// The shape that was found.
        got: String,
    },
    /// An array holds another kind of value.
    #[error("{}: key `{key}` holds {got}, expected {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// The kinds that would have done.
        expected: &'static str,
        /// The kind that was found.
        got: String,
    },
    /// The file was recorded in another environment than the one named.
    #[error("{}: {key} are {got} wide, but {env} needs {expected}; is this data of another environment?", path.display())]
    WrongEnv {
        /// The file.
        path: PathBuf,
        /// `observations` or `actions`.
        key: &'static str,
        /// The environment that was named.
        env: EnvId,
        /// Its width.
        expected: usize,
        /// The file's width.
        got: usize,
    },
    /// A program's bounds of actions are none.
    #[error("{id}: bounds of actions: {why}")]
    Bounds {
        /// The data set.
        id: String,
        /// What is wrong with them.
        why: String,
    },
    /// A flag is neither 0 nor 1.
    #[error("{}: key `{key}`, row {row}: flag is {got}, expected 0 or 1", path.display())]
    Flag {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// The row, from 0.
        row: usize,
        /// The value found.
        got: f64,
    },
    /// A number is NaN or infinite (or too large for `f32`).
    #[error("{}: key `{key}`, row {row}: value is {got}, expected a finite f32; drop or repair the row", path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// The first such row, from 0.
        row: usize,
        /// The value found.
        got: f64,
    },
    /// An array claims to be larger than its stored bytes can unpack to, or it and
    /// those before it larger than a file of that size is read as.
    #[error("{}: up to key `{key}` {declared} bytes are declared but only {stored} stored, expected at most {limit}; the file is damaged, or made to exhaust memory", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// Bytes of the declared shape.
        declared: u128,
        /// Bytes stored for it.
        stored: u64,
        /// The most that so many stored bytes may declare.
        limit: u128,
    },
    /// An array is packed by filters that are not read: no code is loaded for them, and
    /// what comes out of them has no bound.
    #[error("{}: key `{key}` is packed with {got}, expected {expected}; write it again so", path.display())]
    Packing {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// Its filters.
        got: String,
        /// Those that would have done.
        expected: &'static str,
    },
    /// An array's numbers are in another file, which the data's hash says nothing of.
    #[error("{}: key `{key}` is {what} another file; copy everything into one file", path.display())]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// The array.
        key: String,
        /// How it refers to the other one, as in "a link to".
        what: &'static str,
    },
    /// Observations are kept apart in arrays of their own.
    #[error("{}: key `{key}` is a group of arrays, expected one; say which to join, in which order, as in --observations {names}", path.display())]
    Apart {
        /// The file.
        path: PathBuf,
        /// The group.
        key: String,
        /// The names in it, with commas between them.
        names: String,
    },
    /// Data say that they were recorded in another environment than the one named.
    #[error("{}: `{key}` is `{named}`: data of {found}, but {env} is asked for; give --env {found}, or --other-env to read them as {env}'s all the same", path.display())]
    OtherEnv {
        /// The file.
        path: PathBuf,
        /// What says so.
        key: String,
        /// What it says.
        named: String,
        /// The environment that this means.
        found: EnvId,
        /// The environment that was named.
        env: EnvId,
    },
    /// Successors are asked for that a file does not record.
    #[error(
        "{id}: key `next_observations` is missing, so no row has a recorded successor; leave --next out"
    )]
    NoSuccessors {
        /// The data set.
        id: String,
    },
    /// What is at the path cannot be read more than once, or is none of the file's bytes.
    #[error("{}: is {what}, expected a file: data are hashed, checked and read one after the other; write them to a file first", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there, as in "a pipe".
        what: &'static str,
    },
    /// The process that opened the file first did not come through.
    #[error("{}: the {library} library {what} on this file ({status}); download or generate it again", path.display())]
    Crashed {
        /// The file.
        path: PathBuf,
        /// Whose library.
        library: &'static str,
        /// What the library does, as in "crashes".
        what: &'static str,
        /// How the process ended.
        status: String,
    },
    /// The process that opened the file first refused it, with this line.
    #[error("{0}")]
    Refused(String),
    /// A Minari data set is made of something else than rows of numbers.
    #[error("{}: {what} are {got}, expected a Box of one dimension; {remedy}", path.display())]
    Space {
        /// The file that says so.
        path: PathBuf,
        /// `observations` or `actions`.
        what: &'static str,
        /// The space that was found.
        got: String,
        /// How to fix it.
        remedy: &'static str,
    },
    /// A Minari data set's description is no description.
    #[error("{}: not a valid description of a Minari data set: {why}; write the data set again", path.display())]
    Description {
        /// `metadata.json`, or the file whose attributes describe it.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A LeRobot data set's description is none, or not that of its files.
    #[error("{}: not a valid description of a LeRobot data set: {why}; download it again", path.display())]
    LeRobot {
        /// `meta/info.json`.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A column is named of data that are no table.
    #[error("{}: --reward names a column of a table (CSV, Parquet, LeRobot), and this is none; its rewards are read from `rewards`: leave --reward out", path.display())]
    NoColumns {
        /// The file.
        path: PathBuf,
    },
    /// Nobody recorded rewards, and what is to be written has them.
    #[error(
        "{id}: has no rewards, which a file in D4RL's layout has; name the column that holds them by --reward"
    )]
    NoRewards {
        /// The data set.
        id: String,
    },
    /// There already is something where data were to be written.
    #[error("{}: is already there; give another name or remove it first", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// A name that Minari takes for no data set's.
    #[error(
        "`{got}` is no Minari id: expected NAME-vN or NAMESPACE/NAME-vN of letters, digits, `_` and `-`, as in mujoco/hopper/medium-v0"
    )]
    BadId {
        /// The name.
        got: String,
    },
    /// Data are asked for in the layout they have.
    #[error("{id}: is in {layout}'s layout already; copy it, or convert it to the other one")]
    SameLayout {
        /// The data set.
        id: String,
        /// Its layout.
        layout: &'static str,
    },
    /// Data of other programs are converted to D4RL's layout alone.
    #[error("{}: is converted to D4RL's layout only; convert that file to Minari's then", path.display())]
    NotConverted {
        /// The archive.
        path: PathBuf,
    },
    /// Nothing says where a file's episodes were cut.
    #[error(
        "{id}: key `timeouts` is missing, so where its episodes were cut is not known; name its environment, whose horizon says so"
    )]
    NoCuts {
        /// The data set.
        id: String,
    },
    /// No transition can be made of the rows.
    #[error("{id}: {rows} rows hold no transition, expected at least two rows of one episode")]
    NoTransitions {
        /// The data set.
        id: String,
        /// Its rows.
        rows: usize,
    },
    /// A row handed to the writer does not fit the file's widths.
    #[error("{}: row {row}: `{key}` has {got} numbers, expected {expected}", path.display())]
    RowWidth {
        /// The file being written.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The array.
        key: &'static str,
        /// The file's width.
        expected: usize,
        /// The row's.
        got: usize,
    },
    /// The file could not be written; nothing of it is left.
    #[error("{}: cannot write the data file: {reason}; check that the folder is writable and the disk not full (nothing was left behind)", path.display())]
    Write {
        /// The file that was to be.
        path: PathBuf,
        /// The library's or system's reason.
        reason: String,
    },
}

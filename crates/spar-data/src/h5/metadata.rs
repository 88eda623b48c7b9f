//! The scalars under `metadata/`, as text.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use hdf5::{
    H5Type,
    types::{FixedAscii, FixedUnicode, FloatSize, TypeDescriptor, VarLenAscii, VarLenUnicode},
};

use super::source::Source;
use crate::{error::DataError, precheck::heaps_end};

/// Longest fixed-length string that is kept.
const MAX_TEXT: usize = 1024;
/// Bounds on the walk, whose links may form cycles.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 4096;

/// Every scalar below `metadata/` of `file`, by its path below it; of an array,
/// its type and shape. They describe and are not computed with, so that an
/// unreadable one is passed over, but for texts of variable length: a file that
/// claims more of them than it holds is made to exhaust memory.
///
/// `heaps_end` is what [`heaps_end`] says, if it was asked.
///
/// # Errors
/// [`DataError::Damaged`] for a text that is longer than the file, or that the library
/// cannot read within the bounds of its process.
pub(crate) fn read(
    source: &Source<'_>,
    heaps_end: Option<bool>,
) -> Result<BTreeMap<String, String>, DataError> {
    let mut walk = Walk {
        source,
        file: source.file.filename(),
        seen: 0,
        heaps_end,
        found: BTreeMap::new(),
    };
    if source.file.link_exists("metadata")
        && let Ok(group) = source.file.group("metadata")
    {
        walk.collect(&group, "", MAX_DEPTH)?;
    }
    Ok(walk.found)
}

struct Walk<'a> {
    source: &'a Source<'a>,
    /// As the library calls it: what is linked from another file is passed over.
    file: String,
    /// Entries looked at.
    seen: usize,
    heaps_end: Option<bool>,
    found: BTreeMap<String, String>,
}

impl Walk<'_> {
    fn collect(
        &mut self,
        group: &hdf5::Group,
        prefix: &str,
        depth: usize,
    ) -> Result<(), DataError> {
        if group.filename() != self.file {
            return Ok(());
        }
        for name in group.member_names().unwrap_or_default() {
            self.seen += 1;
            if self.seen > MAX_ENTRIES {
                return Ok(());
            }
            let key = format!("{prefix}{name}");
            if let Ok(set) = group.dataset(&name) {
                if set.filename() != self.file {
                    continue;
                }
                match self.scalar(&set) {
                    Ok(text) => drop(self.found.insert(key, text)),
                    Err(Unread::PassedOver) => {}
                    Err(Unread::Refused(why)) => {
                        return Err(self.source.damaged(&format!("metadata/{key}"), why));
                    }
                }
            } else if depth > 0
                && let Ok(below) = group.group(&name)
            {
                self.collect(&below, &format!("{key}/"), depth - 1)?;
            }
        }
        Ok(())
    }

    fn scalar(&mut self, set: &hdf5::Dataset) -> Result<String, Unread> {
        let dtype = set.dtype()?;
        // Of larger ones only texts are asked what they are: hostile types nest, and
        // values of an enumeration are handed over in 64 bits.
        let is_text = dtype.conv_to::<FixedAscii<1>>().is_some()
            || dtype.conv_to::<VarLenUnicode>().is_some();
        if dtype.size() > 8 && !is_text {
            return Ok(format!("values of {} bytes", dtype.size()));
        }
        let kind = dtype.to_descriptor()?;
        let shape = set.get_shape()?;
        if shape.iter().any(|&d| d != 1) {
            return Ok(format!("array of {kind} {shape:?}"));
        }
        // A text needs none, and the library might have to unpack without a bound.
        if !set.create_plist()?.get_filters()?.is_empty() {
            return Ok(format!("packed {kind}"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match kind {
            TypeDescriptor::Integer(_) => one::<i64>(set)?.to_string(),
            TypeDescriptor::Unsigned(_) => one::<u64>(set)?.to_string(),
            TypeDescriptor::Float(FloatSize::U8) => one::<f64>(set)?.to_string(),
            TypeDescriptor::Float(_) => one::<f32>(set)?.to_string(),
            TypeDescriptor::Boolean => (one::<i8>(set)? != 0).to_string(),
            TypeDescriptor::VarLenAscii if self.heaps_end() => {
                self.fits(set)?;
                text(one::<VarLenAscii>(set).map_err(refused)?.as_bytes())
            }
            TypeDescriptor::VarLenUnicode if self.heaps_end() => {
                self.fits(set)?;
                text(one::<VarLenUnicode>(set).map_err(refused)?.as_bytes())
            }
            TypeDescriptor::FixedAscii(n) if n <= MAX_TEXT => {
                text(one::<FixedAscii<MAX_TEXT>>(set)?.as_bytes())
            }
            TypeDescriptor::FixedUnicode(n) if n <= MAX_TEXT => {
                text(one::<FixedUnicode<MAX_TEXT>>(set)?.as_bytes())
            }
            other => other.to_string(),
        })
    }

    /// Searched for once, and only in files with variable-length strings.
    fn heaps_end(&mut self) -> bool {
        let path = self.source.path;
        *self
            .heaps_end
            .get_or_insert_with(|| heaps_end(path).unwrap_or(false))
    }
}

impl Walk<'_> {
    /// Refuses a text of variable length that claims more bytes than the file has: the
    /// library takes as much memory as is claimed before it looks for them.
    fn fits(&self, set: &hdf5::Dataset) -> Result<(), Unread> {
        // Its length, and the heap that it is in; only where it lies by itself.
        let Some(at) = set.offset() else {
            return Ok(());
        };
        let mut length = [0; 4];
        let mut file: &File = &self.source.bytes;
        let read = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut length));
        read.map_err(|e| Unread::Refused(e.to_string()))?;
        let claimed = u64::from(u32::from_le_bytes(length));
        if claimed > self.source.length {
            return Err(Unread::Refused(format!(
                "a text claims to have {claimed} bytes, but the file has {}",
                self.source.length
            )));
        }
        Ok(())
    }
}

/// Why there is no text for a scalar.
enum Unread {
    PassedOver,
    /// The whole file is refused, because of this.
    Refused(String),
}

impl From<hdf5::Error> for Unread {
    fn from(_: hdf5::Error) -> Self {
        Self::PassedOver
    }
}

fn refused(error: hdf5::Error) -> Unread {
    Unread::Refused(error.to_string())
}

fn one<T: H5Type>(set: &hdf5::Dataset) -> hdf5::Result<T> {
    let mut values = set.read_raw::<T>()?;
    values.pop().ok_or_else(|| "no value".into())
}

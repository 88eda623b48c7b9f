//! The scalars under `metadata/`, as text.

use std::{collections::BTreeMap, path::Path};

use hdf5::{
    H5Type,
    types::{FixedAscii, FixedUnicode, FloatSize, TypeDescriptor, VarLenAscii, VarLenUnicode},
};

use crate::precheck::heaps_end;

/// Longest fixed-length string that is kept.
const MAX_TEXT: usize = 1024;
/// Bounds on the walk, whose links may form cycles.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 4096;

/// Every scalar below `metadata/` of `file`, by its path below it; of an array,
/// its type and shape. They describe and are not computed with, so that an
/// unreadable one is passed over.
///
/// `heaps_end` is what [`heaps_end`] says, if it was asked.
pub(crate) fn read(
    path: &Path,
    file: &hdf5::File,
    heaps_end: Option<bool>,
) -> BTreeMap<String, String> {
    let mut walk = Walk {
        path,
        file: file.filename(),
        seen: 0,
        heaps_end,
        found: BTreeMap::new(),
    };
    if file.link_exists("metadata")
        && let Ok(group) = file.group("metadata")
    {
        walk.collect(&group, "", MAX_DEPTH);
    }
    walk.found
}

struct Walk<'a> {
    path: &'a Path,
    /// As the library calls it: what is linked from another file is passed over.
    file: String,
    /// Entries looked at.
    seen: usize,
    heaps_end: Option<bool>,
    found: BTreeMap<String, String>,
}

impl Walk<'_> {
    fn collect(&mut self, group: &hdf5::Group, prefix: &str, depth: usize) {
        if group.filename() != self.file {
            return;
        }
        for name in group.member_names().unwrap_or_default() {
            self.seen += 1;
            if self.seen > MAX_ENTRIES {
                return;
            }
            let key = format!("{prefix}{name}");
            if let Ok(set) = group.dataset(&name) {
                if set.filename() == self.file
                    && let Ok(text) = self.scalar(&set)
                {
                    self.found.insert(key, text);
                }
            } else if depth > 0
                && let Ok(below) = group.group(&name)
            {
                self.collect(&below, &format!("{key}/"), depth - 1);
            }
        }
    }

    fn scalar(&mut self, set: &hdf5::Dataset) -> hdf5::Result<String> {
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
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match kind {
            TypeDescriptor::Integer(_) => one::<i64>(set)?.to_string(),
            TypeDescriptor::Unsigned(_) => one::<u64>(set)?.to_string(),
            TypeDescriptor::Float(FloatSize::U8) => one::<f64>(set)?.to_string(),
            TypeDescriptor::Float(_) => one::<f32>(set)?.to_string(),
            TypeDescriptor::Boolean => (one::<i8>(set)? != 0).to_string(),
            TypeDescriptor::VarLenAscii if self.heaps_end() => {
                text(one::<VarLenAscii>(set)?.as_bytes())
            }
            TypeDescriptor::VarLenUnicode if self.heaps_end() => {
                text(one::<VarLenUnicode>(set)?.as_bytes())
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
        let path = self.path;
        *self
            .heaps_end
            .get_or_insert_with(|| heaps_end(path).unwrap_or(false))
    }
}

fn one<T: H5Type>(set: &hdf5::Dataset) -> hdf5::Result<T> {
    let mut values = set.read_raw::<T>()?;
    values.pop().ok_or_else(|| "no value".into())
}

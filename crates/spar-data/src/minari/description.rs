//! What a Minari data set says of itself.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use hdf5::types::{TypeDescriptor, VarLenAscii, VarLenUnicode};
use serde_json::{Map, Value};

use super::{METADATA, id_of_folder, minari_root};
use crate::{error::DataError, h5::named_env::Named, precheck::heaps_end};

/// Longest description that is read. Real ones have kilobytes.
const MAX_BYTES: u64 = 4 << 20;
/// Longest value that is shown in full; spaces and specifications are longer.
const MAX_SHOWN: usize = 200;
/// Attributes that versions before 0.5 describe a data set by.
const ATTRIBUTES: [&str; 12] = [
    "action_space",
    "algorithm_name",
    "author",
    "author_email",
    "code_permalink",
    "dataset_id",
    "description",
    "env_spec",
    "minari_version",
    "observation_space",
    "total_episodes",
    "total_steps",
];

/// The fields of a description, and where they stand.
#[derive(Clone)]
pub(crate) struct Description {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Description {
    /// The `metadata.json` beside the HDF5 file at `main`, if there is one.
    pub(crate) fn beside(main: &Path) -> Result<Option<Self>, DataError> {
        if main.file_name().is_none_or(|name| name != super::MAIN) {
            return Ok(None);
        }
        let path = main.with_file_name(METADATA);
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        match read {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(DataError::Io {
                    path,
                    doing: "read the description of a Minari data set",
                    source,
                });
            }
            Ok(length) if length as u64 > MAX_BYTES => {
                let why = format!("it is longer than {MAX_BYTES} bytes");
                return Err(DataError::Description { path, why });
            }
            Ok(_) => {}
        }
        let fields = match serde_json::from_str(&strict(&text)) {
            Ok(Value::Object(fields)) => fields,
            other => {
                let why = other.map_or_else(|e| e.to_string(), |_| "it is no JSON object".into());
                return Err(DataError::Description { path, why });
            }
        };
        let this = Self { path, fields };
        match this.text("data_format") {
            None | Some("hdf5") => Ok(Some(this)),
            Some(other) => Err(this.wrong(format!(
                "`data_format` is `{other}`, expected `hdf5`: only that is read here"
            ))),
        }
    }

    /// The description in the attributes of `file`: empty where it has none.
    ///
    /// # Errors
    /// [`DataError::Description`] for one that the library cannot read within the bounds of
    /// its process.
    pub(crate) fn of_attributes(path: &Path, file: &hdf5::File) -> Result<Self, DataError> {
        let heaps_end = heaps_end(path).unwrap_or(false);
        let text = |name: &str| -> hdf5::Result<Value> {
            let attribute = file.attr(name)?;
            if let Ok(number) = attribute.read_scalar::<u64>() {
                return Ok(number.into());
            }
            if !heaps_end {
                return Ok(Value::Null);
            }
            let unicode = attribute.read_scalar::<VarLenUnicode>();
            let text = unicode.map(|text| text.as_str().to_owned()).or_else(|_| {
                let ascii = attribute.read_scalar::<VarLenAscii>();
                ascii.map(|text| text.as_str().to_owned())
            })?;
            Ok(text.into())
        };
        let mut fields = Map::new();
        for name in ATTRIBUTES {
            match text(name) {
                Ok(Value::Null) => {}
                Ok(value) => drop(fields.insert(name.to_owned(), value)),
                // Of other types they are no description; a text that cannot be read may
                // claim to be longer than memory.
                Err(error) if is_text(file, name) => {
                    return Err(DataError::Description {
                        path: path.into(),
                        why: format!("attribute `{name}`: {error}"),
                    });
                }
                Err(_) => {}
            }
        }
        let path = path.into();
        Ok(Self { path, fields })
    }

    /// What says which environment the data are of.
    pub(crate) fn named(&self) -> Vec<Named> {
        let texts = self.fields.iter();
        texts
            .filter_map(|(key, value)| Named::of(key, value.as_str()?))
            .collect()
    }

    /// The bounds of the `width` components of the Box that `field` declares, if it
    /// declares some; infinite where there are none.
    pub(crate) fn bounds(&self, field: &str, width: usize) -> Option<Vec<(f32, f32)>> {
        let space: Value = serde_json::from_str(&strict(self.text(field)?)).ok()?;
        let side = |name: &str, unbounded: f32| {
            let one = |value: &Value| value.as_f64().map_or(unbounded, |x| x as f32);
            let values: Vec<f32> = match &space[name] {
                Value::Array(values) => values.iter().map(one).collect(),
                // Some versions write one number for all.
                value @ Value::Number(_) => vec![one(value); width],
                _ => return None,
            };
            (values.len() == width).then_some(values)
        };
        let (low, high) = (
            side("low", f32::NEG_INFINITY)?,
            side("high", f32::INFINITY)?,
        );
        Some(low.into_iter().zip(high).collect())
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    fn wrong(&self, why: String) -> DataError {
        let path = self.path.clone();
        DataError::Description { path, why }
    }

    /// The id the data set gives itself, or else that of the place it lies in.
    pub(crate) fn id(&self, main: &Path) -> String {
        let place = || {
            let data = main.parent().unwrap_or(main);
            let nested = data.file_name().is_some_and(|name| name == "data");
            let folder = if nested {
                data.parent().unwrap_or(data)
            } else {
                data
            };
            match main.file_name() {
                Some(name) if name == super::MAIN => id_of_folder(folder, &minari_root()),
                _ => main
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            }
        };
        self.text("dataset_id").map_or_else(place, str::to_owned)
    }

    /// The count that `field` declares, if it does.
    pub(crate) fn count(&self, field: &'static str) -> Result<Option<usize>, DataError> {
        let Some(value) = self.fields.get(field) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match count {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong(format!("`{field}` is {value}, expected a count"))),
        }
    }

    /// Refuses arrays that hold another number of things than `field` declares.
    pub(crate) fn agrees(&self, field: &'static str, got: usize) -> Result<(), DataError> {
        match self.count(field)? {
            Some(declared) if declared != got => Err(self.wrong(format!(
                "`{field}` is {declared}, but the arrays hold {got}"
            ))),
            _ => Ok(()),
        }
    }

    /// The width of the Box that `field` declares, if it declares a space.
    pub(crate) fn width(
        &self,
        field: &str,
        what: &'static str,
    ) -> Result<Option<usize>, DataError> {
        let Some(text) = self.text(field) else {
            return Ok(None);
        };
        let space: Value = serde_json::from_str(&strict(text))
            .map_err(|e| self.wrong(format!("`{field}` is no space: {e}")))?;
        let kind = space["type"].as_str().unwrap_or("of an unknown kind");
        let shape = space["shape"].as_array().map_or(&[][..], Vec::as_slice);
        if let ("Box", [width]) = (kind, shape)
            && let Some(width @ 1..) = width.as_u64().and_then(|n| usize::try_from(n).ok())
        {
            return Ok(Some(width));
        }
        let got = match kind {
            "Box" => {
                let dtype = space["dtype"].as_str().unwrap_or("unknown numbers");
                let sizes: Vec<_> = shape.iter().map(Value::to_string).collect();
                format!("a Box of shape [{}] ({dtype})", sizes.join(", "))
            }
            kind => format!("a {kind} space"),
        };
        Err(DataError::Space {
            path: self.path.clone(),
            what,
            got,
            remedy: remedy(what),
        })
    }

    /// What a user sees of the description: short values in full, of long ones
    /// their length.
    pub(crate) fn shown(&self) -> BTreeMap<String, String> {
        let show = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let short = |text: String| match text.chars().count() {
            n if n > MAX_SHOWN => format!("text of {n} characters"),
            _ => text,
        };
        let there = self.fields.iter().filter(|(_, value)| !value.is_null());
        there
            .map(|(key, value)| (key.clone(), short(show(value))))
            .collect()
    }
}

/// Whether `file` has an attribute of this name that is one text of variable length.
fn is_text(file: &hdf5::File, name: &str) -> bool {
    let kind = file.attr(name).and_then(|attribute| {
        let one = attribute.size() == 1;
        Ok((one, attribute.dtype()?.to_descriptor()?))
    });
    matches!(
        kind,
        Ok((
            true,
            TypeDescriptor::VarLenAscii | TypeDescriptor::VarLenUnicode
        ))
    )
}

/// How a user gets rows of numbers out of another space.
pub(super) fn remedy(what: &str) -> &'static str {
    match what {
        "actions" => "choose a data set of continuous actions",
        _ => {
            "flatten the observations in Python (gymnasium's FlattenObservation) and write the data \
             set again, name the arrays to join with --observations, or choose another"
        }
    }
}

/// Python writes unbounded spaces with numbers that JSON does not have: they become null,
/// which is no bound.
fn strict(text: &str) -> String {
    text.replace("-Infinity", "null")
        .replace("Infinity", "null")
        .replace("NaN", "null")
}

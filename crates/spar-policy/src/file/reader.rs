//! The tensors of a policy file, each read at most once and checked as it is read;
//! what was never read is refused at the end.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    ACTIVATION_KEY, METADATA_KEY, OUTPUT_KEY, entries,
    names::{self, some},
    open,
};
use crate::{
    about::About,
    error::PolicyError,
    half::{bf16, f16},
};

/// An open policy file.
pub(crate) struct Reader<'a> {
    pub(super) file: SafeTensors<'a>,
    pub(super) metadata: BTreeMap<String, String>,
    /// What the file says of itself, if it is one of ours.
    pub(crate) about: Option<About>,
    read: RefCell<BTreeSet<String>>,
}

/// The range of one number of a policy file.
#[derive(Clone, Copy)]
pub(super) enum Range {
    /// Above zero, at most this.
    Positive(f32),
    /// From zero to this.
    NotNegative(f32),
    /// A whole number from one to this.
    Count(u16),
}

impl Range {
    fn holds(self, value: f32) -> bool {
        match self {
            Self::Positive(most) => value > 0.0 && value <= most,
            Self::NotNegative(most) => (0.0..=most).contains(&value),
            Self::Count(most) => (1.0..=f32::from(most)).contains(&value) && value.fract() == 0.0,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positive(most) => write!(f, "a number above 0 and at most {most}"),
            Self::NotNegative(most) => write!(f, "a number from 0 to {most}"),
            Self::Count(most) => write!(f, "a whole number from 1 to {most}"),
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, PolicyError> {
        let wrong = PolicyError::Content;
        let broken = |e| wrong(open::not_safetensors(bytes, &e));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let mut metadata = header.metadata().as_ref().map(entries).unwrap_or_default();
        let mut about = None;
        if let Some(text) = metadata.get(METADATA_KEY) {
            let entry = open::entry(text, &file);
            let entry = entry.map_err(|why| wrong(format!("metadata `{METADATA_KEY}`: {why}")))?;
            // A plain network of ours says inside that entry what others say beside it.
            for (key, name) in [ACTIVATION_KEY, OUTPUT_KEY].into_iter().zip(entry.plain) {
                if let Some(name) = name {
                    metadata.insert(key.to_owned(), name);
                }
            }
            about = Some(entry.about);
        }
        Ok(Self {
            file,
            metadata,
            about,
            read: RefCell::default(),
        })
    }

    pub(super) fn wrong(&self, why: String) -> PolicyError {
        PolicyError::Content(why)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// Whether any tensor's name begins so.
    pub(super) fn has_any(&self, prefix: &str) -> bool {
        self.file
            .names()
            .iter()
            .any(|name| name.starts_with(prefix))
    }

    /// The finite values of tensor `name` of rank `rank`, and its shape.
    pub(super) fn tensor(
        &self,
        name: &str,
        rank: usize,
    ) -> Result<(Vec<usize>, Vec<f32>), PolicyError> {
        let view = self.file.tensor(name).map_err(|_| self.missing(name))?;
        self.read.borrow_mut().insert(name.to_owned());
        let values = floats(&view).map_err(|why| self.wrong(format!("`{name}` {why}")))?;
        let shape = view.shape().to_vec();
        if shape.len() != rank {
            return Err(self.wrong(format!(
                "`{name}` has shape {shape:?}, expected rank {rank}"
            )));
        }
        Ok((shape, values))
    }

    /// The bytes of tensor `name`, a file in this one.
    pub(super) fn inner_file(&self, name: &str) -> Result<&[u8], PolicyError> {
        let view = self.file.tensor(name).map_err(|_| self.missing(name))?;
        self.read.borrow_mut().insert(name.to_owned());
        match (view.dtype(), view.shape()) {
            (Dtype::U8, [_]) => Ok(view.data()),
            (dtype, shape) => Err(self.wrong(format!(
                "`{name}` is {dtype:?} {shape:?}, expected U8 of rank 1"
            ))),
        }
    }

    /// The one value of tensor `name`, which has to lie in `range`.
    pub(super) fn scalar(&self, name: &str, range: Range) -> Result<f32, PolicyError> {
        let value = match self.tensor(name, 1)? {
            (_, values) if values.len() == 1 => values[0],
            (shape, _) => {
                return Err(self.wrong(format!("`{name}` is {shape:?}, expected [1]")));
            }
        };
        if !range.holds(value) {
            return Err(self.wrong(format!("`{name}` is {value}, expected {range}")));
        }
        Ok(value)
    }

    /// That there is no tensor `name`, and what there is instead.
    fn missing(&self, name: &str) -> PolicyError {
        let mut found = self.file.names();
        found.sort_unstable();
        let mut why = format!("no tensor `{name}`; found {}", some(&found));
        if self.about.is_none() {
            why.push_str(
                "; expected `layers.<i>.weight` and `layers.<i>.bias` from 0 on; \
                 `spar policy import FILE --out POLICY` maps other programs' names",
            );
        }
        self.wrong(why)
    }

    /// Refuses a file of which something was not read: the policy would act without
    /// it, and not as whoever wrote it means.
    pub(super) fn finish(&self) -> Result<(), PolicyError> {
        let read = self.read.borrow();
        let names = self.file.names();
        let mut unread: Vec<&str> = names.into_iter().filter(|n| !read.contains(*n)).collect();
        unread.sort_unstable();
        let Some(first) = unread.first() else {
            return self.metadata_says_nothing_else();
        };
        let mut meant: Vec<&str> = Vec::new();
        for meaning in unread.iter().filter_map(|name| names::meaning(name)) {
            if !meant.contains(&meaning.documented()) {
                meant.push(meaning.documented());
            }
        }
        let why = match (meant.is_empty(), self.gap_before(first)) {
            (false, _) => meant.join("; "),
            (true, Some(missing)) => format!(
                "layers are numbered from 0 on without a gap, and there is no layer {missing}"
            ),
            (true, None) if self.about.is_some() => "no policy of this method has them".to_owned(),
            (true, None) => "expected `layers.<i>.weight`, `layers.<i>.bias`, \
                             `layers.<i>.norm.weight`, `layers.<i>.norm.bias`, `obs_mean`, \
                             `obs_std`, `output.scale` and `output.shift` alone"
                .to_owned(),
        };
        let fix = if self.about.is_some() {
            "train the policy anew"
        } else {
            "rename or remove them, or let `spar policy import FILE --out POLICY` do it"
        };
        Err(self.wrong(format!(
            "would be used without {}, which no reader knows: {why}; {fix}",
            some(&unread)
        )))
    }

    /// The first layer that is missing up to the one that `name` is of.
    fn gap_before(&self, name: &str) -> Option<usize> {
        let (prefix, rest) = name.rsplit_once("layers.")?;
        let n: usize = rest.split('.').next()?.parse().ok()?;
        // No file holds more tensors than it has names.
        let all = 0..=n.min(self.file.len());
        let mut all = all.filter(|i| !self.has(&format!("{prefix}layers.{i}.weight")));
        all.next()
    }

    /// Refuses metadata of a plain network that would change its actions.
    fn metadata_says_nothing_else(&self) -> Result<(), PolicyError> {
        if self.about.is_some() {
            return Ok(());
        }
        let mut keys: Vec<&String> = self.metadata.keys().collect();
        keys.sort_unstable();
        let stray = keys
            .into_iter()
            .find_map(|key| Some((key, names::meaning(key)?)));
        match stray {
            None | Some((_, names::Meaning::Spread | names::Meaning::Bookkeeping)) => Ok(()),
            Some((key, meaning)) => Err(self.wrong(format!(
                "metadata `{key}` would not be read: {}, a tensor",
                meaning.documented()
            ))),
        }
    }
}

/// A tensor's values in single precision, which have to be finite.
///
/// # Errors
/// What is wrong, in words that follow its name.
pub(crate) fn floats(view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    fn each<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (words, _) = data.as_chunks::<N>();
        words.iter().map(|word| value(*word)).collect()
    }
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F32 => each(data, f32::from_le_bytes),
        Dtype::F64 => each(data, |word| f64::from_le_bytes(word) as f32),
        Dtype::F16 => each(data, |word| f16(u16::from_le_bytes(word))),
        Dtype::BF16 => each(data, |word| bf16(u16::from_le_bytes(word))),
        other => return Err(format!("is {other:?}, expected F16, BF16, F32 or F64")),
    };
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(format!("is not finite at element {i}")),
        None => Ok(values),
    }
}

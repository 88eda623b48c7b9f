//! What is known by name in this program, for as long as it runs: environments and tasks,
//! the built-in ones and those it adds.
//!
//! An id is a reference to its spec, so that nothing is ever looked up again, and nothing
//! is ever taken back.

use std::sync::{OnceLock, PoisonError, RwLock};

/// A spec and its place among all: the order of tables and lists.
pub(crate) struct Registered<S> {
    pub(crate) place: usize,
    pub(crate) spec: S,
}

impl<S> Registered<S> {
    pub(crate) const fn new(place: usize, spec: S) -> Self {
        Self { place, spec }
    }

    /// The same, for as long as the program runs.
    pub(crate) fn leak(place: usize, spec: S) -> &'static Self {
        Box::leak(Box::new(Self { place, spec }))
    }
}

/// Every spec of a kind that is known, in the order of their places.
pub(crate) struct Registry<S: 'static> {
    built_in: fn() -> Vec<&'static Registered<S>>,
    all: OnceLock<RwLock<Vec<&'static Registered<S>>>>,
}

impl<S: PartialEq> Registry<S> {
    pub(crate) const fn new(built_in: fn() -> Vec<&'static Registered<S>>) -> Self {
        Self {
            built_in,
            all: OnceLock::new(),
        }
    }

    fn all(&self) -> &RwLock<Vec<&'static Registered<S>>> {
        self.all.get_or_init(|| RwLock::new((self.built_in)()))
    }

    /// What `ask` makes of all that are known.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&[&'static Registered<S>]) -> T) -> T {
        ask(&self.all().read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes `spec` known. The same spec once more is the one that is known; another one that
    /// is `called` the same is given back.
    pub(crate) fn register(
        &self,
        spec: S,
        called: impl Fn(&S, &S) -> bool,
    ) -> Result<&'static Registered<S>, S> {
        let mut all = self.all().write().unwrap_or_else(PoisonError::into_inner);
        let mut known = all.iter().copied();
        match known.find(|known| called(&known.spec, &spec)) {
            Some(known) if known.spec == spec => Ok(known),
            Some(_) => Err(spec),
            None => {
                let new = Registered::leak(all.len(), spec);
                all.push(new);
                Ok(new)
            }
        }
    }
}

/// What every id does: compared and ordered by its place, written as its name.
macro_rules! registered_id {
    ($id:ident) => {
        impl PartialEq for $id {
            fn eq(&self, other: &Self) -> bool {
                self.0.place == other.0.place
            }
        }

        impl Eq for $id {}

        impl PartialOrd for $id {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $id {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.place.cmp(&other.0.place)
            }
        }

        impl std::hash::Hash for $id {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.place.hash(state);
            }
        }

        impl std::fmt::Debug for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($id), self.name())
            }
        }

        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl TryFrom<String> for $id {
            type Error = $crate::id::UnknownName;
            fn try_from(text: String) -> Result<Self, $crate::id::UnknownName> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.name().to_owned()
            }
        }
    };
}
pub(crate) use registered_id;

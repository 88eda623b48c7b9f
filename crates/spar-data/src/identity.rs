//! Which data a file in D4RL's layout holds: official, local, of Minari or the
//! user's.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use serde::Deserialize;
use spar_core::{DatasetIdentity, Origin};

use crate::manifest;

/// Metadata key that says a file was generated here (value `local`) or converted
/// from a Minari data set (value `minari`).
pub const META_ORIGIN: &str = "spar_origin";
/// Metadata key of such a file's id, as in `hopper-medium-local`.
pub const META_DATASET: &str = "spar_dataset";
/// Metadata key by which a file in D4RL's layout says what follows its rows
/// ([`META_RECORDED`]).
pub const META_NEXT: &str = "spar_next";
/// Value of [`META_NEXT`]: what `next_observations` have follows every row, cut ones and the
/// last included, so that each is a transition. D4RL's own files do not say so.
pub const META_RECORDED: &str = "recorded";

/// Decides from the hash, then from what the file says of itself, and at last
/// falls back on its name; with a note for a user who may have expected more.
pub(crate) fn identify(
    path: &Path,
    sha256: String,
    rows: usize,
    metadata: &BTreeMap<String, String>,
) -> (DatasetIdentity, Vec<String>) {
    let said = |key: &str| metadata.get(key).map(String::as_str);
    let local = said(META_ORIGIN) == Some("local");
    let edited = local
        .then(|| agrees_with_card(path, &sha256).err())
        .flatten();
    let mut notes = Vec::new();
    let (id, origin) = if let Some(file) = manifest::by_sha256(&sha256) {
        (file.id.clone(), Origin::Official)
    } else if let (Some("local"), Some(id), None) = (said(META_ORIGIN), said(META_DATASET), &edited)
    {
        (id.to_owned(), Origin::Local)
    } else if let (Some("minari"), Some(id)) = (said(META_ORIGIN), said(META_DATASET)) {
        (id.to_owned(), Origin::Minari)
    } else {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let name = text(path.file_name());
        notes.extend(edited);
        if let Some(file) = manifest::files().iter().find(|f| f.name == name) {
            let expected = file.sha256.as_deref().unwrap_or("one nobody knows");
            notes.push(format!(
                "{name} is named like the official {} but its sha256 is {sha256}, expected {expected}: treated as a user's file",
                file.id
            ));
        }
        // A folder's name has no extension.
        let name = if path.is_dir() {
            path.file_name()
        } else {
            path.file_stem()
        };
        (text(name), Origin::User)
    };
    let identity = DatasetIdentity {
        id,
        origin,
        sha256,
        rows,
    };
    (identity, notes)
}

/// Longest data card that is looked at.
const CARD: u64 = 1 << 20;

/// Whether the file at `path` has the hash in the data card beside it, if there is one
/// with a hash: what a generated file says of itself stays true in a copy that was edited.
///
/// # Errors
/// What to say if it has another.
fn agrees_with_card(path: &Path, sha256: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Card {
        sha256: String,
    }
    let place = path.with_extension("json");
    let mut text = String::new();
    let read = File::open(&place).and_then(|file| file.take(CARD).read_to_string(&mut text));
    let card = read
        .ok()
        .and_then(|_| serde_json::from_str::<Card>(&text).ok());
    match card {
        Some(card) if card.sha256 != sha256 => Err(format!(
            "its sha256 is {sha256}, but its data card {} has {}: edited or replaced since it was \
             generated, so it is a user's own file",
            place.display(),
            card.sha256
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_outweighs_what_a_file_says_and_is_called() {
        let official = &manifest::files()[0];
        let sha256 = official.sha256.clone().unwrap_or_default();
        let local = BTreeMap::from([
            (META_ORIGIN.to_owned(), "local".to_owned()),
            (META_DATASET.to_owned(), "hopper-medium-local".to_owned()),
        ]);
        let name = Path::new("folder/renamed.hdf5");
        let (found, notes) = identify(name, sha256.clone(), 7, &local);
        assert_eq!(
            (found.id, found.origin),
            (official.id.clone(), Origin::Official)
        );
        assert!(notes.is_empty());

        let (found, _) = identify(name, "0".repeat(64), 7, &local);
        assert_eq!(
            (found.id.as_str(), found.origin),
            ("hopper-medium-local", Origin::Local)
        );

        let (found, notes) = identify(
            Path::new(&official.name),
            "0".repeat(64),
            7,
            &BTreeMap::new(),
        );
        assert_eq!(found.origin, Origin::User);
        assert!(notes[0].contains(&sha256));
    }
}

//! Films of a run's evaluation: the content of `clips/clips.json`, written by `spar render` and
//! read by `spar-report`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    hash::sha256_hex,
    record::{RecordError, RunRecord, read_if_there},
};

/// Folder of the films in a run's folder.
pub const CLIPS_FOLDER: &str = "clips";

/// Name of the record in [`CLIPS_FOLDER`].
pub const CLIPS_FILE: &str = "clips.json";

/// Version of [`ClipsRecord`], raised when a field changes its meaning or goes.
pub const CLIPS_SCHEMA: u32 = 1;

/// Largest film that a report takes.
const MOST_BYTES: usize = 1 << 20;

/// Which episodes of a run's evaluation were drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipsRecord {
    /// [`CLIPS_SCHEMA`].
    pub schema: u32,
    /// SHA-256 of the policy file that played.
    pub policy_sha256: String,
    /// Seed of the evaluation.
    pub eval_seed: u64,
    /// The films.
    pub clips: Vec<Clip>,
}

/// One episode as a film.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// `best` or `worst`: the film is the file of this name with `.svg`.
    pub name: String,
    /// Which episode of the evaluation.
    pub episode: usize,
    /// Its undiscounted return.
    #[serde(rename = "return")]
    pub ret: f64,
    /// Its steps.
    pub length: usize,
    /// Steps that the film shows.
    pub shown: usize,
    /// SHA-256 of the film.
    pub sha256: String,
}

impl ClipsRecord {
    /// The films in the run's folder `folder`, whose record is `run`, each with its bytes; none
    /// if there are none.
    ///
    /// # Errors
    /// If they cannot be read, are damaged or too large, or are of another policy or
    /// evaluation than the run's.
    pub fn read(folder: &Path, run: &RunRecord) -> Result<Vec<(Clip, Vec<u8>)>, RecordError> {
        let below = folder.join(CLIPS_FOLDER);
        let file = below.join(CLIPS_FILE);
        let Some(bytes) = read_if_there(&file)? else {
            return Ok(Vec::new());
        };
        let corrupt = |why: String| RecordError::Clips {
            file: file.clone(),
            why,
        };
        let found: Self = serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
        if found.schema != CLIPS_SCHEMA {
            let schema = found.schema;
            return Err(corrupt(format!("schema {schema}, expected {CLIPS_SCHEMA}")));
        }
        let files = run.integrity.as_ref().map(|integrity| &integrity.files);
        let written = files.and_then(|files| files.get("policy.safetensors"));
        let another = written.is_some_and(|written| *written != found.policy_sha256);
        if another || found.eval_seed != run.eval_seed {
            return Err(corrupt(
                "they are of another policy or evaluation".to_owned(),
            ));
        }
        let mut films = Vec::with_capacity(found.clips.len());
        for clip in found.clips {
            let returned = run.returns.get(clip.episode).map(|ret| ret.to_bits());
            if returned != Some(clip.ret.to_bits()) {
                let episode = clip.episode;
                return Err(corrupt(format!(
                    "episode {episode} has another return than in the run's record"
                )));
            }
            // A name is a name, not a way out of the folder.
            if !["best", "worst"].contains(&clip.name.as_str()) {
                return Err(corrupt(
                    "a film is called neither best nor worst".to_owned(),
                ));
            }
            let path = below.join(format!("{}.svg", clip.name));
            let film = read_if_there(&path)?.unwrap_or_default();
            if film.len() > MOST_BYTES || sha256_hex(&film) != clip.sha256 {
                let name = PathBuf::from(path.file_name().unwrap_or_default());
                return Err(corrupt(format!(
                    "{} is not the film it names",
                    name.display()
                )));
            }
            films.push((clip, film));
        }
        Ok(films)
    }
}

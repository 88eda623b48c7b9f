//! Films of evaluation episodes on the page: files that `spar render` left in the run folders,
//! shown as pictures, so that nothing in one of them can act on the page.

use base64::{Engine, engine::general_purpose::STANDARD};
use spar_core::{TaskId, clips::Clip};

use crate::read::Run;

/// The films of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunFilms {
    task: TaskId,
    method: String,
    seed: u64,
    pub(crate) films: Vec<FilmView>,
}

/// One film as the page shows it.
#[derive(Clone, Debug)]
pub(crate) struct FilmView {
    pub(crate) caption: String,
    /// The SVG itself, as an address.
    pub(crate) source: String,
}

impl RunFilms {
    pub(crate) fn is_of(&self, task: TaskId, method: &str, seed: u64) -> bool {
        self.task == task && self.method == method && self.seed == seed
    }
}

/// The films that finished runs hold.
pub(crate) fn collect(runs: &[Run]) -> Vec<RunFilms> {
    let of = |run: &Run| {
        let clips = &run.outcome.as_ref().ok()?.clips;
        let films = clips.iter().map(view).collect::<Vec<_>>();
        (!films.is_empty()).then(|| RunFilms {
            task: run.task,
            method: run.method.clone(),
            seed: run.seed,
            films,
        })
    };
    runs.iter().filter_map(of).collect()
}

fn view((clip, bytes): &(Clip, Vec<u8>)) -> FilmView {
    let part = match clip.shown < clip.length {
        true => format!(", its first {} of {} steps", clip.shown, clip.length),
        false => format!(", {} steps", clip.length),
    };
    FilmView {
        caption: format!(
            "{} episode ({}), return {:.1}{part}",
            clip.name, clip.episode, clip.ret
        ),
        source: format!("data:image/svg+xml;base64,{}", STANDARD.encode(bytes)),
    }
}

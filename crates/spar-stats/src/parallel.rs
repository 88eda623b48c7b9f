//! Jobs side by side.

use std::thread;

use rayon::prelude::*;

/// `job` of every item, in the order of the items, on all cores. A job that
/// draws has a stream of its own, so that the number of cores changes nothing.
///
/// The pool is its own: `spar` keeps rayon's shared one at a single thread,
/// for training's sake.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cores.min(items.len().max(1)));
    match pool.build() {
        Ok(pool) => pool.install(|| items.par_iter().map(&job).collect()),
        Err(_) => items.iter().map(job).collect(),
    }
}

//! Launches that are noted instead of started, by the thread that records: all else of that
//! thread is refused meanwhile, and other threads go on as ever.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use super::CudaError;

/// What the threads that record on one device have noted so far.
#[derive(Debug)]
pub(super) struct Recorder<N> {
    open: Mutex<HashMap<ThreadId, Vec<N>>>,
}

/// Ends a recording whatever comes of it, a panic too.
struct Open<'a, N>(&'a Recorder<N>);

impl<N> Drop for Open<'_, N> {
    fn drop(&mut self) {
        self.0.open().remove(&thread::current().id());
    }
}

impl<N> Recorder<N> {
    /// Nothing is recorded.
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::new(HashMap::new()),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ThreadId, Vec<N>>> {
        // What a panic elsewhere left are lists of launches, whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a call that is no launch: it would not be repeated with the recording.
    ///
    /// # Errors
    /// If this thread is recording.
    pub(super) fn refuse(&self, what: &str) -> Result<(), CudaError> {
        let open = self.open();
        if open.is_empty() || !open.contains_key(&thread::current().id()) {
            return Ok(());
        }
        Err(CudaError::Driver(format!(
            "{what} among launches that are recorded"
        )))
    }

    /// Notes a launch if this thread records; else it is to be started.
    pub(super) fn note(&self, launch: impl FnOnce() -> N) -> bool {
        let mut open = self.open();
        if open.is_empty() {
            return false;
        }
        match open.get_mut(&thread::current().id()) {
            Some(noted) => {
                noted.push(launch());
                true
            }
            None => false,
        }
    }

    /// What this thread launches in `launches`.
    ///
    /// # Errors
    /// If it is recording already, or `launches` fails.
    pub(super) fn record(
        &self,
        launches: &mut dyn FnMut() -> Result<(), CudaError>,
    ) -> Result<Vec<N>, CudaError> {
        self.refuse("a recording")?;
        let me = thread::current().id();
        self.open().insert(me, Vec::new());
        let open = Open(self);
        launches()?;
        let noted = self.open().get_mut(&me).map(std::mem::take);
        drop(open);
        Ok(noted.unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn another_threads_launch_does_not_join_a_recording() {
        let recorder: Recorder<&str> = Recorder::new();
        let noted = recorder.record(&mut || {
            assert!(recorder.note(|| "mine"));
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    assert!(!recorder.note(|| "theirs"));
                    recorder.refuse("a read")?;
                    recorder.record(&mut || {
                        assert!(recorder.note(|| "their own"));
                        Ok(())
                    })
                });
                assert_eq!(other.join().unwrap(), Ok(vec!["their own"]));
            });
            assert!(recorder.note(|| "mine too"));
            Ok(())
        });
        assert_eq!(noted, Ok(vec!["mine", "mine too"]));
    }

    #[test]
    fn what_is_no_launch_is_refused_within_a_recording() {
        let recorder: Recorder<()> = Recorder::new();
        let noted = recorder.record(&mut || {
            let refused = [
                recorder.refuse("a read"),
                recorder.record(&mut || Ok(())).map(drop),
            ];
            for refused in refused {
                let error = refused.unwrap_err().to_string();
                assert!(
                    error.contains("among launches that are recorded"),
                    "{error}"
                );
            }
            Ok(())
        });
        assert_eq!(noted, Ok(Vec::new()));
        recorder.refuse("a read").unwrap();
    }

    #[test]
    fn what_fails_while_it_is_recorded_ends_the_recording() {
        let recorder: Recorder<()> = Recorder::new();
        let failed = recorder.record(&mut || Err(CudaError::NoDriver));
        assert_eq!(failed, Err(CudaError::NoDriver));
        recorder.refuse("a read").unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            recorder.record(&mut || panic!("in the middle"))
        }));
        assert!(panicked.is_err());
        recorder.refuse("a read").unwrap();
        assert!(!recorder.note(|| ()));
    }
}

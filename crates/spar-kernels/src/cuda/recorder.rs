//! Whose turn it is on a stream while one thread records launches: all else of that thread
//! is refused, and every other thread waits, so that only its launches are ever captured.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use super::CudaError;

/// The turns on one stream.
#[derive(Debug)]
pub(super) struct Recorder<B> {
    open: Mutex<Option<Open<B>>>,
    ended: Condvar,
}

/// A recording that is not ended.
#[derive(Debug)]
struct Open<B> {
    by: ThreadId,
    kept: Vec<B>,
}

/// The stream is this thread's as long as this lives.
#[must_use]
pub(super) struct Turn<'a, B>(MutexGuard<'a, Option<Open<B>>>);

impl<B> Recorder<B> {
    /// Nothing is recorded.
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::new(None),
            ended: Condvar::new(),
        }
    }

    /// The next turn that is not in the middle of another thread's recording.
    fn next(&self) -> MutexGuard<'_, Option<Open<B>>> {
        let me = thread::current().id();
        // What a panic elsewhere left is a list of buffers, whole.
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.ended
            .wait_while(open, |open| open.as_ref().is_some_and(|open| open.by != me))
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn for a call that is no launch. It would become part of the recording, and with
    /// it an address of the host's or a buffer that is gone by the time it is repeated.
    ///
    /// # Errors
    /// If this thread is recording.
    pub(super) fn turn(&self, what: &str) -> Result<Turn<'_, B>, CudaError> {
        let open = self.next();
        match *open {
            None => Ok(Turn(open)),
            Some(_) => Err(CudaError::Driver(format!(
                "{what} among launches that are recorded"
            ))),
        }
    }

    /// A turn for a launch that uses `buffers`: where this thread records, they are kept.
    pub(super) fn launch(&self, buffers: impl IntoIterator<Item = B>) -> Turn<'_, B> {
        let mut open = self.next();
        if let Some(open) = &mut *open {
            open.kept.extend(buffers);
        }
        Turn(open)
    }

    /// Begins a recording of this thread with `start`, which begins it on the stream.
    ///
    /// # Errors
    /// If this thread is recording, or `start` fails: then nothing is recorded.
    pub(super) fn begin(
        &self,
        start: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let Turn(mut open) = self.turn("a recording")?;
        start()?;
        *open = Some(Open {
            by: thread::current().id(),
            kept: Vec::new(),
        });
        Ok(())
    }

    /// Ends this thread's recording with `stop`, which ends it on the stream. Returns what
    /// that gives and the buffers used.
    pub(super) fn end<T>(&self, stop: impl FnOnce() -> T) -> (T, Vec<B>) {
        let mut open = self.next();
        let stopped = stop();
        let kept = open.take().map(|open| open.kept).unwrap_or_default();
        self.ended.notify_all();
        (stopped, kept)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn another_threads_launch_does_not_join_a_recording() {
        let recorder: Arc<Recorder<&str>> = Arc::new(Recorder::new());
        let ended = Arc::new(AtomicBool::new(false));
        recorder.begin(|| Ok(())).unwrap();
        drop(recorder.launch(["mine"]));
        let others: Vec<_> = (0..4)
            .map(|i| {
                let (recorder, ended) = (Arc::clone(&recorder), Arc::clone(&ended));
                thread::spawn(move || {
                    if i % 2 == 0 {
                        drop(recorder.launch(["theirs"]));
                    } else {
                        drop(recorder.turn("a read").unwrap());
                    }
                    assert!(ended.load(Ordering::SeqCst), "a turn within the recording");
                })
            })
            .collect();
        // Long enough for them to be at the door.
        thread::sleep(std::time::Duration::from_millis(50));
        drop(recorder.launch(["mine too"]));
        let ((), kept) = recorder.end(|| ended.store(true, Ordering::SeqCst));
        assert_eq!(kept, ["mine", "mine too"]);
        for other in others {
            other.join().unwrap();
        }
    }

    #[test]
    fn what_is_no_launch_is_refused_within_a_recording() {
        let recorder: Recorder<()> = Recorder::new();
        let failed = recorder.begin(|| Err(CudaError::NoDriver));
        assert_eq!(failed, Err(CudaError::NoDriver));
        drop(recorder.turn("a read").unwrap());
        recorder.begin(|| Ok(())).unwrap();
        for refused in [recorder.turn("a read").map(drop), recorder.begin(|| Ok(()))] {
            let error = refused.unwrap_err().to_string();
            assert!(
                error.contains("among launches that are recorded"),
                "{error}"
            );
        }
        recorder.end(|| ());
        drop(recorder.turn("a read").unwrap());
    }
}

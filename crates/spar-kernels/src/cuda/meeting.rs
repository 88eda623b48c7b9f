//! Where runs that share launches wait for each other: whoever arrives last starts what all
//! have arrived with.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::CudaError;

/// The lanes that meet, and what each arrives with.
#[derive(Debug)]
pub(super) struct Meeting<A> {
    state: Mutex<State<A>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<A> {
    lanes: Vec<Lane<A>>,
    /// Whether somebody is starting what all arrived with.
    starting: bool,
    /// Why a start failed: none follows it.
    failed: Option<CudaError>,
}

#[derive(Debug)]
struct Lane<A> {
    at: At<A>,
    /// It is gone as soon as what it arrived with has started.
    leaving: bool,
}

#[derive(Debug)]
enum At<A> {
    /// It is at its own work.
    Away,
    /// Until its start has happened; empty from when somebody is at that.
    Waits(Option<A>),
    /// The others do not wait for it any more.
    Gone,
}

/// What all lanes have arrived with, to be started by whoever holds this.
#[must_use]
pub(super) struct Start<'a, A> {
    meeting: &'a Meeting<A>,
    /// Lane and arrival, by lane.
    pub(super) arrivals: Vec<(usize, A)>,
    ended: bool,
}

impl<A> Meeting<A> {
    /// Nobody of `lanes` lanes has arrived.
    pub(super) fn new(lanes: usize) -> Self {
        let lanes = (0..lanes).map(|_| Lane {
            at: At::Away,
            leaving: false,
        });
        Self {
            state: Mutex::new(State {
                lanes: lanes.collect(),
                starting: false,
                failed: None,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        // It is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waited(&self, lane: usize) -> Result<MutexGuard<'_, State<A>>, CudaError> {
        let waits = |state: &mut State<A>| matches!(state.lanes[lane].at, At::Waits(_));
        let state = self.changed.wait_while(self.state(), waits);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }

    /// Waits until what `lane` arrived with has started.
    ///
    /// # Errors
    /// If a start failed.
    pub(super) fn wait(&self, lane: usize) -> Result<(), CudaError> {
        self.waited(lane).map(drop)
    }

    /// `lane` arrives, after its last start has happened. If it is the last to, it must start
    /// what is returned.
    ///
    /// # Errors
    /// If a start failed.
    pub(super) fn arrive(&self, lane: usize, with: A) -> Result<Option<Start<'_, A>>, CudaError> {
        let mut state = self.waited(lane)?;
        state.lanes[lane].at = At::Waits(Some(with));
        Ok(self.all(&mut state))
    }

    /// `lane` will not arrive again; what it has arrived with starts still. If the others
    /// waited only for it, their start is returned.
    pub(super) fn leave(&self, lane: usize) -> Option<Start<'_, A>> {
        let mut state = self.state();
        let leaver = &mut state.lanes[lane];
        leaver.leaving = true;
        if !matches!(leaver.at, At::Away) {
            return None;
        }
        leaver.at = At::Gone;
        self.all(&mut state)
    }

    /// What all have arrived with, once, if they have.
    fn all(&self, state: &mut State<A>) -> Option<Start<'_, A>> {
        let away = |lane: &Lane<A>| matches!(lane.at, At::Away);
        if state.starting || state.failed.is_some() || state.lanes.iter().any(away) {
            return None;
        }
        let take = |(lane, place): (usize, &mut Lane<A>)| match &mut place.at {
            At::Waits(arrival) => Some((lane, arrival.take()?)),
            At::Away | At::Gone => None,
        };
        let arrivals: Vec<_> = state
            .lanes
            .iter_mut()
            .enumerate()
            .filter_map(take)
            .collect();
        state.starting = !arrivals.is_empty();
        state.starting.then(|| Start {
            meeting: self,
            arrivals,
            ended: false,
        })
    }

    fn started(&self, result: Result<(), CudaError>) {
        let mut state = self.state();
        state.starting = false;
        if let Err(error) = result {
            state.failed.get_or_insert(error);
        }
        for lane in &mut state.lanes {
            if matches!(lane.at, At::Waits(_)) {
                lane.at = if lane.leaving { At::Gone } else { At::Away };
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl<A> Start<'_, A> {
    /// Says what came of it; everybody may go on.
    pub(super) fn ended(mut self, result: Result<(), CudaError>) {
        self.ended = true;
        self.meeting.started(result);
    }
}

impl<A> Drop for Start<'_, A> {
    fn drop(&mut self) {
        // Whoever was at it panicked: the others must not wait for ever.
        if !self.ended {
            let why = "a run failed while it started the launches of all".to_owned();
            self.meeting.started(Err(CudaError::Lanes(why)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Mutex,
        thread,
    };

    use super::*;

    #[test]
    fn the_last_to_arrive_starts_what_all_arrived_with() {
        const LANES: usize = 5;
        const ROUNDS: usize = 200;
        let meeting: Meeting<usize> = Meeting::new(LANES);
        let starts = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for lane in 0..LANES {
                let (meeting, starts) = (&meeting, &starts);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        if let Some(start) = meeting.arrive(lane, round).unwrap() {
                            starts.lock().unwrap().push(start.arrivals.clone());
                            start.ended(Ok(()));
                        }
                        if (round + lane) % 3 == 0 {
                            meeting.wait(lane).unwrap();
                            assert!(starts.lock().unwrap().len() > round, "it has not started");
                        }
                    }
                    meeting.wait(lane).unwrap();
                });
            }
        });
        let starts = starts.into_inner().unwrap();
        assert_eq!(starts.len(), ROUNDS);
        for (round, arrivals) in starts.into_iter().enumerate() {
            let all: Vec<_> = (0..LANES).map(|lane| (lane, round)).collect();
            assert_eq!(arrivals, all);
        }
    }

    #[test]
    fn who_leaves_keeps_nobody_waiting() {
        let meeting: Meeting<&str> = Meeting::new(3);
        assert!(meeting.arrive(0, "a").unwrap().is_none());
        assert!(meeting.arrive(2, "c").unwrap().is_none());
        // The others waited for this one alone.
        let start = meeting.leave(1).unwrap();
        assert_eq!(start.arrivals, [(0, "a"), (2, "c")]);
        start.ended(Ok(()));
        meeting.wait(0).unwrap();
        // What a lane arrived with starts, though it has left meanwhile.
        assert!(meeting.arrive(0, "a").unwrap().is_none());
        assert!(meeting.leave(0).is_none());
        let start = meeting.arrive(2, "c").unwrap().unwrap();
        assert_eq!(start.arrivals, [(0, "a"), (2, "c")]);
        start.ended(Ok(()));
        let start = meeting.arrive(2, "c").unwrap().unwrap();
        assert_eq!(start.arrivals, [(2, "c")]);
        start.ended(Ok(()));
        assert!(meeting.leave(2).is_none());
    }

    #[test]
    fn a_start_that_fails_is_everybodys_error() {
        let meeting: Meeting<()> = Meeting::new(2);
        assert!(meeting.arrive(0, ()).unwrap().is_none());
        let start = meeting.arrive(1, ()).unwrap().unwrap();
        let why = CudaError::Lanes("as asked".to_owned());
        start.ended(Err(why.clone()));
        assert_eq!(meeting.wait(0), Err(why.clone()));
        assert_eq!(meeting.arrive(1, ()).map(|_| ()), Err(why));
        assert!(meeting.leave(0).is_none());
    }

    #[test]
    fn a_panic_in_a_start_ends_the_others_wait() {
        let meeting: Meeting<()> = Meeting::new(2);
        assert!(meeting.arrive(0, ()).unwrap().is_none());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _start = meeting.arrive(1, ()).unwrap();
            panic!("in the middle");
        }));
        assert!(panicked.is_err());
        let error = meeting.wait(0).unwrap_err().to_string();
        assert!(error.contains("a run failed"), "{error}");
    }
}

//! What a process that trains has to find in its environment.

/// Variables that a process of `spar` has unless they are set otherwise, and their values. Each
/// is read once, some before `main`, and a process cannot safely change its own environment: a
/// program that trains is started with them, or starts itself again.
///
/// - `RAYON_NUM_THREADS`: candle's pool has that many threads, which spin while they wait; with
///   one more process on the machine a training step takes twenty times as long.
/// - `MIMALLOC_PURGE_DELAY`, in milliseconds: freed memory goes back to the system after that
///   time. At mimalloc's 10 ms what one update frees is gone when the next asks for it, and the
///   system clears every page anew: a sixth of IDQL's time.
pub const ENVIRONMENT: [(&str, &str); 2] =
    [("RAYON_NUM_THREADS", "1"), ("MIMALLOC_PURGE_DELAY", "1000")];

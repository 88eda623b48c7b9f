//! The signals that ask a process to end, for one that has something to save first.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{consts, flag};

/// Those that ask, by name.
#[cfg(unix)]
const ASKING: [(i32, &str); 3] = [
    (consts::SIGINT, "SIGINT"),
    (consts::SIGTERM, "SIGTERM"),
    (consts::SIGHUP, "SIGHUP"),
];

#[cfg(not(unix))]
const ASKING: [(i32, &str); 2] = [(consts::SIGINT, "SIGINT"), (consts::SIGTERM, "SIGTERM")];

/// What a program ends with that a signal ended, plus the signal's number.
const BY_SIGNAL: u8 = 128;

/// From when it is made, signals that ask the process to end are only noted. A second
/// SIGINT, from a user who will not wait, still ends it.
#[derive(Clone, Debug)]
pub struct Signals {
    noted: Arc<AtomicUsize>,
}

/// A signal that asked the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its name, as in `SIGTERM`.
    pub name: &'static str,
    number: i32,
}

impl Signals {
    /// Begins to note them.
    ///
    /// # Errors
    /// If the system does not let this process.
    pub fn listen() -> io::Result<Self> {
        let noted = Arc::new(AtomicUsize::new(0));
        let interrupted = Arc::new(AtomicBool::new(false));
        let code = i32::from(BY_SIGNAL) + consts::SIGINT;
        flag::register_conditional_shutdown(consts::SIGINT, code, Arc::clone(&interrupted))?;
        flag::register(consts::SIGINT, interrupted)?;
        for (number, _) in ASKING {
            flag::register_usize(number, Arc::clone(&noted), number as usize)?;
        }
        Ok(Self { noted })
    }

    /// The last one that came, if any did.
    pub fn asked(&self) -> Option<Asked> {
        let noted = self.noted.load(Ordering::SeqCst);
        let known = ASKING.iter().find(|(number, _)| *number as usize == noted);
        known.map(|&(number, name)| Asked { name, number })
    }
}

impl Asked {
    /// What the process ends with: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP.
    pub fn exit_code(self) -> u8 {
        u8::try_from(self.number).map_or(BY_SIGNAL, |number| BY_SIGNAL + number)
    }
}

/// Makes a write beyond the limit of a file's size an error, like every other write that
/// fails, instead of the end of the process.
///
/// # Errors
/// If the system does not let this process.
pub fn survive_file_size_limit() -> io::Result<()> {
    #[cfg(unix)]
    flag::register(consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(())
}

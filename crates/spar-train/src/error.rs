//! Why a run could not be finished.

use std::path::PathBuf;

use spar_core::Difference;

/// Why a run could not be started, resumed or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A hyper-parameter is missing, unknown or out of range.
    #[error("hyper-parameters: {0}")]
    Config(String),
    /// The method is not one of ours.
    #[error("unknown method `{got}`; expected one of: {expected}")]
    Method {
        /// The name given.
        got: String,
        /// The names there are.
        expected: String,
    },
    /// The method cannot be fine-tuned.
    #[error("method {method} cannot be fine-tuned online; expected one of: {expected}")]
    NotOnline {
        /// Its name.
        method: &'static str,
        /// The names of those that can.
        expected: String,
    },
    /// The method runs on the CPU only.
    #[error("method {0} is trained on the CPU only; leave --device out or give --device cpu")]
    CpuOnly(&'static str),
    /// There is no such device.
    #[error("unknown device `{0}`; expected one of: cpu, cuda")]
    DeviceName(String),
    /// The folder holds another run.
    #[error(
        "{folder} holds another run: its {file} differs in `{}` (there {}, here {}); \
         choose another --out or remove the folder",
        difference.field, difference.there, difference.here
    )]
    OtherRun {
        /// The run folder.
        folder: PathBuf,
        /// The file that says so.
        file: &'static str,
        /// First field that differs, in the folder and in this run.
        difference: Box<Difference>,
    },
    /// The folder holds files of a run, and nothing says of which.
    #[error(
        "{folder} holds a {file} but no spec.json, so that nothing says whose it is; \
         choose another --out or remove the folder"
    )]
    Nobodys {
        /// The run folder.
        folder: PathBuf,
        /// A file of a run in it.
        file: &'static str,
    },
    /// The folder was removed or replaced while the run was at work.
    #[error(
        "{0} was removed or replaced while the run was at work; nothing more is written there, \
         and the same command starts again"
    )]
    Vanished(PathBuf),
    /// The folder's run is already longer than the one asked for.
    #[error(
        "{folder} is already trained for {there} {what}, more than the {here} asked for; \
         choose another --out or at least {there} {what}"
    )]
    Beyond {
        /// The run folder.
        folder: PathBuf,
        /// `updates`, or `steps` of a fine-tuned run.
        what: &'static str,
        /// How many its last checkpoint has.
        there: u64,
        /// How many are asked for.
        here: u64,
    },
    /// The folder of a run is something else.
    #[error(
        "--out {} is {what}, expected a folder that is new or a run's; choose another --out",
        path.display()
    )]
    NotFolder {
        /// What is there: the folder asked for, or one it was to be made in.
        path: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// The last checkpoint of the folder cannot be read.
    #[error(
        "{0}; nothing can be resumed from it: remove that file, and the same command trains the \
         run from its beginning"
    )]
    Unresumable(spar_nn::StateError),
    /// Another process is training in the folder.
    #[error("{0} is in use by another process; wait for it or choose another --out")]
    Busy(PathBuf),
    /// A loss is not a number any more.
    #[error(
        "{phase} update {update}: a loss is not finite; the run stopped, see {diagnostic}; \
         lower the learning rate or check the data"
    )]
    NonFinite {
        /// `anchor`, `spar` or `method`.
        phase: &'static str,
        /// The update.
        update: u64,
        /// File with the metrics and the batch's ranges.
        diagnostic: PathBuf,
    },
    /// A loss is not a number any more, where nothing is written.
    #[error(
        "{phase} update {update}: a loss is not finite; lower the learning rate or check the data"
    )]
    Diverged {
        /// `anchor`, `spar` or `method`.
        phase: &'static str,
        /// The update.
        update: u64,
    },
    /// A policy without an environment gave no number for what was held out.
    #[error(
        "the policy's action on an episode held out of the data is not finite; lower the \
         learning rate or check the data"
    )]
    ActionNotFinite,
    /// The anchor changed although it is frozen.
    #[error("the frozen anchor changed during training: expected {expected}, got {got}")]
    AnchorMoved {
        /// Fingerprint before.
        expected: String,
        /// Fingerprint after.
        got: String,
    },
    /// The given anchor was not made for this run.
    #[error(
        "anchor run {folder}: {why}; train one with --method bc and the same data, seed and settings"
    )]
    Anchor {
        /// Its run folder.
        folder: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A method that learns from rewards, and data without.
    #[error(
        "{0} learns from rewards, and the data have none; name the column that holds them by \
         --reward, or clone the behaviour by --method bc, bc-diffusion or bc-flow"
    )]
    NoRewards(&'static str),
    /// The policy that is to be the anchor cannot be.
    #[error("anchor policy {}: {why}", file.display())]
    AnchorFile {
        /// Its file.
        file: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// A file is not what it should be.
    #[error("{file}: {why}")]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Whoever watched the progress is gone; a checkpoint was written.
    #[error("the process that started this run is gone; the same command resumes it")]
    Orphaned,
    /// The caller asked to stop; the same spec resumes the run.
    #[error("stopped at update {0} as asked; the same command resumes it")]
    Stopped(u64),
    /// The data could not be used.
    #[error(transparent)]
    Data(#[from] spar_data::DataError),
    /// A rollout failed.
    #[error(transparent)]
    Eval(#[from] spar_eval::EvalError),
    /// The environment could not be made.
    #[error(transparent)]
    Env(#[from] spar_env::EnvError),
    /// The record of a run that should be finished is not believed.
    #[error(transparent)]
    Record(#[from] spar_core::RecordError),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    State(#[from] spar_nn::StateError),
    /// A policy file could not be read, or its policy does not fit.
    #[error(transparent)]
    Policy(#[from] spar_policy::PolicyError),
    /// A baseline could not start.
    #[error(transparent)]
    Start(#[from] spar_baselines::StartError),
    /// A device failed.
    #[error(transparent)]
    Device(#[from] spar_nn::device::CudaError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

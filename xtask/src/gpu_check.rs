//! `cargo xtask gpu-check`: everything that checks and measures `spar` on a GPU, as one folder
//! with one script, so that minutes on a bare machine are enough: no network, no Rust.
//!
//! The folder is built here and run there (`--pack`), or here. `xtask/gpu/run.sh` in it is the
//! whole of what is run; without a GPU it runs over a stand-in for the driver, which is in the
//! folder too, so that the tests run what a GPU will.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use spar_suite::{below, say};

use crate::{
    cargo::{Cargo, exit_code},
    commit::commit,
    setup::checked,
};

/// What to do.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only make the folder; run its run.sh on a machine with a GPU
    #[arg(long)]
    pack: bool,
    /// The folder, which is made anew [default: target/gpu-check]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Bytes that all of the folder may have: it travels. Its programs are packed, and `run.sh`
/// unpacks them.
const LARGEST: u64 = 60 << 20;

/// Programs of the folder.
const PROGRAMS: [&str; 2] = ["spar", "spar-gpu"];

/// The test of every kernel, which is a program as well.
const KERNELS: &str = "cuda_device";

/// Scripts of the folder.
const PEERS: [&str; 4] = ["common.py", "jax_parts.py", "jax_peer.py", "torch_peer.py"];

/// What the stand-in's library is called: it is both of NVIDIA's.
const STAND_IN: [&str; 2] = ["libcuda.so.1", "libnvrtc.so.12"];

/// Makes the folder, and runs it unless it is only to be made.
pub(crate) fn gpu_check(
    root: &Path,
    options: &Options,
    provisioned: impl FnOnce() -> Result<Cargo>,
) -> Result<ExitCode> {
    let folder = options.out.clone();
    let folder = folder.unwrap_or_else(|| root.join("target/gpu-check"));
    // Only a folder of this command's is ever removed.
    ensure!(
        !folder.exists()
            || folder.join("run.sh").is_file()
            || fs::read_dir(&folder).is_ok_and(|mut all| all.next().is_none()),
        "{} is no folder of gpu-check's: it has no run.sh; remove it or give another --out",
        folder.display()
    );
    let cargo = provisioned()?;
    pack(root, &cargo, &folder)?;
    if options.pack {
        return Ok(ExitCode::SUCCESS);
    }
    let script = folder.join("run.sh");
    let status = Command::new(&script).status();
    let status = status.with_context(|| format!("cannot start {}", script.display()))?;
    Ok(exit_code(status))
}

fn pack(root: &Path, cargo: &Cargo, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let within = |name: &str| -> Result<PathBuf> {
        let place = folder.join(name);
        fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        Ok(place)
    };
    let bin = within("bin")?;
    let mut programs = vec![(KERNELS, cargo.build_test(KERNELS)?)];
    for name in PROGRAMS {
        programs.push((name, cargo.build(name)?));
    }
    let mut needs = (0, 0);
    for (name, program) in &programs {
        let place = bin.join(name);
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&place).arg(program);
        checked(strip, "strip (of binutils, as the C compiler)")?;
        needs = needs.max(glibc(&fs::read(&place)?));
        // Without name and time: the same program gives the same bytes.
        let mut gzip = Command::new("gzip");
        gzip.arg("-9nf").arg(&place);
        checked(gzip, "gzip")?;
    }
    let kernels = root.join("crates/spar-kernels");
    copy_all(&kernels.join("cuda"), &within("cuda")?)?;
    let peers = within("peers")?;
    for name in PEERS {
        copy(&root.join("xtask/peers").join(name), &peers.join(name))?;
    }
    if let Err(error) = stand_in(&kernels, &within("stand-in")?) {
        say!("warning: the folder runs on a GPU only: {error:#}");
    }
    fs::write(folder.join("commit"), commit(root) + "\n")?;
    copy(&root.join("xtask/gpu/run.sh"), &folder.join("run.sh"))?;
    let bytes = size(folder)?;
    ensure!(
        bytes <= LARGEST,
        "{} has {bytes} bytes, expected at most {LARGEST}: leave out what it does not need",
        folder.display()
    );
    let (major, minor) = needs;
    say!(
        "{}: {:.1} MiB; run.sh in it needs glibc {major}.{minor} or later, a driver and NVRTC",
        below(root, folder.to_owned()).display(),
        bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// Compiles the stand-in for the driver and the run-time compiler.
fn stand_in(kernels: &Path, folder: &Path) -> Result<()> {
    let [driver, compiler] = STAND_IN.map(|name| folder.join(name));
    let mut command = Command::new(env::var_os("CXX").unwrap_or_else(|| "c++".into()));
    command
        .args([
            "-std=c++17",
            "-O2",
            "-fPIC",
            "-shared",
            "-fvisibility=hidden",
        ])
        // Jumps between stacks are what a fortified longjmp forbids.
        .args(["-U_FORTIFY_SOURCE", "-fno-strict-aliasing"])
        .args(["-static-libstdc++", "-static-libgcc", "-s"])
        .args(["-Wall", "-Wno-unknown-pragmas", "-I"])
        .arg(kernels.join("cuda"))
        .arg(kernels.join("tests/cuda/driver.cpp"))
        .arg("-o")
        .arg(&driver);
    checked(command, "the C++ compiler")?;
    copy(&driver, &compiler)
}

/// The latest version of glibc that a program asks for, by the names of the versions in it.
fn glibc(program: &[u8]) -> (u32, u32) {
    const NAME: &[u8] = b"GLIBC_";
    let after = program
        .windows(NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == NAME)
        .map(|(at, _)| &program[at + NAME.len()..]);
    let version = |text: &[u8]| {
        let end = text.iter().position(|b| !b.is_ascii_digit() && *b != b'.');
        let text = std::str::from_utf8(&text[..end?]).ok()?;
        let (major, minor) = text.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    after.filter_map(version).max().unwrap_or_default()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// Copies the files of a folder that has no other folder in it.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Bytes of everything in a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += match (kind.is_dir(), kind.is_file()) {
            (true, _) => size(&entry.path())?,
            (_, true) => entry.metadata()?.len(),
            _ => bail!("{} is neither a file nor a folder", entry.path().display()),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_glibc_is_found_among_the_versions() {
        let names = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4\0GLIBC_PRIVATE\0GLIBC_2.\0";
        assert_eq!(glibc(names), (2, 34));
        assert_eq!(glibc(b"a static program"), (0, 0));
    }
}

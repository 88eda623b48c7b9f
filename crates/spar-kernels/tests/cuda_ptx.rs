//! The CUDA sources through NVIDIA's own compiler and assembler, for the GPUs
//! they are meant for: they compile without a word, and no kernel spills.
//!
//! `cargo xtask test` fetches both tools and names them in `SPAR_NVRTC`, the
//! folder of the compiler's libraries, and `SPAR_PTXAS`, the assembler.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::{
    env,
    ffi::{CString, c_char, c_int, c_void},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    ptr::{null, null_mut},
};

use libloading::{Library, Symbol};

#[path = "../src/cuda/source.rs"]
mod source;

use source::SOURCES;

type Create = unsafe extern "C" fn(
    *mut *mut c_void,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int;

/// The run-time compiler, opened by path.
struct Nvrtc {
    compiler: Library,
    /// Kept open: the compiler looks for it by name, and finds what is loaded.
    _builtins: Library,
}

impl Nvrtc {
    fn open(folder: &Path) -> Self {
        // SAFETY: NVIDIA's libraries, by the path the caller was given; their
        // initializers ask nothing of the caller.
        let open = |name| unsafe { Library::new(folder.join(name)) }.unwrap();
        Self {
            _builtins: open("libnvrtc-builtins.so.12.8"),
            compiler: open("libnvrtc.so.12"),
        }
    }

    /// PTX of `text`.
    fn compile(&self, file: &str, text: &str, arch: &str) -> String {
        let [text, file] = [text, file].map(|text| CString::new(text).unwrap());
        let options = [
            format!("--gpu-architecture=compute_{arch}"),
            "--std=c++17".to_owned(),
        ];
        let options = options.map(|option| CString::new(option).unwrap());
        let pointers = options.each_ref().map(|option| option.as_ptr());
        let mut program = null_mut();
        // SAFETY: the types are those of nvrtc.h; every pointer is to memory
        // that outlives the call.
        let code = unsafe {
            let create: Symbol<'_, Create> = self.compiler.get(b"nvrtcCreateProgram").unwrap();
            let compile: Symbol<'_, Compile> = self.compiler.get(b"nvrtcCompileProgram").unwrap();
            assert_eq!(
                create(
                    &mut program,
                    text.as_ptr(),
                    file.as_ptr(),
                    0,
                    null(),
                    null()
                ),
                0
            );
            compile(program, 2, pointers.as_ptr())
        };
        let log = self.text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
        assert!(code == 0 && log.is_empty(), "compute_{arch}:\n{log}");
        self.text(program, "nvrtcGetPTXSize", "nvrtcGetPTX")
    }

    fn text(&self, program: *mut c_void, size: &str, text: &str) -> String {
        let mut length = 0;
        // SAFETY: as above; the buffer is as long as the library says, its
        // closing zero included.
        let bytes = unsafe {
            let size: Symbol<'_, Size> = self.compiler.get(size.as_bytes()).unwrap();
            let text: Symbol<'_, Text> = self.compiler.get(text.as_bytes()).unwrap();
            assert_eq!(size(program, &mut length), 0);
            let mut bytes = vec![0u8; length];
            assert_eq!(text(program, bytes.as_mut_ptr().cast()), 0);
            bytes
        };
        String::from_utf8(bytes)
            .unwrap()
            .trim_end_matches('\0')
            .to_owned()
    }
}

/// What the assembler says of a kernel.
#[derive(Debug, Default)]
struct Usage {
    kernel: String,
    registers: u32,
    shared: u32,
    stack: u32,
    spilled: u32,
}

/// The number before `unit` in a line of the assembler, or zero.
fn before(line: &str, unit: &str) -> u32 {
    let number = line.split(unit).next().filter(|_| line.contains(unit));
    let last = number.and_then(|text| text.split_whitespace().last());
    last.map_or(0, |text| text.parse().unwrap())
}

fn usages(said: &str) -> Vec<Usage> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in said.lines() {
        if line.contains("Compiling entry function") {
            let kernel = line.split('\'').nth(1).unwrap().to_owned();
            usages.push(Usage {
                kernel,
                ..Usage::default()
            });
        } else if let Some(usage) = usages.last_mut() {
            usage.registers += before(line, " registers");
            usage.shared += before(line, " bytes smem");
            usage.stack += before(line, " bytes stack frame");
            usage.spilled += before(line, " bytes spill stores");
            usage.spilled += before(line, " bytes spill loads");
        }
    }
    usages
}

#[test]
fn every_source_compiles_to_ptx_and_no_kernel_spills() {
    let tool = |name| env::var_os(name).map(PathBuf::from);
    let mut stderr = std::io::stderr();
    let (Some(nvrtc), Some(ptxas)) = (tool("SPAR_NVRTC"), tool("SPAR_PTXAS")) else {
        writeln!(
            stderr,
            "SKIPPED: the CUDA sources are not compiled to PTX: SPAR_NVRTC and SPAR_PTXAS are not \
             set; `cargo xtask test` sets them"
        )
        .unwrap();
        return;
    };
    let nvrtc = Nvrtc::open(&nvrtc);
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("kernel, sm, registers, static shared memory, stack, spills\n");
    for arch in ["80", "90"] {
        for source in &SOURCES {
            let ptx = folder.path().join("kernels.ptx");
            fs::write(&ptx, nvrtc.compile(source.file, &source.expanded(), arch)).unwrap();
            let output = Command::new(&ptxas)
                .args(["--verbose", "--warn-on-spills"])
                .arg(format!("--gpu-name=sm_{arch}"))
                .arg(&ptx)
                .arg("--output-file")
                .arg(folder.path().join("kernels.cubin"))
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{}: {said}", source.file);
            let usages = usages(&said);
            let mut names: Vec<_> = usages.iter().map(|usage| usage.kernel.as_str()).collect();
            names.sort_unstable();
            let mut expected = source.kernels.to_vec();
            expected.sort_unstable();
            assert_eq!(names, expected, "kernels of {}", source.file);
            for usage in &usages {
                let Usage {
                    kernel,
                    registers,
                    shared,
                    stack,
                    spilled,
                } = usage;
                table += &format!("{kernel}, {arch}, {registers}, {shared}, {stack}, {spilled}\n");
                assert!(*registers > 0, "the assembler's words have changed: {said}");
                assert_eq!(*spilled, 0, "{kernel} spills: {usage:?}");
                assert_eq!(
                    *stack, 0,
                    "{kernel} keeps an array off registers: {usage:?}"
                );
            }
        }
    }
    println!("{table}");
}

/// The parts of the assembler's output that are looked for.
#[test]
fn spills_are_seen() {
    let said = "ptxas info    : Compiling entry function 'a' for 'sm_80'\n\
                ptxas info    : Function properties for a\n    \
                64 bytes stack frame, 16 bytes spill stores, 8 bytes spill loads\n\
                ptxas info    : Used 64 registers, used 1 barriers, 128 bytes smem, 528 bytes cmem[0]\n";
    let usage = &usages(said)[0];
    assert_eq!(usage.kernel, "a");
    assert_eq!([usage.registers, usage.shared], [64, 128]);
    assert_eq!([usage.stack, usage.spilled], [64, 24]);
}

//! A C program, compiled with the machine's compiler against the header and each of the
//! libraries, acts as the policy does. `CC` names another compiler, `SPAR_C_RUNNER` what runs
//! its programs: that is how the libraries of another kind of machine are tested.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use spar_policy::{Activation, Linear, Networks, Normalizer, PlainPolicy, Policy, RowMlp, Stream};

const OBS: usize = 5;
const ACT: usize = 2;

fn policy() -> Policy {
    let mut stream = Stream::new(4, "c");
    let mut draw = |n: usize| {
        let mut values = vec![0.0; n];
        stream.fill_normal(0.5, &mut values);
        values
    };
    let mut layer = |input: usize, output: usize| Linear {
        weight: draw(input * output),
        bias: draw(output),
        norm: None,
    };
    let net = RowMlp {
        layers: vec![layer(OBS, 8), layer(8, ACT)],
        hidden: Activation::Relu,
        output: Activation::Tanh,
        input_norm: None,
    };
    let normalizer = Normalizer::identity(OBS);
    let networks = Networks::Plain(PlainPolicy {
        normalizer,
        net,
        affine: None,
    });
    Policy::new(networks, None, None)
}

/// Where cargo put the library named `name` beside this test.
fn library(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let mut found = folders.map(|folder| folder.join(name));
    let found = found.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {name} beside {}", test.display()))
}

fn compiler() -> OsString {
    env::var_os("CC").unwrap_or_else(|| "cc".into())
}

fn compile(dir: &Path, library: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = dir.join("act");
    let output = Command::new(compiler())
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(here.join("include"))
        .arg(here.join("examples/act.c"))
        .arg(library)
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    program
}

fn act(program: &Path, library: &Path, policy: &Path, observations: &str) -> Output {
    let runner = env::var("SPAR_C_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().map(OsStr::new);
    let mut command = Command::new(words.next().unwrap_or(program.as_os_str()));
    command.args(words);
    if !runner.trim().is_empty() {
        command.arg(program);
    }
    let mut child = command
        .arg(policy)
        .env("LD_LIBRARY_PATH", library.parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read them.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(observations.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_c_program_acts_by_the_static_and_the_shared_library() {
    if Command::new(compiler()).arg("--version").output().is_err() {
        eprintln!("skipped: no C compiler");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (policy, file) = (policy(), dir.path().join("policy.safetensors"));
    fs::write(&file, policy.to_bytes().unwrap()).unwrap();
    let mut obs = vec![0.0; 50 * OBS];
    Stream::new(5, "obs").fill_normal(2.0, &mut obs);
    let words: Vec<String> = obs.iter().map(|x| format!("{x:e}")).collect();
    let mut wanted = Vec::new();
    for obs in obs.chunks(OBS) {
        let mut action = [0.0; ACT];
        policy.act(obs, &mut action);
        wanted.extend(action);
    }
    for name in ["libspar_c.a", "libspar_c.so"] {
        let library = library(name);
        let program = compile(dir.path(), &library);
        let done = act(&program, &library, &file, &words.join(" "));
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{name}: {said}");
        let told = String::from_utf8(done.stdout).unwrap();
        assert_eq!(told.lines().count(), 50);
        let got: Vec<f32> = told
            .split_whitespace()
            .map(|x| x.parse().unwrap())
            .collect();
        // Nine digits are all of a single-precision number: the same bits.
        assert_eq!(got, wanted, "{name}");

        let missing = act(&program, &library, &dir.path().join("none"), "");
        assert_eq!(missing.status.code(), Some(1));
        let said = String::from_utf8_lossy(&missing.stderr);
        assert!(said.contains("none") && said.lines().count() == 1, "{said}");
        let infinite = act(&program, &library, &file, "1 2 inf 4 5");
        assert_eq!(infinite.status.code(), Some(3));
    }
}

#[test]
fn what_is_not_as_promised_gets_a_status() {
    use spar_c::{
        Status, spar_policy_act, spar_policy_free, spar_policy_load, spar_policy_obs_dim,
    };
    let null = std::ptr::null_mut();
    let (obs, mut action) = ([0.0f32; OBS], [7.0f32; ACT]);
    let policy = Box::into_raw(Box::new(policy()));
    let cases = [
        (null, OBS, ACT, Status::Null),
        (policy, OBS - 1, ACT, Status::Length),
        (policy, OBS, ACT + 1, Status::Length),
        (policy, OBS, ACT, Status::Ok),
    ];
    for (policy, n, m, expected) in cases {
        // SAFETY: as the functions ask; of wrong lengths nothing is read.
        let got = unsafe { spar_policy_act(policy, obs.as_ptr(), n, action.as_mut_ptr(), m) };
        assert_eq!(got, expected as i32);
        assert_eq!(action == [7.0; ACT], expected != Status::Ok);
    }
    // SAFETY: as the functions ask.
    unsafe {
        assert_eq!(spar_policy_obs_dim(null), 0);
        assert!(spar_policy_load(std::ptr::null(), std::ptr::null_mut(), 0).is_null());
        spar_policy_free(policy);
        spar_policy_free(null);
    }
}

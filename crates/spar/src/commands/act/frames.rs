//! Observations and actions on a stream of bytes.

use std::io::{self, BufRead, BufReader, Read, Write};

use spar_policy::Policy;

/// How they lie there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// A line of JSON each: an array of numbers.
    Json,
    /// Single-precision numbers, little-endian, one row after the other.
    F32,
}

/// What follows an observation that there is no action for.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnFault {
    /// The end.
    Stop,
    /// A line that says why, and the next observation; without lines, the end.
    Tell,
}

/// Why there is no action.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What was read is no observation of the policy.
    #[error("observation {number}: {why}")]
    Observation {
        /// Which one, from one.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The action could not be written.
    #[error("the action cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// Most bytes that a number takes in a line, and a line beside its numbers.
const BYTES_A_NUMBER: u64 = 64;
const BYTES_BESIDE: u64 = 1024;

/// Answers every observation of `input` by the policy's action until there are no more.
/// What is written is handed on whenever nothing is left to read at once.
///
/// # Errors
/// See [`Fault`].
pub(super) fn answer<R: Read>(
    policy: &Policy,
    format: Format,
    mut input: BufReader<R>,
    mut output: impl Write,
    on_fault: OnFault,
) -> Result<(), Fault> {
    let mut obs = vec![0.0; policy.obs_dim()];
    let mut action = vec![0.0; policy.act_dim()];
    let (mut bytes, mut answer) = (Vec::new(), Vec::new());
    for number in 1.. {
        let wrong = |why: String| Fault::Observation { number, why };
        let read = match format {
            Format::Json => line(&mut input, &mut bytes, &mut obs),
            Format::F32 => row(&mut input, &mut bytes, &mut obs),
        };
        let acted = match read.map_err(Fault::Read)? {
            Got::End => break,
            Got::Blank => continue,
            Got::Wrong(why) => Err(why),
            Got::Observation => act(policy, &obs, &mut action),
        };
        answer.clear();
        match (acted, format, on_fault) {
            (Ok(()), Format::Json, _) => {
                // Numbers that are finite, into memory: neither can fail.
                let _ = serde_json::to_writer(&mut answer, &action);
                answer.push(b'\n');
            }
            (Ok(()), Format::F32, _) => {
                answer.extend(action.iter().flat_map(|a| a.to_le_bytes()));
            }
            (Err(why), Format::Json, OnFault::Tell) => {
                let why = serde_json::json!({ "error": why });
                answer.extend_from_slice(why.to_string().as_bytes());
                answer.push(b'\n');
            }
            (Err(why), ..) => {
                output.flush().map_err(Fault::Write)?;
                return Err(wrong(why));
            }
        }
        output.write_all(&answer).map_err(Fault::Write)?;
        if input.buffer().is_empty() {
            output.flush().map_err(Fault::Write)?;
        }
    }
    output.flush().map_err(Fault::Write)
}

/// What was read.
enum Got {
    Observation,
    /// An empty line.
    Blank,
    End,
    Wrong(String),
}

/// A line of JSON into `obs`.
fn line<R: Read>(
    input: &mut BufReader<R>,
    bytes: &mut Vec<u8>,
    obs: &mut [f32],
) -> io::Result<Got> {
    bytes.clear();
    let most = obs.len() as u64 * BYTES_A_NUMBER + BYTES_BESIDE;
    let read = input.by_ref().take(most).read_until(b'\n', bytes)?;
    if read == 0 {
        return Ok(Got::End);
    }
    if read as u64 == most && !bytes.ends_with(b"\n") {
        skip_line(input)?;
        let why = format!(
            "a line of more than {most} bytes, expected {} numbers",
            obs.len()
        );
        return Ok(Got::Wrong(why));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Got::Blank);
    }
    let expected = || format!("expected an array of {} numbers", obs.len());
    let numbers: Vec<f32> = match serde_json::from_slice(bytes) {
        Ok(numbers) => numbers,
        Err(e) => return Ok(Got::Wrong(format!("no observation: {e}; {}", expected()))),
    };
    if numbers.len() != obs.len() {
        let why = format!("{} numbers, {}", numbers.len(), expected());
        return Ok(Got::Wrong(why));
    }
    obs.copy_from_slice(&numbers);
    Ok(Got::Observation)
}

/// Reads what is left of a line, keeping none of it.
fn skip_line<R: Read>(input: &mut BufReader<R>) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, ended) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if ended {
            return Ok(());
        }
    }
}

/// A row of numbers into `obs`.
fn row<R: Read>(input: &mut BufReader<R>, bytes: &mut Vec<u8>, obs: &mut [f32]) -> io::Result<Got> {
    bytes.clear();
    let whole = size_of_val(obs);
    let read = input.by_ref().take(whole as u64).read_to_end(bytes)?;
    if read == 0 {
        return Ok(Got::End);
    }
    if read < whole {
        let why = format!("ends after {read} bytes, expected {whole}");
        return Ok(Got::Wrong(why));
    }
    let (words, _) = bytes.as_chunks::<4>();
    for (x, word) in obs.iter_mut().zip(words) {
        *x = f32::from_le_bytes(*word);
    }
    Ok(Got::Observation)
}

/// The action for `obs`; what is not finite is no observation, and no action.
fn act(policy: &Policy, obs: &[f32], action: &mut [f32]) -> Result<(), String> {
    if let Some(i) = obs.iter().position(|x| !x.is_finite()) {
        return Err(format!("number {i} is {}, expected a finite one", obs[i]));
    }
    policy.act(obs, action);
    match action.iter().position(|a| !a.is_finite()) {
        None => Ok(()),
        Some(i) => Err(format!("component {i} of the action is {}", action[i])),
    }
}

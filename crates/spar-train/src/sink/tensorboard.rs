//! An event file in the run's folder, which TensorBoard shows: scalars by group and name,
//! settings and final score on its HPARAMS page.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use serde_json::Value;
use spar_core::{RunRecord, files::in_file, protobuf::Message};

use super::{About, Point, Sink, event_file::EventFile};

/// How names of event files begin: TensorBoard looks for the second word.
const PREFIX: &str = "events.out.tfevents.";

/// How those that are ours end.
const SUFFIX: &str = ".spar";

/// The sink; one event file for each process that works on the run, of which only the last
/// one's stays.
pub(super) struct TensorBoard {
    folder: PathBuf,
    file: Option<EventFile>,
    /// When the last point was measured.
    at: f64,
}

impl TensorBoard {
    /// In the run's folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            at: 0.0,
        }
    }

    /// Event files of earlier processes hold points of updates that will be made again.
    fn remove_left(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, event: Message) -> io::Result<()> {
        let pushed = self.file.as_mut().map_or(Ok(()), |file| file.push(event));
        pushed.map_err(|e| in_file(e, &self.folder))
    }
}

impl Sink for TensorBoard {
    fn begin(&mut self, run: &About, so_far: &[Point]) -> io::Result<()> {
        self.remove_left().map_err(|e| in_file(e, &self.folder))?;
        // Ten digits: files are read in the order of their names.
        let name = format!("{PREFIX}{:010}.{}{SUFFIX}", run.at as u64, process::id());
        let path = self.folder.join(name);
        let file = EventFile::create(&path, run.at).map_err(|e| in_file(e, &path))?;
        self.file = Some(file);
        if !so_far.is_empty() {
            // Has a TensorBoard that is open forget what it had read of the removed file.
            let start = Message::new().int(1, SESSION_START);
            self.push(event(run.at, 0).message(7, &start))?;
        }
        self.push(event(run.at, 0).message(5, &summary(&session_start(run))))?;
        so_far.iter().try_for_each(|point| self.point(point))
    }

    fn point(&mut self, point: &Point) -> io::Result<()> {
        let group = &point.group;
        let mut values = Message::new();
        for (name, value) in &point.values {
            values = values.message(1, &scalar(&format!("{group}/{name}"), *value));
        }
        if let Some(rate) = point.updates_per_s {
            let tag = format!("{group}/updates_per_s");
            values = values.message(1, &scalar(&tag, rate));
        }
        self.at = self.at.max(point.at);
        self.push(event(point.at, point.update).message(5, &values))
    }

    fn end(&mut self, record: &RunRecord) -> io::Result<()> {
        let returns = record.returns.iter().sum::<f64>() / record.returns.len() as f64;
        let finals = [
            (
                "mean_return",
                (!record.returns.is_empty()).then_some(returns),
            ),
            ("normalized_score", record.normalized_score()),
            ("validation_mse", record.validation.as_ref().map(|v| v.mse)),
        ];
        let mut values = Message::new();
        for (name, value) in finals {
            if let Some(value) = value {
                values = values.message(1, &scalar(&format!("final/{name}"), value));
            }
        }
        let update = match &record.finetuned {
            Some(finetuned) => finetuned.steps,
            None => record.updates.max(record.anchor_updates),
        };
        self.push(event(self.at, update).message(5, &values))?;
        self.push(event(self.at, update).message(5, &summary(&session_end(self.at))))
    }
}

/// `SessionLog.SessionStatus.START`.
const SESSION_START: u64 = 1;

/// `DataClass.DATA_CLASS_TENSOR`, and `DT_FLOAT` of its tensor.
const CLASS_TENSOR: u64 = 2;
const FLOAT: u64 = 1;

/// `HParamsPluginData.version`, and `Status.STATUS_SUCCESS`.
const PLUGIN_VERSION: u64 = 0;
const SUCCESS: u64 = 1;

/// `Event` with `wall_time` and `step`.
fn event(at: f64, step: u64) -> Message {
    Message::new().double(1, at).int(2, step)
}

/// `Summary` of one value.
fn summary(value: &Message) -> Message {
    Message::new().message(1, value)
}

/// `Summary.Value` with `tag` and `simple_value`.
fn scalar(tag: &str, value: f64) -> Message {
    Message::new().text(1, tag).float(2, value as f32)
}

/// `Summary.Value` of the plug-in `hparams`, which holds `content` beside an empty tensor.
fn hparams(tag: &str, content: Message) -> Message {
    let plugin = Message::new()
        .text(1, "hparams")
        .bytes(2, &content.into_bytes());
    let metadata = Message::new().message(1, &plugin).int(4, CLASS_TENSOR);
    let empty = Message::new().message(2, &Message::new().int(1, 0));
    let tensor = Message::new().int(1, FLOAT).message(2, &empty);
    Message::new()
        .text(1, tag)
        .message(9, &metadata)
        .message(8, &tensor)
}

/// The run's settings: `HParamsPluginData.session_start_info`.
fn session_start(run: &About) -> Message {
    let mut info = Message::new();
    for (name, value) in &run.settings {
        let value = match value {
            Value::Null => continue,
            Value::Bool(truth) => Message::new().int(4, u64::from(*truth)),
            Value::Number(number) => Message::new().double(2, number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Message::new().text(3, text),
            other => Message::new().text(3, &other.to_string()),
        };
        let entry = Message::new().text(1, name).message(2, &value);
        info = info.message(1, &entry);
    }
    let info = info.double(5, run.at);
    let data = Message::new().int(1, PLUGIN_VERSION).message(3, &info);
    hparams("_hparams_/session_start_info", data)
}

/// `HParamsPluginData.session_end_info`.
fn session_end(at: f64) -> Message {
    let info = Message::new().int(1, SUCCESS).double(2, at);
    let data = Message::new().int(1, PLUGIN_VERSION).message(4, &info);
    hparams("_hparams_/session_end_info", data)
}

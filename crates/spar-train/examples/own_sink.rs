//! A place for a run's numbers: a text file that a terminal can follow.
//!
//! In the workspace this is a file beside `tensorboard.rs` and a line in `all` of `sink.rs`. Here
//! it is handed the points of a run by hand, as the run loop would.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use spar_core::RunRecord;
use spar_train::sink::{About, Point, Sink};

struct Lines {
    folder: PathBuf,
    file: Option<File>,
}

impl Sink for Lines {
    // Whenever a process begins or resumes the run, with every point up to its checkpoint:
    // what was shown beyond that will be measured again, so the file starts anew.
    fn begin(&mut self, _run: &About, so_far: &[Point]) -> io::Result<()> {
        self.file = Some(File::create(self.folder.join("lines.txt"))?);
        so_far.iter().try_for_each(|point| self.point(point))
    }

    fn point(&mut self, point: &Point) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        writeln!(file, "{} {} {:?}", point.group, point.update, point.values)
    }

    fn end(&mut self, _record: &RunRecord) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let folder = std::env::temp_dir();
    let mut sink = Lines { folder, file: None };
    let point = |update| Point {
        group: "spar".to_owned(),
        update,
        values: vec![("critic_loss".to_owned(), 1.0 / update as f64)],
        at: 0.0,
        updates_per_s: None,
    };
    let about = About {
        settings: Vec::new(),
        at: 0.0,
    };
    // As of a run that is resumed after its first point.
    sink.begin(&about, &[point(1)])?;
    sink.point(&point(2))?;
    print!(
        "{}",
        std::fs::read_to_string(sink.folder.join("lines.txt"))?
    );
    Ok(())
}

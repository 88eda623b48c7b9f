//! A figure into a file, in the format that its name says.

use std::path::Path;

use anyhow::Result;
use spar_core::write_atomic;

use crate::failure::Usage;

/// What a figure can be written as.
#[derive(Clone, Copy)]
pub(super) enum Figure {
    Svg,
    Png,
}

impl Figure {
    /// The format of the file `out`.
    ///
    /// # Errors
    /// If its name ends with neither `.svg` nor `.png`.
    pub(super) fn of(out: &Path) -> Result<Self> {
        let extension = out.extension().unwrap_or_default().to_string_lossy();
        match extension.to_ascii_lowercase().as_str() {
            "svg" => Ok(Self::Svg),
            "png" => Ok(Self::Png),
            _ => Err(Usage(format!(
                "--out {}: figures are SVG or PNG; expected a name that ends with .svg or .png",
                out.display()
            ))
            .into()),
        }
    }

    /// Writes the figure `svg` to `out`, all of it or nothing.
    ///
    /// # Errors
    /// If it cannot be drawn or written.
    pub(super) fn write(self, out: &Path, svg: &str) -> Result<()> {
        match self {
            Self::Svg => write_atomic(out, svg.as_bytes())?,
            Self::Png => write_atomic(out, &spar_report::png(svg)?)?,
        }
        Ok(())
    }
}

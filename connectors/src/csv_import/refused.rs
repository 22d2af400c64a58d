//! The report of refused rows: a CSV file with line number, key, code, detail and the row as it was. It is made when the
//! first row is refused, so a clean import leaves none behind.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A row that is not in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRow {
    /// Its line in the file, from 1.
    pub(crate) line: u64,
    /// Its key; empty if it could not be read.
    pub(crate) key: String,
    /// A stable code, ours or the API's.
    pub(crate) code: String,
    /// Why, for people.
    pub(crate) detail: String,
    /// The row.
    pub(crate) row: String,
}

/// Writes the report as rows come.
pub(crate) struct Report {
    path: Option<PathBuf>,
    writer: Option<csv::Writer<File>>,
}

impl Report {
    /// A report at a path, or none. An old report there is removed: it told of another run.
    pub(crate) fn new(path: Option<&Path>) -> std::io::Result<Self> {
        if let Some(path) = path {
            std::fs::remove_file(path)
                .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        }
        Ok(Self { path: path.map(Path::to_owned), writer: None })
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, refused: &RefusedRow) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let writer = if let Some(writer) = &mut self.writer {
            writer
        } else {
            let mut writer = csv::Writer::from_writer(File::create(path)?);
            writer.write_record(["line", "key", "code", "detail", "row"])?;
            self.writer.insert(writer)
        };
        let line = refused.line.to_string();
        writer.write_record([&line, &refused.key, &refused.code, &refused.detail, &refused.row])?;
        writer.flush()
    }
}

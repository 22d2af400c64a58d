//! What `verify` reports: a list of checks, for people and for scripts.

use std::io::Write;

use event_schemas::{BlockHash, BookId, Epoch, Sequence};
use serde::Serialize;

use crate::cli::Format;
use crate::outcome::{Failure, Outcome};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All is as it should be.
    Ok,
    /// Something is not.
    Failed,
    /// There was nothing to check, or no way to.
    Skipped,
}

/// Something that is not as it should be, and where. What is unknown is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file of the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The number of the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// The byte offset in it, of the frame or of the byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The table of a read model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<&'static str>,
    /// What is wrong, in words.
    pub what: String,
}

impl Finding {
    /// A finding that has no place.
    pub fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// A finding at an event.
    pub fn at(sequence: Sequence, what: impl Into<String>) -> Self {
        Self { sequence: Some(sequence), what: what.into(), ..Self::default() }
    }

    /// With the frame it is in.
    #[must_use]
    pub fn in_frame(mut self, segment: u32, offset: u64) -> Self {
        self.file = Some(format!("{segment:08}.seg"));
        self.segment = Some(segment);
        self.offset = Some(offset);
        self
    }

    fn text(&self) -> String {
        let mut place = Vec::new();
        match (self.segment, &self.file) {
            (Some(segment), _) => place.push(format!("segment {segment}")),
            (None, Some(file)) => place.push(file.clone()),
            (None, None) => {}
        }
        place.extend(self.offset.map(|offset| format!("offset {offset}")));
        place.extend(self.sequence.map(|sequence| format!("sequence {sequence}")));
        if place.is_empty() { self.what.clone() } else { format!("{}: {}", place.join(", "), self.what) }
    }
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Its name.
    pub check: String,
    /// How it ended.
    pub result: Ending,
    /// What was checked, counted: `20 events`.
    pub checked: String,
    /// How much is wrong.
    pub findings: u64,
    /// The first of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Finding>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Check {
    /// A check that ended with so many findings, of which the first is given.
    pub fn done(check: &str, checked: impl Into<String>, findings: u64, first: Option<Finding>) -> Self {
        let result = if findings == 0 { Ending::Ok } else { Ending::Failed };
        Self { check: check.into(), result, checked: checked.into(), findings, first, note: String::new() }
    }

    /// A check with one finding.
    pub fn failed(check: &str, finding: Finding) -> Self {
        Self::done(check, "", 1, Some(finding))
    }

    /// A check that was not made, and why.
    pub fn skipped(check: &str, why: impl Into<String>) -> Self {
        Self { result: Ending::Skipped, ..Self::done(check, "", 0, None) }.with_note(why)
    }

    /// With something else to say.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// The whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// The book; absent if the journal could not be walked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub book: Option<BookId>,
    /// Up to which event was checked.
    pub sequence: Sequence,
    /// The hash of the last block: with it, this report names one journal and no other.
    pub hash: BlockHash,
    /// The newest epoch.
    pub epoch: Epoch,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What is not wrong but worth knowing.
    pub notices: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Events walked, replayed and audited each second.
    pub events_per_second: u64,
}

impl Report {
    /// Prints the report.
    pub fn write(&self, format: Format, colour: bool, out: &mut dyn Write) -> Result<Outcome, Failure> {
        match format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, self)?;
                writeln!(out)?;
            }
            Format::Text => self.write_text(colour, out)?,
        }
        Ok(if self.ok { Outcome::Fine } else { Outcome::Found })
    }

    fn write_text(&self, colour: bool, out: &mut dyn Write) -> Result<(), Failure> {
        let width = |text: fn(&Check) -> &str| self.checks.iter().map(|check| text(check).chars().count()).max();
        let names = width(|check| &check.check).unwrap_or(0);
        let counts = width(|check| &check.checked).unwrap_or(0);
        for check in &self.checks {
            let (word, code) = match check.result {
                Ending::Ok => ("ok", "32"),
                Ending::Failed => ("FAILED", "31;1"),
                Ending::Skipped => ("skipped", "33"),
            };
            let word = format!("{word:<7}");
            let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word };
            let line = format!("{:<names$}  {word}  {:<counts$}  {}", check.check, check.checked, check.note);
            writeln!(out, "{}", line.trim_end())?;
            if let Some(first) = &check.first {
                let more = check.findings.saturating_sub(1);
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                writeln!(out, "{:names$}  {}{more}", "", first.text())?;
            }
        }
        for notice in &self.notices {
            writeln!(out, "note: {notice}")?;
        }
        writeln!(out)?;
        let verdict = if self.ok { "All is well" } else { "NOT all is well" };
        writeln!(out, "{verdict}: events 1 to {}, epoch {}, hash {}", self.sequence, self.epoch, self.hash)?;
        writeln!(out, "{:.1} s, {} events/s", self.seconds, self.events_per_second)?;
        Ok(())
    }
}

//! `keys.json`: the file in which older releases kept keys. It is read to take its keys over, and never written.

use std::path::Path;

use serde::Deserialize;

use super::KeyFault;
use super::directory::{KeyRecord, parse_hash};

/// The form of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    keys: Vec<KeyRecord>,
}

/// The keys of the file, void ones too, in the order of issue; `None` if there is no file.
pub fn read_old_file(path: &Path) -> Result<Option<Vec<KeyRecord>>, KeyFault> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeyFault::Unavailable(format!("{}: {error}", path.display()))),
    };
    let damaged = |reason: String| KeyFault::Damaged(format!("{}: {reason}", path.display()));
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if document.version != 1 {
        return Err(damaged(format!("version {} is not known", document.version)));
    }
    for record in &document.keys {
        parse_hash(&record.hash).ok_or_else(|| damaged(format!("the hash of key {:?}", record.id)))?;
    }
    Ok(Some(document.keys))
}

//! What folders take on the disk.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;

/// The bytes of all files in a folder, those of spare segments included.
pub(crate) fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { folder_bytes(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// The bytes of the files in a folder up to the last that is not zero, in whole pages: what a journal uses of the segments that
/// were made ahead of need.
pub(crate) fn used_bytes(folder: &Path) -> anyhow::Result<u64> {
    if !folder.exists() {
        // The journal is kept elsewhere.
        return Ok(0);
    }
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match File::open(&path) {
            Ok(mut file) => sum += used_of(&mut file).with_context(|| path.display().to_string())?,
            // A spare segment that was given its name just now: nothing in it is used yet.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(sum)
}

const PAGE_BYTES: u64 = 4096;
const CHUNK_BYTES: u64 = 256 * PAGE_BYTES;

fn used_of(file: &mut File) -> anyhow::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut chunk = Vec::new();
    while end > 0 {
        // Chunks begin at multiples of their length, so only the first one read may be short.
        let from = (end - 1) / CHUNK_BYTES * CHUNK_BYTES;
        file.seek(SeekFrom::Start(from))?;
        chunk.clear();
        std::io::Read::by_ref(file).take(end - from).read_to_end(&mut chunk)?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            return Ok((from + last as u64 + 1).next_multiple_of(PAGE_BYTES));
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn trailing_zeros_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let megabyte = usize::try_from(CHUNK_BYTES).unwrap();
        for (last, used) in [(None, 0), (Some(0), 4096), (Some(4095), 4096), (Some(megabyte), CHUNK_BYTES + 4096)] {
            let mut bytes = vec![0; 3 * megabyte];
            if let Some(byte) = last.and_then(|last| bytes.get_mut(last)) {
                *byte = 1;
            }
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(used_bytes(folder.path()).unwrap(), used);
        }
        assert_eq!(folder_bytes(folder.path()).unwrap(), 3 * CHUNK_BYTES);
    }
}

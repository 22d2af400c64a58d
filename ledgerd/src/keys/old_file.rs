//! Keys that an older release kept in `keys.json`: taken over once, and the file is put aside.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use commands_api::keys::read_old_file;
use commands_api::{KeyFault, KeyRecord, KeyRing};
use event_schemas::bounds::TEXT_MAX_BYTES;
use ledger_core::control::api_keys::{Act, KeyCommand, MadeKey};

use super::Keys;

/// Who is on record for what was taken over.
const ACTOR: &str = "import";

fn path(data: &Path) -> PathBuf {
    data.join("keys.json")
}

/// Whether a folder has keys of an older release that were not taken over yet.
pub(super) fn is_there(data: &Path) -> bool {
    path(data).exists()
}

/// Those keys as they are, for who serves the past and writes nothing; `None` if there is no such file.
pub(crate) fn ring(data: &Path) -> Result<Option<KeyRing>, KeyFault> {
    Ok(read_old_file(&path(data))?.map(|records| KeyRing::of(&records)))
}

impl Keys {
    /// Takes the keys of a folder's `keys.json` over, as they were, and puts the file aside as `keys.json.imported`. Gives how
    /// many there were. Keys that are known already are left as they are, so an interrupted take-over is simply begun again, and
    /// the copies in the folders of standbys change nothing.
    pub fn take_old_file_over(&self, data: &Path) -> anyhow::Result<Option<usize>> {
        let path = path(data);
        let Some(records) = read_old_file(&path)? else { return Ok(None) };
        for record in &records {
            self.take_over(record).with_context(|| format!("key {} of {}", record.id, path.display()))?;
        }
        self.look()?;
        std::fs::rename(&path, data.join("keys.json.imported"))
            .and_then(|()| File::open(data)?.sync_all())
            .with_context(|| format!("putting {} aside", path.display()))?;
        Ok(Some(records.len()))
    }

    fn take_over(&self, record: &KeyRecord) -> anyhow::Result<()> {
        let (holder, id) = (record.held_by(), Box::<str>::from(record.id.as_str()));
        let note = record.note.get(..record.note.floor_char_boundary(TEXT_MAX_BYTES)).unwrap_or_default();
        let hash = record.digest().context("it has no hash")?;
        let issue = KeyCommand::Issue {
            holder: holder.clone(),
            key: MadeKey { id: id.clone(), hash },
            scopes: record.scopes.iter().copied().collect(),
            act: Act { actor: ACTOR.into(), at: record.created_at, reason: note.into() },
        };
        self.command(&holder, issue)?;
        if let Some(at) = record.revoked_at {
            let act = Act { actor: ACTOR.into(), at, reason: "".into() };
            self.command(&holder, KeyCommand::Revoke { key: id, act })?;
        }
        Ok(())
    }
}

//! The first key of a book that has none.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use commands_api::{ApiSecret, Scope};

use super::{Keys, NewKey};

/// Where the first admin key of a data folder is.
pub fn admin_key_path(data: &Path) -> PathBuf {
    data.join("admin.key")
}

impl Keys {
    /// Issues the admin key if there is no key yet, and writes it to `admin.key`, readable by its owner only. It is not shown
    /// and not logged. Returns whether it was made now.
    ///
    /// It is written before it is issued: no key is in force that nobody has. It gets its name when it is in force, since
    /// others wait for the file; whoever was interrupted in between does the rest at the next start.
    pub fn ensure_admin_key(&self, data: &Path, tenant: &str) -> anyhow::Result<bool> {
        let (path, partial) = (admin_key_path(data), data.join("admin.key.new"));
        let at = || format!("making {}", path.display());
        if self.list()?.is_empty() {
            let secret = ApiSecret::random()?;
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&partial).with_context(at)?;
            // What a crash left behind may have another mode.
            file.set_permissions(Permissions::from_mode(0o600)).with_context(at)?;
            writeln!(file, "{}", secret.reveal()).and_then(|()| file.sync_all()).with_context(at)?;
            let new = NewKey {
                tenant: tenant.to_owned(),
                holder: "admin".into(),
                customer: None,
                scopes: Scope::ALL.to_vec(),
                note: "made at the first start".into(),
            };
            self.issue_made(&secret, new, "ledgerd")?;
        } else {
            let written = std::fs::read_to_string(&partial).unwrap_or_default();
            if !matches!(self.ring().principal(written.trim()), Ok(Some(_))) {
                return Ok(false);
            }
        }
        std::fs::rename(&partial, &path).with_context(at)?;
        File::open(data).and_then(|folder| folder.sync_all()).with_context(at)?;
        Ok(true)
    }
}

//! The file of the keys that quotes are signed with.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use commands_api::{QuoteKeys, Quotes};

use crate::config::Config;

const FILE: &str = "quote.keys";

fn path(config: &Config) -> PathBuf {
    config.rates.quote_keys_file.clone().unwrap_or_else(|| config.data.join(FILE))
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn new_line() -> anyhow::Result<String> {
    QuoteKeys::new_line().map_err(|error| anyhow::anyhow!("no randomness: {error}"))
}

/// What it takes to make quotes. A file in the data folder is made at the first start; one that is named must be there.
pub fn quotes(config: &Config) -> anyhow::Result<Option<Quotes>> {
    let path = path(config);
    if config.rates.quote_keys_file.is_none() && !path.exists() {
        create(&path, &format!("{}\n", new_line()?)).with_context(|| path.display().to_string())?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("the keys of quotes, {}", path.display()))?;
    let keys = QuoteKeys::parse(&text).with_context(|| format!("the keys of quotes, {}", path.display()))?;
    Ok(Some(Quotes::new(keys)))
}

/// Puts a new key before the newest, which is kept behind it, and lets older ones go. The file is replaced as a whole.
pub fn rotate(config: &Config) -> anyhow::Result<PathBuf> {
    let path = path(config);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    QuoteKeys::parse(&text).with_context(|| path.display().to_string())?;
    let newest = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let beside = path.with_extension("keys.new");
    let _ = std::fs::remove_file(&beside);
    create(&beside, &format!("{}\n{newest}\n", new_line()?)).with_context(|| beside.display().to_string())?;
    std::fs::rename(&beside, &path).with_context(|| path.display().to_string())?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(path)
}

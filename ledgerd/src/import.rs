//! `ledgerd import`: shows what the importer of `connectors` does, as a bar on a terminal and as plain lines elsewhere.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use connectors::csv_import::{self, ImportError, ImportOptions, Progress, Rules, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::Output;

/// The exit status of an import that ended with refused rows.
pub const EXIT_REFUSED: u8 = 3;

/// CSV to commands.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The rules file (docs/import.md)
    pub rules: PathBuf,
    /// The CSV file, plain or .gz
    pub file: PathBuf,
    /// The server
    #[arg(long, env = "DOPPIA_URL", default_value = "http://127.0.0.1:7070")]
    pub url: String,
    /// A file with an API key that has the scope write
    #[arg(long, env = "DOPPIA_KEY_FILE", default_value = "data/admin.key")]
    pub key_file: PathBuf,
    /// Connections, and rows under way at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Stop at the first refused row
    #[arg(long)]
    pub strict: bool,
    /// Read everything, send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where refused rows are reported [default: FILE.refused.csv]
    #[arg(long)]
    pub refused: Option<PathBuf>,
    /// How long to try while the server is away or busy, in seconds
    #[arg(long, default_value_t = 120)]
    pub retry_for: u64,
}

/// Runs `ledgerd import`.
pub async fn run(args: ImportArgs, output: Output) -> anyhow::Result<ExitCode> {
    let refused = args.refused.clone().unwrap_or_else(|| with_suffix(&args.file, ".refused.csv"));
    let rules = Arc::new(Rules::load(&args.rules)?);
    let summary = if args.dry_run {
        csv_import::check(&rules, &args.file, Some(&refused))?
    } else {
        let key = std::fs::read_to_string(&args.key_file).with_context(|| {
            format!("the key file {} can't be read: name one with --key-file", args.key_file.display())
        })?;
        let options = ImportOptions {
            url: args.url.clone(),
            key: key.trim().to_owned(),
            connections: args.connections.into(),
            strict: args.strict,
            refused: Some(refused.clone()),
            retry_for: Duration::from_secs(args.retry_for),
        };
        match import(rules, &args.file, &options).await {
            Ok(summary) => summary,
            Err(ImportError::Stopped { reason, summary }) => {
                print(&summary, args.dry_run, &refused, output);
                anyhow::bail!("the import stopped: {reason}. Running it again goes on where it stopped");
            }
            Err(error) => return Err(error.into()),
        }
    };
    print(&summary, args.dry_run, &refused, output);
    Ok(if summary.refused > 0 { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS })
}

/// Imports with a bar or lines on stderr.
pub async fn import(rules: Arc<Rules>, file: &Path, options: &ImportOptions) -> Result<Summary, ImportError> {
    let mut shown = Shown::new();
    let summary = csv_import::import(rules, file, options, |progress| shown.update(progress)).await;
    shown.end();
    summary
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    // Beside the working directory's other files rather than beside the input, which may be read-only.
    PathBuf::from(name)
}

/// Progress on stderr.
enum Shown {
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Shown {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { next: Instant::now() + Duration::from_secs(5) };
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {percent:>3}%  {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    fn update(&mut self, progress: Progress) {
        let Progress { bytes_read, bytes_total, rows, answered, refused } = progress;
        match self {
            Self::Bar(bar) => {
                bar.set_length(bytes_total);
                bar.set_position(bytes_read);
                let rate = answered.checked_div(bar.elapsed().as_secs()).unwrap_or(answered);
                bar.set_message(format!("{answered} rows, {rate}/s, {refused} refused"));
            }
            Self::Lines { next } if Instant::now() >= *next => {
                *next = Instant::now() + Duration::from_secs(5);
                eprintln!("import: {rows} rows read, {answered} answered, {refused} refused");
            }
            Self::Lines { .. } => {}
        }
    }

    fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn print(summary: &Summary, dry_run: bool, report: &Path, output: Output) {
    let seconds = summary.elapsed.as_secs_f64();
    match output {
        Output::Json => println!(
            "{}",
            json!({
                "dry_run": dry_run, "rows": summary.rows, "posted": summary.posted,
                "already_there": summary.already_there, "refused": summary.refused, "skipped": summary.skipped,
                "accounts_opened": summary.accounts_opened, "last_sequence": summary.last_sequence,
                "notices": summary.notices, "elapsed_s": seconds,
                "refused_report": (summary.refused > 0).then(|| report.display().to_string()),
            })
        ),
        Output::Text => {
            for notice in &summary.notices {
                eprintln!("note: {notice}");
            }
            let Summary { rows, posted, already_there, refused, skipped, accounts_opened, .. } = summary;
            if dry_run {
                println!(
                    "{rows} rows read, nothing sent: {} would be sent, {skipped} skipped, {refused} refused",
                    rows - skipped - refused
                );
            } else {
                println!(
                    "{rows} rows in {seconds:.1} s: {posted} posted, {already_there} already there, {skipped} skipped, {refused} refused; {accounts_opened} accounts opened"
                );
            }
            if *refused > 0 {
                println!("refused rows are in {}", report.display());
            }
        }
    }
}

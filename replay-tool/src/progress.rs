//! Progress on standard error: a bar on a terminal, nothing otherwise.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress is shown.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Shown if standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    /// Never shown.
    pub const fn hidden() -> Self {
        Self { shown: false }
    }

    /// A bar over so many events; it clears itself away when it is dropped.
    pub fn events(self, what: &str, total: u64) -> Bar {
        if !self.shown {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        let template = "{msg:24} [{bar:32}] {human_pos}/{human_len} events  {per_sec}  {eta}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Bar(bar)
    }
}

/// A bar that clears itself away.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// How far it is.
    pub fn set_position(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

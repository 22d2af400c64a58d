//! The thread that stores state checkpoints, so that the writer does not wait for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use event_schemas::Sequence;

use super::Figures;
use crate::ports::Checkpoints;

/// Hands checkpoints to the thread. At most one waits; while one is being stored, none is made.
#[derive(Debug)]
pub(super) struct CheckpointWriter {
    sender: Option<SyncSender<(Sequence, Vec<u8>)>>,
    thread: Option<JoinHandle<()>>,
}

impl CheckpointWriter {
    pub(super) fn start(checkpoints: Arc<dyn Checkpoints>, figures: Arc<Figures>) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || store_all(&receiver, checkpoints.as_ref(), &figures))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Offers a checkpoint whose block is durable. Dropped if one waits already: the next will do.
    pub(super) fn offer(&self, sequence: Sequence, state: Vec<u8>) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send((sequence, state));
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn store_all(receiver: &Receiver<(Sequence, Vec<u8>)>, checkpoints: &dyn Checkpoints, figures: &Figures) {
    for (sequence, state) in receiver {
        // One that can't be stored costs time at the next start and nothing else; the figure shows that it stands still.
        if checkpoints.store(sequence, &state).is_ok() {
            figures.checkpoint.store(sequence.0, Ordering::Relaxed);
        }
    }
}

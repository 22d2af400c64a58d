//! Linked batches that were refused, seen from their verdicts alone. Of a batch whose command in place k was refused, the block
//! has, side by side: k refusals that name k and that command, its own refusal, and one more that names it for each command
//! behind it. A batch that was accepted leaves nothing to be judged: its events are those of its commands.

use event_schemas::{Cause, CommandId, Event, EventBody, Rejection, Sequence};

use super::{Auditor, Law};

/// Where in a batch that was refused the auditor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Linked {
    /// In none.
    #[default]
    Nowhere,
    /// So many were refused because of a command that is to come, in place `item`.
    Before { item: u32, command: CommandId, seen: u32 },
    /// This command was refused, and others may be because of it.
    Behind { item: u32, command: CommandId },
}

impl Auditor {
    /// Looks at an event's place among the verdicts of a linked batch.
    pub(super) fn check_linked(&mut self, sequence: Sequence, event: &Event) {
        let before = std::mem::take(&mut self.linked);
        let (Cause::Verdict { command: id, .. }, EventBody::CommandRejected(rejected)) = (event.cause, &event.body)
        else {
            return self.end_of_batch(sequence, before);
        };
        self.linked = match (&rejected.rejection, before) {
            (Rejection::LinkedItemRefused { item, command }, Linked::Before { item: i, command: c, seen })
                if (*item, *command) == (i, c) && seen < i && id != c =>
            {
                Linked::Before { item: i, command: c, seen: seen.saturating_add(1) }
            }
            (Rejection::LinkedItemRefused { item, command }, Linked::Behind { item: i, command: c })
                if (*item, *command) == (i, c) && id != c =>
            {
                before
            }
            (Rejection::LinkedItemRefused { item, command }, _) => {
                self.end_of_batch(sequence, before);
                if *item > 0 && id != *command {
                    Linked::Before { item: *item, command: *command, seen: 1 }
                } else {
                    self.find(sequence, Law::LinkedTogether, format!("command {command} was not refused right before"));
                    Linked::Nowhere
                }
            }
            (_, Linked::Before { item, command, seen }) if seen == item && id == command => {
                Linked::Behind { item, command }
            }
            _ => {
                self.end_of_batch(sequence, before);
                Linked::Behind { item: 0, command: id }
            }
        };
    }

    /// Finds a batch that ends before the command because of which it was refused.
    pub(super) fn end_of_batch(&mut self, sequence: Sequence, linked: Linked) {
        if let Linked::Before { item, command, .. } = linked {
            let text = format!("the refusal of command {command}, in place {item} of its batch, should stand before");
            self.find(sequence, Law::LinkedTogether, text);
        }
    }

    /// Whether the refusal that is looked at was decided behind others of its batch: what it says was so then, of accounts as
    /// they would have been, and can't be told from the events.
    pub(super) fn decided_behind_others(&self) -> bool {
        matches!(self.linked, Linked::Behind { item: 1.., command } if self.judging == Some(command))
    }
}

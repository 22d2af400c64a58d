//! The replay of the state, and what is compared on its way: digests, checkpoints, the id index, the witness.

use event_schemas::{Digest, EventBody, Sequence};
use ledger_core::ports::IdIndex as _;
use ledger_core::state::{ApplyError, State};
use stores::segments::{WalkReport, Witnessed};

use super::journal::Placed;
use super::report::{Check, Finding};
use crate::folder::Ids;

/// A checkpoint, by the digest of what it holds.
pub(super) struct Stored {
    pub(super) sequence: Sequence,
    /// Or why it could not be read.
    pub(super) digest: Result<Digest, String>,
    pub(super) compared: bool,
}

/// Findings of one check.
#[derive(Default)]
struct Found {
    count: u64,
    first: Option<Finding>,
}

impl Found {
    fn add(&mut self, finding: Finding) {
        self.count += 1;
        self.first.get_or_insert(finding);
    }
}

/// The replay.
#[derive(Default)]
pub(super) struct Replay {
    pub(super) witness: Option<Witnessed>,
    pub(super) checkpoints: Vec<Stored>,
    pub(super) ids: Option<Ids>,
    /// Each so many-th verdict is looked up.
    pub(super) every: u64,
    state: State,
    /// The last event applied.
    applied: Sequence,
    /// Whether a block did not follow, or an event could not be applied: the state says nothing from there on.
    stopped: bool,
    digests: u64,
    replayed: Found,
    verdicts: u64,
    looked_up: u64,
    ids_found: Found,
    checkpoints_found: Found,
    /// The hash of the block that ends at the witness's sequence, once it was met.
    witnessed_hash: Option<Digest>,
}

impl Replay {
    pub(super) fn block(&mut self, placed: &Placed) {
        let block = &placed.block;
        if self.witness.is_some_and(|witness| witness.sequence == block.header().last_sequence()) {
            self.witnessed_hash = Some(block.hash());
        }
        if self.stopped || block.header().first_sequence != self.applied.next() {
            self.stopped = true;
            return;
        }
        for item in block.events() {
            let (sequence, event) = match item {
                Ok(item) => item,
                Err(error) => {
                    let finding = Finding::at(self.applied.next(), error.to_string());
                    self.replayed.add(finding.in_frame(placed.segment, placed.offset));
                    self.stopped = true;
                    return;
                }
            };
            if let Some(id) = event.cause.verdict_of() {
                self.look_up(id, sequence);
            }
            if let Err(error) = self.state.apply(&event) {
                let finding = Finding::at(sequence, error.to_string());
                self.replayed.add(finding.in_frame(placed.segment, placed.offset));
                // A digest that differs leaves the state as it was; anything else can't be gone on from.
                if !matches!(error, ApplyError::Digest { .. }) {
                    self.stopped = true;
                    return;
                }
            }
            if let EventBody::StateDigest(recorded) = &event.body {
                self.digests += 1;
                self.compare_checkpoints(sequence, recorded.digest);
            }
            self.applied = sequence;
        }
    }

    fn compare_checkpoints(&mut self, sequence: Sequence, recorded: Digest) {
        for stored in self.checkpoints.iter_mut().filter(|stored| stored.sequence == sequence) {
            stored.compared = true;
            let what = match &stored.digest {
                Ok(digest) if *digest == recorded => continue,
                Ok(digest) => format!("the checkpoint holds a state of digest {digest}, the journal says {recorded}"),
                Err(reason) => format!("the checkpoint can't be read: {reason}"),
            };
            self.checkpoints_found.add(Finding::at(sequence, what));
        }
    }

    fn look_up(&mut self, id: event_schemas::CommandId, sequence: Sequence) {
        self.verdicts += 1;
        let Some(ids) = &mut self.ids else { return };
        if sequence > ids.index.indexed_sequence() || !self.verdicts.is_multiple_of(self.every.max(1)) {
            return;
        }
        self.looked_up += 1;
        let what = match ids.index.lookup(id) {
            Ok(Some(found)) if found == sequence => return,
            Ok(Some(found)) => format!("command {id} is in the index with event {found}"),
            Ok(None) => format!("command {id} is not in the index"),
            Err(fault) => fault.to_string(),
        };
        self.ids_found.add(Finding::at(sequence, what));
    }

    pub(super) fn check_witness(&self, report: Option<&WalkReport>) -> Check {
        let Some((witness, report)) = self.witness.zip(report) else {
            return Check::skipped("witness", "there is no journal to compare with");
        };
        let seen = format!("sequence {} of epoch {}", witness.sequence, witness.epoch);
        let what = if witness.book != report.book {
            format!("it is that of book {}, the journal is book {}", witness.book, report.book)
        } else if witness.sequence > report.sequence {
            let ends = report.sequence;
            format!("it saw {seen}, and the journal ends at {ends}: it was restored from an older copy, or cut")
        } else if witness.epoch > report.epoch {
            format!(
                "it saw {seen}, and the journal knows no epoch above {}: it was restored from an older copy",
                report.epoch
            )
        } else if witness.sequence > Sequence::ZERO && self.witnessed_hash != Some(witness.hash) {
            format!("the block that it saw end at {} is not the one in the journal: it was replaced", witness.sequence)
        } else {
            return Check::done("witness", seen, 0, None);
        };
        Check::done("witness", seen, 1, Some(Finding::at(witness.sequence, what)))
    }

    pub(super) fn check_digests(&self) -> Check {
        let checked = format!("{} events, {} state digests", self.applied, self.digests);
        let check = Check::done("replay", checked, self.replayed.count, self.replayed.first.clone());
        if self.stopped && self.replayed.count == 0 { check.with_note("up to the damage") } else { check }
    }

    pub(super) fn check_checkpoints(&mut self, report: Option<&WalkReport>) -> Check {
        let Some(head) = report.map(|report| report.sequence) else {
            return Check::skipped("checkpoints", "there is no journal to compare with");
        };
        if self.checkpoints.is_empty() {
            return Check::skipped("checkpoints", "there are none yet");
        }
        let stopped = self.stopped;
        let mut beyond_damage = 0;
        for stored in self.checkpoints.iter().filter(|stored| !stored.compared) {
            if stored.sequence > head {
                let what = format!("the checkpoint is ahead of the journal, which ends at {head}");
                self.checkpoints_found.add(Finding::at(stored.sequence, what));
            } else if stopped {
                beyond_damage += 1;
            } else {
                let what = "no state digest stands in the journal at this checkpoint's sequence";
                self.checkpoints_found.add(Finding::at(stored.sequence, what));
            }
        }
        let sequences: Vec<_> = self.checkpoints.iter().map(|stored| stored.sequence.to_string()).collect();
        let checked = format!("{} at {}", self.checkpoints.len(), sequences.join(", "));
        let found = &self.checkpoints_found;
        let check = Check::done("checkpoints", checked, found.count, found.first.clone());
        if beyond_damage > 0 {
            check.with_note(format!("{beyond_damage} beyond the damage not compared"))
        } else {
            check
        }
    }

    pub(super) fn check_ids(&mut self) -> Check {
        let Some(ids) = &mut self.ids else { return Check::skipped("id index", "there is none yet") };
        let through = ids.index.indexed_sequence();
        // What can't be used is rebuilt at the next start, but it is not what was written.
        for refused in std::mem::take(&mut ids.refused) {
            self.ids_found.add(Finding::of(refused));
        }
        let checked = format!("{} of {} ids, indexed to {through}", self.looked_up, self.verdicts);
        let check = Check::done("id index", checked, self.ids_found.count, self.ids_found.first.clone());
        if through == Sequence::ZERO && check.findings == 0 {
            return Check::skipped("id index", "no run on disk yet: the writer keeps newer ids in memory");
        }
        check
    }
}

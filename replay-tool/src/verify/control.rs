//! The control plane: the chain of its journal, or the rows of its table; that each aggregate's facts are numbered without a
//! gap; and that they make sense together.

use std::collections::{BTreeMap, BTreeSet};

use event_schemas::control::{ApiKeyRevoked, ApiKeyScopesSet};
use event_schemas::{Block, BookId, Cause, ControlFact, ControlRecorded, EventBody, Sequence};
use ledger_core::control::payments::Payment;
use stores::control::{self, ControlPosition, ControlStore};
use stores::postgres::PostgresUrl;

use super::beside::{self, Looked};
use super::report::{Check, Finding};
use crate::folder::{Folder, Place};
use crate::outcome::Failure;

const NAME: &str = "control";

/// Checks the control plane of a folder or of a database, if there is one.
pub(super) fn check(folder: &Folder, book: Option<BookId>) -> Result<Option<Check>, Failure> {
    if let Place::Postgres(url, _) = folder.place() {
        return of_table(url).map(Some);
    }
    if !control::exists(folder.path())? {
        return Ok(None);
    }
    let mut facts = Facts::default();
    beside::walk(NAME, "facts", &folder.control_storage(), &mut |block| look(block, book, &mut facts)).map(Some)
}

fn look(block: &Block, book: Option<BookId>, facts: &mut Facts) -> Looked {
    let first = block.header().first_sequence;
    if book.is_some_and(|book| book != block.header().book) {
        return Err((first, format!("it is the control journal of book {}", block.header().book)));
    }
    let mut records = 0;
    for item in block.events() {
        let (sequence, event) = item.map_err(|error| (first, error.to_string()))?;
        match (&event.body, event.cause) {
            (EventBody::BookOpened(_), Cause::Engine) if sequence == Sequence(1) => {}
            (EventBody::ControlRecorded(recorded), Cause::Engine) if sequence > Sequence(1) => {
                facts.take(recorded).map_err(|what| (sequence, what))?;
                records += 1;
            }
            (body, _) => return Err((sequence, format!("{} does not belong here", body.type_name()))),
        }
    }
    Ok(records)
}

fn of_table(url: &PostgresUrl) -> Result<Check, Failure> {
    let fault = |fault: control::ControlFault| Failure::Unreadable(fault.to_string());
    let store = ControlStore::postgres(url, true).map_err(fault)?;
    let (mut facts, mut count, mut position) = (Facts::default(), 0_u64, ControlPosition::default());
    loop {
        let rows = match store.tail(position) {
            Ok(rows) => rows,
            Err(damage) if damage.is_damage() => return Ok(Check::failed(NAME, Finding::of(damage.to_string()))),
            Err(other) => return Err(fault(other)),
        };
        let Some(last) = rows.last() else { break };
        position = last.position;
        for row in rows {
            let at = row.position.0;
            let recorded = ControlRecorded { aggregate: row.aggregate, version: row.version, fact: row.fact };
            if let Err(what) = facts.take(&recorded) {
                let what = format!("the row of control_events at position {at}: {what}");
                return Ok(Check::failed(NAME, Finding::of(what)));
            }
            count += 1;
        }
    }
    Ok(Check::done(NAME, format!("{count} facts"), 0, None))
}

/// Facts as far as they were read.
#[derive(Default)]
struct Facts {
    /// The version of each aggregate.
    versions: BTreeMap<(&'static str, Box<str>), u64>,
    /// Keys that were issued, with their holder's aggregate.
    keys: BTreeSet<(Box<str>, Box<str>)>,
    payments: BTreeMap<Box<str>, Payment>,
}

impl Facts {
    fn take(&mut self, recorded: &ControlRecorded) -> Result<(), String> {
        let ControlRecorded { aggregate, version, fact } = recorded;
        let known = self.versions.entry((fact.aggregate_type(), aggregate.clone())).or_default();
        if *version != *known + 1 {
            return Err(format!("fact {version} of {aggregate} comes behind fact {known}"));
        }
        *known = *version;
        match fact {
            ControlFact::ApiKeyIssued(issued) => {
                if issued.holder.principal().to_string() != **aggregate {
                    return Err(format!("key {} was issued to another holder than {aggregate}", issued.key));
                }
                if !self.keys.insert((aggregate.clone(), issued.key.clone())) {
                    return Err(format!("key {} was issued twice", issued.key));
                }
            }
            ControlFact::ApiKeyRevoked(ApiKeyRevoked { key, .. })
            | ControlFact::ApiKeyScopesSet(ApiKeyScopesSet { key, .. }) => {
                if !self.keys.contains(&(aggregate.clone(), key.clone())) {
                    return Err(format!("{} of {key}, which {aggregate} was never given", fact.type_name()));
                }
            }
            ControlFact::ProviderSet(set) => {
                if set.provider != *aggregate {
                    return Err(format!("the provider {} stands under {aggregate}", set.provider));
                }
            }
            // A payment is decided anew from its facts: what was recorded must be what its rules allow.
            ControlFact::PaymentRequested(_) | ControlFact::PaymentStepped(_) => {
                let payment = self.payments.entry(aggregate.clone()).or_default();
                let id = payment.take(fact).map_err(|what| format!("payment {aggregate}: {what}"))?;
                if id.to_string() != **aggregate {
                    return Err(format!("the payment {id} stands under {aggregate}"));
                }
            }
        }
        Ok(())
    }
}

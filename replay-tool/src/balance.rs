//! `balance`: what an account held at a moment, from the journal alone.
//!
//! The whole state is replayed up to the moment and every digest on the way is compared, so the answer is evidence: it
//! names the block whose hash covers everything that went into it. Read models have no part in it.

use std::io::Write;
use std::ops::ControlFlow;

use event_schemas::{BlockHash, CivilDate, Currency, EventBody, Money, Sequence, Side, Timestamp};
use ledger_core::state::{AccountStatus, State};
use serde::Serialize;

use crate::accounts::{Accounts, resolve};
use crate::cli::{BalanceArgs, Format};
use crate::journal::Journal;
use crate::outcome::{Failure, Outcome};

/// The answer.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names are those of the JSON form")]
struct Balance {
    account: String,
    code: String,
    kind: &'static str,
    currency: String,
    status: &'static str,
    /// On the account's normal side.
    balance: String,
    debits: String,
    credits: String,
    postings: u64,
    /// The last event that went into it.
    sequence: Sequence,
    /// When that event was recorded.
    recorded_at: Timestamp,
    /// The date up to which entries count, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_date: Option<CivilDate>,
    /// The block that holds that event, and its hash, which covers all before it.
    block_last_sequence: Sequence,
    block_hash: BlockHash,
    digests_compared: u64,
}

/// Sums of one account.
#[derive(Default)]
struct Sums {
    debits_minor: i128,
    credits_minor: i128,
    postings: u64,
}

/// Prints the balance of an account at a moment.
pub fn run(
    journal: &mut Journal,
    arguments: &BalanceArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let head = journal.head().sequence;
    if head == Sequence::ZERO {
        return Err(Failure::usage("the journal is empty"));
    }
    let through = match (arguments.at.at_sequence, arguments.at.at_time) {
        (Some(sequence), _) if sequence > head => {
            return Err(Failure::usage(format!("event {sequence} is not recorded yet: the journal ends at {head}")));
        }
        (Some(sequence), _) => sequence,
        (None, Some(time)) => Sequence(journal.first_at(Timestamp(time.0.saturating_add(1)))?.0 - 1),
        (None, None) => head,
    };
    if through == Sequence::ZERO {
        return Err(Failure::usage("nothing was recorded up to then"));
    }
    let id = resolve(journal.book(), &arguments.account);
    let (mut state, mut accounts, mut sums, mut digests) = (State::new(), Accounts::new(), Sums::default(), 0);
    journal.events(Sequence(1), through, "replaying", &mut |_, sequence, event| {
        state.apply(&event).map_err(|error| Failure::apply(sequence, &error))?;
        if let Some(entry) = event.body.entry()
            && arguments.at.on_date.is_none_or(|date| entry.effective_on <= date)
        {
            for posting in entry.postings.iter().filter(|posting| posting.account == id) {
                sums.postings += 1;
                match posting.side {
                    Side::Debit => sums.debits_minor += posting.money.amount_minor,
                    Side::Credit => sums.credits_minor += posting.money.amount_minor,
                }
            }
        }
        match &event.body {
            EventBody::AccountOpened(open) if open.account == id => accounts.see(&event),
            EventBody::StateDigest(_) => digests += 1,
            EventBody::BookOpened(_)
            | EventBody::AccountOpened(_)
            | EventBody::AccountFrozen(_)
            | EventBody::AccountUnfrozen(_)
            | EventBody::AccountClosed(_)
            | EventBody::EntryPosted(_)
            | EventBody::EntryReversed(_)
            | EventBody::HoldPlaced(_)
            | EventBody::HoldCaptured(_)
            | EventBody::HoldVoided(_)
            | EventBody::HoldExpired(_)
            | EventBody::CommandRejected(_)
            | EventBody::ClockAccepted(_)
            | EventBody::LimitsSet(_)
            | EventBody::LimitCharged(_)
            | EventBody::LimitReleased(_)
            | EventBody::CalendarPublished(_)
            | EventBody::FeeRuleSet(_)
            | EventBody::PeriodClosed(_)
            | EventBody::NotificationPreferencesSet(_)
            | EventBody::RateSheetPublished(_)
            | EventBody::ConversionPosted(_)
            | EventBody::JournalRestored(_)
            | EventBody::ControlRecorded(_)
            | EventBody::AccessLogged(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let (Some(open), Some(held)) = (accounts.get(id), state.account(id)) else {
        let text = &arguments.account;
        return Err(Failure::usage(format!("there is no account {text} ({id}) up to event {through}")));
    };
    let balance_minor = match open.kind.normal_side() {
        Side::Debit => sums.debits_minor - sums.credits_minor,
        Side::Credit => sums.credits_minor - sums.debits_minor,
    };
    // Two ways to the same sum: the postings counted here, and the state.
    assert!(
        arguments.at.on_date.is_some() || balance_minor == held.balance_minor(),
        "the postings of {id} give {balance_minor}, the state {}",
        held.balance_minor()
    );
    let block = journal.block_at(through)?;
    let amount = |minor: i128| Money::new(minor, open.currency).amount().to_string();
    let balance = Balance {
        account: id.to_string(),
        code: open.code.to_string(),
        kind: open.kind.name(),
        currency: open.currency.to_string(),
        status: match held.status {
            AccountStatus::Open => "open",
            AccountStatus::Frozen => "frozen",
            AccountStatus::Closed => "closed",
        },
        balance: amount(balance_minor),
        debits: amount(sums.debits_minor),
        credits: amount(sums.credits_minor),
        postings: sums.postings,
        sequence: through,
        recorded_at: block.header().recorded_at,
        on_date: arguments.at.on_date,
        block_last_sequence: block.header().last_sequence(),
        block_hash: block.hash(),
        digests_compared: digests,
    };
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &balance)?;
            writeln!(out)?;
        }
        Format::Text => write_text(&balance, open.currency, out)?,
    }
    Ok(Outcome::Fine)
}

fn write_text(balance: &Balance, currency: Currency, out: &mut dyn Write) -> Result<(), Failure> {
    let name = if balance.code.is_empty() { &balance.account } else { &balance.code };
    writeln!(out, "{name}  {} {currency}", balance.balance)?;
    writeln!(out)?;
    let mut line = |label: &str, value: String| writeln!(out, "  {label:<10} {value}");
    line("account", format!("{} ({}, {})", balance.account, balance.kind, balance.status))?;
    line("debits", format!("{} {currency}", balance.debits))?;
    line("credits", format!("{} {currency}", balance.credits))?;
    line("postings", balance.postings.to_string())?;
    if let Some(date) = balance.on_date {
        line("on date", format!("{date} (entries effective on that date or before)"))?;
    }
    line("after", format!("event {}, recorded {}", balance.sequence, balance.recorded_at))?;
    line("evidence", format!("the block that ends at {}, {}", balance.block_last_sequence, balance.block_hash))?;
    line(
        "replayed",
        format!("{} events; state digests compared, all equal: {}", balance.sequence, balance.digests_compared),
    )?;
    Ok(())
}

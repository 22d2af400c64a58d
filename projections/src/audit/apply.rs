//! What an event adds to the audit trail.

use event_schemas::command::CommandBody;
use event_schemas::event::EntryKind;
use event_schemas::{AccountId, Cause, CommandId, Event, EventBody, PrincipalId, Sequence};
use smallvec::SmallVec;

use super::rows::{ACTS, AccountActRow, ActCause, ActRow, ActorRow, BY_ACCOUNT, BY_ACTOR, BY_CUSTOMER, CustomerActRow};
use crate::ports::{ReadRows, RowChanges, Table};
use crate::projection::{ApplyFault, Place, Projection};
use crate::table::Row;

/// The outcome of what was not refused.
pub(crate) const ACCEPTED: &str = "accepted";

/// The types of acts: those of commands, and what the engine or an operator does without one.
pub const ACT_TYPES: [&str; 24] = [
    "open_account",
    "freeze_account",
    "unfreeze_account",
    "close_account",
    "top_up",
    "withdraw",
    "post_transfer",
    "post_entry",
    "place_hold",
    "capture_hold",
    "void_hold",
    "reverse_entry",
    "transfer_up_to",
    "set_limits",
    "publish_calendar",
    "set_fee_rule",
    "close_period",
    "set_notification_preferences",
    "publish_rate_sheet",
    "convert_funds",
    "open_book",
    "expire_hold",
    "accept_clock",
    "restore_journal",
];

/// The projection of the audit trail. It holds new keys of the indexes until they are handed over, and nothing else.
#[derive(Debug, Default)]
pub struct Audit {
    by_actor: Vec<(PrincipalId, Sequence)>,
    by_account: Vec<(AccountId, Sequence)>,
}

type Accounts = SmallVec<[AccountId; 4]>;

/// What an act is about.
#[derive(Default)]
struct About<'a> {
    /// The hold or the entry, the customer, the zone, the kind of fee, the day or the operator.
    what: Box<str>,
    /// The customer, if it is one and no account of its own says so.
    customer: Option<&'a str>,
    /// The accounts, in the order of the event.
    accounts: Accounts,
    /// Whether it posts to them, so that their statements lead to it.
    posts: bool,
}

impl<'a> About<'a> {
    fn of(what: impl Into<Box<str>>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    fn account(account: AccountId) -> Self {
        Self::default().and(account)
    }

    fn customer(customer: &'a str) -> Self {
        Self { customer: Some(customer), ..Self::of(customer) }
    }

    fn and(mut self, account: AccountId) -> Self {
        self.accounts.push(account);
        self
    }
}

const fn entry_command(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::TopUp => "top_up",
        EntryKind::Withdrawal => "withdraw",
        EntryKind::Transfer => "post_transfer",
        EntryKind::General => "post_entry",
        EntryKind::TransferUpTo => "transfer_up_to",
    }
}

fn asked(command: &CommandBody) -> About<'_> {
    let about = match command {
        CommandBody::CaptureHold(capture) => About::of(capture.hold.to_string()),
        CommandBody::VoidHold(void) => About::of(void.hold.to_string()),
        CommandBody::ReverseEntry(reverse) => About::of(reverse.entry.to_string()),
        CommandBody::SetLimits(set) => About::customer(&set.owner),
        CommandBody::SetNotificationPreferences(set) => About::customer(&set.owner),
        // The account is not there, so nothing else leads from its owner to this.
        CommandBody::OpenAccount(open) => About { what: "".into(), ..About::customer(&open.owner) },
        CommandBody::PublishCalendar(calendar) => About::of(calendar.zone.clone()),
        CommandBody::SetFeeRule(rule) => About::of(rule.kind.name()),
        CommandBody::ClosePeriod(close) => About::of(close.through.to_string()),
        CommandBody::PublishRateSheet(sheet) => About::of(sheet.source.clone()),
        CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostTransfer(_)
        | CommandBody::PostEntry(_)
        | CommandBody::PlaceHold(_)
        | CommandBody::TransferUpTo(_)
        | CommandBody::ConvertFunds(_) => About::default(),
    };
    About { accounts: command.accounts().into(), ..about }
}

/// What was asked or done, as commands are named, and what it is about. `None` for what is no act of its own: digests, and
/// what is charged to limits before a verdict.
fn act(event: &Event) -> Option<(&'static str, About<'_>)> {
    let posted = |what: Box<str>| {
        let postings = event.body.entry().into_iter().flat_map(|entry| entry.postings);
        About { accounts: postings.map(|posting| posting.account).collect(), posts: true, ..About::of(what) }
    };
    Some(match &event.body {
        EventBody::BookOpened(_) => ("open_book", About::default()),
        EventBody::AccountOpened(open) => ("open_account", About::account(open.account)),
        EventBody::AccountFrozen(act) => ("freeze_account", About::account(act.account)),
        EventBody::AccountUnfrozen(act) => ("unfreeze_account", About::account(act.account)),
        EventBody::AccountClosed(act) => ("close_account", About::account(act.account)),
        EventBody::EntryPosted(entry) => (entry_command(entry.kind), posted("".into())),
        EventBody::EntryReversed(reversed) => ("reverse_entry", posted(reversed.entry.to_string().into())),
        EventBody::HoldPlaced(placed) => ("place_hold", About::account(placed.account)),
        EventBody::HoldCaptured(captured) => ("capture_hold", posted(captured.hold.to_string().into())),
        EventBody::HoldVoided(voided) => ("void_hold", About::of(voided.hold.to_string()).and(voided.account)),
        EventBody::HoldExpired(expired) => ("expire_hold", About::of(expired.hold.to_string()).and(expired.account)),
        EventBody::CommandRejected(rejected) => (rejected.command.type_name(), asked(&rejected.command)),
        EventBody::ClockAccepted(clock) => ("accept_clock", About::of(clock.actor.clone())),
        EventBody::JournalRestored(restored) => ("restore_journal", About::of(restored.actor.clone())),
        EventBody::LimitsSet(set) => ("set_limits", About::customer(&set.owner)),
        EventBody::CalendarPublished(calendar) => ("publish_calendar", About::of(calendar.zone.clone())),
        EventBody::FeeRuleSet(rule) => ("set_fee_rule", About::of(rule.kind.name())),
        EventBody::PeriodClosed(close) => ("close_period", About::of(close.through.to_string())),
        EventBody::NotificationPreferencesSet(set) => ("set_notification_preferences", About::customer(&set.owner)),
        EventBody::RateSheetPublished(sheet) => ("publish_rate_sheet", About::of(sheet.source.clone())),
        EventBody::ConversionPosted(_) => ("convert_funds", posted("".into())),
        EventBody::StateDigest(_)
        | EventBody::LimitCharged(_)
        | EventBody::LimitReleased(_)
        | EventBody::ControlRecorded(_)
        | EventBody::AccessLogged(_) => return None,
    })
}

/// Names each account once, where it comes first.
fn once(accounts: &mut Accounts) {
    if let [one, other] = accounts[..] {
        if one == other {
            accounts.truncate(1);
        }
    } else if accounts.len() > 2 {
        let mut seen = std::collections::BTreeSet::new();
        accounts.retain(|account| seen.insert(*account));
    }
}

impl Projection for Audit {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn tables(&self) -> &'static [&'static Table] {
        const TABLES: &[&Table] = &[&ACTS, &BY_ACTOR, &BY_ACCOUNT, &BY_CUSTOMER];
        TABLES
    }

    fn apply(
        &mut self,
        _: &dyn ReadRows,
        place: Place,
        event: &Event,
        changes: &mut RowChanges,
    ) -> Result<(), ApplyFault> {
        if matches!(event.body, EventBody::AccessLogged(_) | EventBody::ControlRecorded(_)) {
            let what = format!("{} does not belong into a book", event.body.type_name());
            return Err(ApplyFault::Contradiction(what));
        }
        let Some((command_type, mut about)) = act(event) else { return Ok(()) };
        once(&mut about.accounts);
        let cause = match event.cause {
            Cause::Engine => ActCause::Engine,
            Cause::Consequence { .. } => ActCause::Consequence,
            Cause::Verdict { .. } => ActCause::Verdict,
        };
        let (command, actor) = event.cause.command().unwrap_or((CommandId(0), PrincipalId::ENGINE));
        let outcome =
            if let EventBody::CommandRejected(rejected) = &event.body { rejected.rejection.code() } else { ACCEPTED };
        let sequence = place.sequence;
        self.by_actor.push((actor, sequence));
        if !about.posts {
            self.by_account.extend(about.accounts.iter().map(|account| (*account, sequence)));
        }
        if let Some(customer) = about.customer.filter(|customer| !customer.is_empty()) {
            let key = CustomerActRow::key_bytes(&(customer.into(), sequence));
            changes.rows.push((&BY_CUSTOMER, key, Some(CustomerActRow.value_bytes())));
        }
        let row = ActRow {
            recorded_at: place.recorded_at,
            cause,
            command,
            actor,
            command_type: command_type.into(),
            outcome: outcome.into(),
            about: about.what,
            accounts: about.accounts.len() as u64,
            first_accounts: [about.accounts.first().copied(), about.accounts.get(1).copied()],
        };
        changes.rows.push((&ACTS, ActRow::key_bytes(&sequence), Some(row.value_bytes())));
        Ok(())
    }

    fn flush(&mut self, changes: &mut RowChanges) {
        // In the order of keys: a store that keeps rows in order takes them faster so.
        self.by_actor.sort_unstable();
        self.by_account.sort_unstable();
        let actors = self.by_actor.drain(..);
        changes.rows.extend(actors.map(|key| (&BY_ACTOR, ActorRow::key_bytes(&key), Some(ActorRow.value_bytes()))));
        let accounts = self.by_account.drain(..);
        changes.rows.extend(
            accounts.map(|key| (&BY_ACCOUNT, AccountActRow::key_bytes(&key), Some(AccountActRow.value_bytes()))),
        );
    }

    fn pending(&self) -> usize {
        self.by_actor.len() + self.by_account.len()
    }
}

#[cfg(test)]
mod tests {
    use event_schemas::testing;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_act_has_a_type_of_the_list(event in testing::event()) {
            if let Some((command_type, _)) = act(&event) {
                prop_assert!(ACT_TYPES.contains(&command_type), "{command_type}");
            }
        }
    }
}

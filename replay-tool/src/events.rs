//! `events`: what stands in the journal, filtered, a line each.
//!
//! Text lines name accounts by their codes, so the openings before the first line are read as well; JSON lines are the
//! events as they are and start where they are asked to.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use event_schemas::command::{Caps, CaptureHold, ReverseEntry, VoidHold};
use event_schemas::control::{Scope, Scopes};
use event_schemas::entry::{Entry, EntryOrigin};
use event_schemas::event::CommandRejected;
use event_schemas::{
    AccountId, BlockHeader, CommandBody, CommandId, ControlFact, ControlRecorded, Currency, Event, EventBody, Money,
    RecordedEvent, Rejection, Sequence, Side,
};

use crate::accounts::{Accounts, resolve};
use crate::cli::{EventsArgs, Format};
use crate::journal::Journal;
use crate::outcome::{Failure, Outcome};

/// How long a follower waits before it looks again.
const FOLLOW_WAIT: Duration = Duration::from_millis(200);

/// Which events.
struct Filter {
    arguments: EventsArgs,
    account: Option<AccountId>,
}

/// Prints events.
pub fn run(
    journal: &mut Journal,
    arguments: &EventsArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<Outcome, Failure> {
    check_types(&arguments.types)?;
    let account = arguments.account.as_deref().map(|text| resolve(journal.book(), text));
    let filter = Filter { arguments: arguments.clone(), account };
    let from = first_sequence(journal, arguments)?;
    let to = arguments.to.unwrap_or(Sequence(u64::MAX));
    let mut printer = Printer { format, accounts: Accounts::new(), left: arguments.limit.unwrap_or(u64::MAX), out };
    if format == Format::Text && from > Sequence(1) {
        let before = Sequence(from.0 - 1);
        journal.events(Sequence(1), before, "reading account codes", &mut |_, _, event| {
            printer.accounts.see(&event);
            Ok(ControlFlow::Continue(()))
        })?;
    }
    journal.events(from, to, "reading events", &mut |header, sequence, event| {
        if filter.is_behind(header) {
            return Ok(ControlFlow::Break(()));
        }
        printer.offer(&filter, header, sequence, event)
    })?;
    printer.out.flush()?;
    if arguments.follow && printer.left > 0 {
        follow(journal, &filter, from, &mut printer)?;
    }
    Ok(Outcome::Fine)
}

fn first_sequence(journal: &mut Journal, arguments: &EventsArgs) -> Result<Sequence, Failure> {
    let since = match arguments.since {
        Some(time) => Some(journal.first_at(time)?),
        None => None,
    };
    let given = arguments.from.max(since);
    Ok(match given {
        Some(sequence) => sequence.max(Sequence(1)),
        None if arguments.follow => journal.head().sequence.next(),
        None => Sequence(1),
    })
}

/// Prints what is recorded behind the head, as it comes.
fn follow(journal: &mut Journal, filter: &Filter, from: Sequence, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let mut next = journal.head().sequence.next();
    loop {
        let Some(block) = journal.reader().block_at(next)? else {
            std::thread::sleep(FOLLOW_WAIT);
            continue;
        };
        for item in block.events() {
            let (sequence, event) = item?;
            let wanted = sequence >= next && sequence >= from;
            if wanted && printer.offer(filter, block.header(), sequence, event)?.is_break() {
                return Ok(printer.out.flush()?);
            }
        }
        printer.out.flush()?;
        next = block.header().last_sequence().next();
    }
}

/// The name of a type without prefix and version: `entry.posted`.
fn short_name(name: &str) -> &str {
    let name = name.strip_prefix("ledger.").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((front, version)) if version.strip_prefix('v').is_some_and(|number| number.parse::<u8>().is_ok()) => front,
        _ => name,
    }
}

fn check_types(types: &[String]) -> Result<(), Failure> {
    let known = EventBody::TYPE_NAMES.map(short_name);
    match types.iter().find(|name| !known.contains(&short_name(name))) {
        None => Ok(()),
        Some(unknown) => {
            Err(Failure::usage(format!("there is no event type {unknown:?}; there are: {}", known.join(", "))))
        }
    }
}

impl Filter {
    /// Whether this block and all behind it are later than asked for.
    fn is_behind(&self, header: &BlockHeader) -> bool {
        self.arguments.until.is_some_and(|until| header.recorded_at > until)
    }

    fn takes(&self, event: &Event) -> bool {
        let arguments = &self.arguments;
        let (command, actor) = event.cause.command().unzip();
        let name = event.body.type_name();
        let type_fits = arguments.types.is_empty()
            || arguments.types.iter().any(|wanted| wanted == name || wanted == short_name(name));
        type_fits
            && (arguments.command.is_none() || arguments.command == command)
            && (arguments.actor.is_none() || arguments.actor == actor)
            && self.account.is_none_or(|account| event.body.touches(account))
    }
}

/// The hold or the entry that a command is about.
fn about(command: &CommandBody) -> Option<CommandId> {
    match command {
        CommandBody::CaptureHold(CaptureHold { hold: id, .. })
        | CommandBody::VoidHold(VoidHold { hold: id, .. })
        | CommandBody::ReverseEntry(ReverseEntry { entry: id, .. }) => Some(*id),
        CommandBody::OpenAccount(_)
        | CommandBody::FreezeAccount(_)
        | CommandBody::UnfreezeAccount(_)
        | CommandBody::CloseAccount(_)
        | CommandBody::TopUp(_)
        | CommandBody::Withdraw(_)
        | CommandBody::PostTransfer(_)
        | CommandBody::PostEntry(_)
        | CommandBody::PlaceHold(_)
        | CommandBody::TransferUpTo(_)
        | CommandBody::SetLimits(_)
        | CommandBody::PublishCalendar(_)
        | CommandBody::SetFeeRule(_)
        | CommandBody::ClosePeriod(_)
        | CommandBody::SetNotificationPreferences(_)
        | CommandBody::PublishRateSheet(_)
        | CommandBody::ConvertFunds(_) => None,
    }
}

struct Printer<'a> {
    format: Format,
    accounts: Accounts,
    left: u64,
    out: &'a mut dyn Write,
}

impl Printer<'_> {
    /// Prints the event if it is wanted; breaks off behind the last one wanted.
    fn offer(
        &mut self,
        filter: &Filter,
        header: &BlockHeader,
        sequence: Sequence,
        event: Event,
    ) -> Result<ControlFlow<()>, Failure> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        self.accounts.see(&event);
        if !filter.takes(&event) {
            return Ok(ControlFlow::Continue(()));
        }
        self.left -= 1;
        match self.format {
            Format::Text => {
                let name = short_name(event.body.type_name());
                writeln!(self.out, "{sequence:>8}  {}  {name:<16}  {}", header.recorded_at, self.told(&event))?;
            }
            Format::Json => {
                let (book, recorded_at, epoch) = (header.book, header.recorded_at, header.epoch);
                let recorded = RecordedEvent { book, sequence, recorded_at, epoch, event };
                serde_json::to_writer(&mut self.out, &recorded)?;
                self.out.write_all(b"\n")?;
            }
        }
        Ok(if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// What happened, in a few words.
    fn told(&self, event: &Event) -> String {
        if let Some(entry) = event.body.entry() {
            return self.entry(&entry);
        }
        match &event.body {
            EventBody::BookOpened(opened) => format!("book {}", opened.book),
            EventBody::AccountOpened(open) => {
                let owner = if open.owner.is_empty() { String::new() } else { format!(" of {}", open.owner) };
                format!("{} {} {}{owner}", self.accounts.name(open.account), open.kind.name(), open.currency)
            }
            EventBody::AccountFrozen(act) | EventBody::AccountUnfrozen(act) | EventBody::AccountClosed(act) => {
                format!("{}{}", self.accounts.name(act.account), quoted(&act.reason))
            }
            EventBody::HoldPlaced(placed) => {
                let hold = event.cause.command().map_or_else(String::new, |(command, _)| format!(" as {command}"));
                let until = placed.expires_at.map_or_else(String::new, |at| format!(" until {at}"));
                let reference = quoted(&placed.reference);
                format!("{} {} held{hold}{until}{reference}", self.accounts.name(placed.account), placed.amount)
            }
            EventBody::HoldVoided(voided) => {
                let (name, reason) = (self.accounts.name(voided.account), quoted(&voided.reason));
                format!("{name} {} released of hold {}{reason}", voided.released, voided.hold)
            }
            EventBody::HoldExpired(expired) => {
                let name = self.accounts.name(expired.account);
                format!("{name} {} released of hold {} due {}", expired.released, expired.hold, expired.expires_at)
            }
            // Told above.
            EventBody::EntryPosted(_)
            | EventBody::EntryReversed(_)
            | EventBody::HoldCaptured(_)
            | EventBody::ConversionPosted(_) => String::new(),
            EventBody::RateSheetPublished(sheet) => {
                let (version, source, pivot) = (sheet.version, &sheet.source, sheet.pivot);
                let (count, day, end) = (sheet.rates.len(), sheet.quoted_on, sheet.valid_until);
                format!("version {version} of {source}: {count} rates per {pivot} for {day}, valid until {end}")
            }
            EventBody::CommandRejected(rejected) => self.refused(rejected),
            EventBody::StateDigest(state) => format!("{} of {} accounts", state.digest, state.accounts),
            EventBody::ClockAccepted(clock) => {
                format!("{} after {} by {}{}", clock.accepted, clock.previous, clock.actor, quoted(&clock.reason))
            }
            EventBody::LimitsSet(limits) => {
                let caps = caps(&limits.caps, limits.currency);
                format!("{} {} version {}: {caps}", limits.owner, limits.currency, limits.version)
            }
            EventBody::LimitCharged(charged) => {
                let money = |minor| Money::new(minor, charged.currency);
                let (name, amount) = (self.accounts.name(charged.account), money(charged.amount_minor));
                let (day, month) = (money(charged.day_used_minor), money(charged.month_used_minor));
                format!("{} {amount} from {name} on {}, day {day}, month {month}", charged.owner, charged.day)
            }
            EventBody::LimitReleased(released) => {
                let amount = Money::new(released.amount_minor, released.currency);
                format!("{} {amount} of {} back from hold {}", released.owner, released.day, released.hold)
            }
            EventBody::CalendarPublished(calendar) => {
                let days = calendar.starts.len().saturating_sub(1);
                format!("version {} of {}: {days} days from {}", calendar.version, calendar.zone, calendar.first_day)
            }
            EventBody::FeeRuleSet(rule) => {
                let money = |minor| Money::new(minor, rule.currency);
                let most = rule.max_minor.map_or_else(String::new, |most| format!(", at most {}", money(most)));
                let (fixed, least) = (money(rule.fixed_minor), money(rule.min_minor));
                let (kind, version, rate) = (rule.kind.name(), rule.version, rule.rate_ppm);
                format!("{kind} {} version {version}: {fixed} + {rate} ppm, at least {least}{most}", rule.currency)
            }
            EventBody::PeriodClosed(close) => format!("through {}{}", close.through, quoted(&close.reason)),
            EventBody::NotificationPreferencesSet(preferences) => {
                let topics = preferences.topics.iter().map(|(topic, channels)| {
                    let channels: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
                    format!(
                        "{} by {}",
                        topic.name(),
                        if channels.is_empty() { "none".into() } else { channels.join("+") }
                    )
                });
                let topics: Vec<_> = topics.collect();
                format!("{} version {}: {}", preferences.owner, preferences.version, topics.join(", "))
            }
            EventBody::JournalRestored(restored) => {
                let seen = restored.witnessed.map_or_else(String::new, |seen| format!(", {seen} had been seen"));
                format!("to {}{seen} by {}{}", restored.restored_to, restored.actor, quoted(&restored.reason))
            }
            EventBody::AccessLogged(access) => {
                format!("{} {} by {}: {}", access.operation, access.subject, access.actor, access.status)
            }
            EventBody::ControlRecorded(recorded) => control(recorded),
        }
    }

    fn entry(&self, entry: &Entry<'_>) -> String {
        let mut text = entry.origin.name().to_owned();
        match entry.origin {
            EntryOrigin::Capture(about) | EntryOrigin::Reversal(about) => {
                let _ = write!(text, " of {about}");
            }
            EntryOrigin::Command(_) | EntryOrigin::Conversion => {}
        }
        let _ = write!(text, " on {}", entry.effective_on);
        for posting in entry.postings {
            let side = match posting.side {
                Side::Debit => "debit",
                Side::Credit => "credit",
            };
            let _ = write!(text, ", {side} {} {}", self.accounts.name(posting.account), posting.money);
        }
        text + &quoted(entry.reference)
    }

    fn refused(&self, rejected: &CommandRejected) -> String {
        let mut names: Vec<_> = rejected.command.accounts().into_iter().map(|id| self.accounts.name(id)).collect();
        names.extend(about(&rejected.command).map(|id| id.to_string()));
        let mut text = format!("{} {}: {}", rejected.command.type_name(), names.join(" "), rejected.rejection.code());
        if let Rejection::InsufficientFunds { account, available_minor, required_minor } = rejected.rejection
            && let Some(open) = self.accounts.get(account)
        {
            let amount = |minor| Money::new(minor, open.currency);
            let _ = write!(text, " (available {}, required {})", amount(available_minor), amount(required_minor));
        }
        text
    }
}

/// The limits that there are.
fn caps(caps: &Caps, currency: Currency) -> String {
    let named = ["transfer", "day", "month"].into_iter().zip(caps.all());
    let set: Vec<_> = named
        .filter_map(|(window, cap)| cap.map(|cap| format!("{} per {window}", Money::new(cap, currency))))
        .collect();
    if set.is_empty() { "none".into() } else { set.join(", ") }
}

/// A free text behind a space and in quotes, control characters escaped; nothing if it is empty.
/// A fact of the control plane.
fn control(recorded: &ControlRecorded) -> String {
    let scopes = |scopes: Scopes| scopes.iter().map(Scope::name).collect::<Vec<_>>().join("+");
    match &recorded.fact {
        ControlFact::ApiKeyIssued(issued) => {
            let customer =
                issued.holder.customer.as_ref().map_or_else(String::new, |customer| format!(" for {customer}"));
            let instead = issued.replaces.as_ref().map_or_else(String::new, |old| format!(" in place of {old}"));
            format!(
                "key {} issued to {}{customer}{instead}: {} by {}{}",
                issued.key,
                issued.holder.name,
                scopes(issued.scopes),
                issued.actor,
                quoted(&issued.note)
            )
        }
        ControlFact::ApiKeyRevoked(revoked) => {
            format!("key {} revoked by {}{}", revoked.key, revoked.actor, quoted(&revoked.reason))
        }
        ControlFact::ApiKeyScopesSet(set) => {
            format!("key {} may {} by {}{}", set.key, scopes(set.scopes), set.actor, quoted(&set.reason))
        }
        ControlFact::ProviderSet(set) => {
            let taken = if set.enabled { "taken" } else { "not taken" };
            format!("payments to {} are {taken} by {}{}", set.provider, set.actor, quoted(&set.reason))
        }
        ControlFact::PaymentRequested(asked) => {
            let (amount, currency) = (asked.amount.amount(), asked.amount.currency);
            format!("payment {} of {amount} {currency} to {} by {}", asked.payment, asked.provider, asked.account)
        }
        ControlFact::PaymentStepped(stepped) => {
            format!("payment {}: {} (attempt {})", stepped.payment, stepped.what.name(), stepped.attempt)
        }
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" {text:?}") }
}

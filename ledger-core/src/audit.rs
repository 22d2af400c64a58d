//! The auditor: recomputes a book from its events alone, naively, and says where a law is broken.
//!
//! It shares nothing with [`crate::state`] and [`crate::decide`] but the facts themselves: plain ordered maps, every total
//! added anew, the digest hashed from all rows. Where the two disagree, one of them is wrong. It costs a microsecond or two
//! an event, some 40 bytes for each command (to see a second verdict) and 20 for each entry (to see that no more is reversed
//! than was posted), and a hash of every row at each `StateDigest`. Holds and reversals are judged in `audit/`.
//! Deliberately absent: repair, and the blocks' hashes; the chain proves those. Deadlines are judged if the caller tells the
//! time of each block ([`Auditor::at`]).

mod conversions;
mod entries;
mod holds;
mod limits;
mod linked;
mod rejections;
mod settings;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use event_schemas::bounds::{AMOUNT_MAX_MINOR, EFFECTIVE_EARLIEST_DAYS, POSTINGS_MAX, POSTINGS_MIN, TOTAL_MAX_MINOR};
use event_schemas::codec::{put_currency, put_id, put_option, put_signed};
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, FeeKind, OpenAccount, PublishCalendar, SetFeeRule,
};
use event_schemas::digest::ElementHash;
use event_schemas::event::{LimitCharged, PublishRateSheet, StateDigest};
use event_schemas::{
    AccountId, BookId, Cause, CivilDate, CommandId, Currency, CustomerId, Digest, Event, EventBody, MultisetHash,
    Posting, Sequence, Side, Timestamp,
};

use entries::{Entries, Judged};
use holds::AuditedHold;
use limits::{AuditedLimits, Expected};
use linked::Linked;

/// What must hold of every book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Sequences are dense from 1.
    SequencesDense,
    /// The book is opened once, by the first event.
    BookOpenedOnce,
    /// A command has one verdict, and the consequences of a command stand right before it.
    OneVerdict,
    /// An account is opened once, with an id that goes with its code; system accounts only by the book itself.
    AccountsOpenedOnce,
    /// Accounts are frozen, unfrozen and closed from where that makes sense, and closed at zero.
    StatusFollows,
    /// Two to 1,000 postings, amounts above zero and at most 10^24 minor units, a date from 1900 on.
    EntryInBounds,
    /// Debits equal credits in each currency of an entry.
    EntryBalanced,
    /// Postings go to accounts that exist and are open.
    AccountsOpen,
    /// Postings have the currency of their account.
    CurrencyMatches,
    /// No entry lowers an account's balance below what its policy allows.
    PolicyRespected,
    /// A hold is placed, captured, voided and expired from where that makes sense, and what it says of itself adds up.
    HoldsAddUp,
    /// A hold expires at its deadline or later, the earliest first, and is not captured or voided from then on (law 5).
    DeadlinesKept,
    /// A reversal names an entry, swaps its sides, and no more is reversed of a posting than was posted (law 6).
    ReversedAtMostOnce,
    /// Where a linked batch is refused, its commands are refused side by side in one block, one of them for its own reason.
    LinkedTogether,
    /// The versions of a setting rise, what it says can be, and periods are closed in order and when they are over.
    SettingsInOrder,
    /// A fee that is left to the rule is what the rule in force says.
    FeeByRule,
    /// A transfer up to an amount moves no more than that, and no less than there is.
    UpToWhatIsThere,
    /// A conversion is what its rate sheet, its margin and the roundings make of it, at most one minor unit apart.
    ConvertedAtTheRate,
    /// What leaves a customer is charged to its limits on the day that it is, never above them, and only what a hold releases goes
    /// back.
    LimitsKept,
    /// Nothing is posted with an effective date in a closed period.
    PeriodsKept,
    /// No total passes 10^36 minor units.
    TotalsInBounds,
    /// Over all accounts of a currency, debits equal credits.
    TrialBalanceZero,
    /// A rejection tells what was so.
    RejectionHolds,
    /// The digest on record is that of the accounts.
    StateDigestAgrees,
}

impl Law {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SequencesDense => "sequences_dense",
            Self::BookOpenedOnce => "book_opened_once",
            Self::OneVerdict => "one_verdict",
            Self::AccountsOpenedOnce => "accounts_opened_once",
            Self::StatusFollows => "status_follows",
            Self::EntryInBounds => "entry_in_bounds",
            Self::EntryBalanced => "entry_balanced",
            Self::AccountsOpen => "accounts_open",
            Self::CurrencyMatches => "currency_matches",
            Self::PolicyRespected => "policy_respected",
            Self::HoldsAddUp => "holds_add_up",
            Self::DeadlinesKept => "deadlines_kept",
            Self::ReversedAtMostOnce => "reversed_at_most_once",
            Self::LinkedTogether => "linked_together",
            Self::SettingsInOrder => "settings_in_order",
            Self::FeeByRule => "fee_by_rule",
            Self::UpToWhatIsThere => "up_to_what_is_there",
            Self::ConvertedAtTheRate => "converted_at_the_rate",
            Self::LimitsKept => "limits_kept",
            Self::PeriodsKept => "periods_kept",
            Self::TotalsInBounds => "totals_in_bounds",
            Self::TrialBalanceZero => "trial_balance_zero",
            Self::RejectionHolds => "rejection_holds",
            Self::StateDigestAgrees => "state_digest_agrees",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A law that an event breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The event.
    pub sequence: Sequence,
    /// The law.
    pub law: Law,
    /// What is wrong, in words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}: {}", self.sequence, self.law, self.text)
    }
}

/// How many findings are kept; the rest are counted.
pub const FINDINGS_KEPT: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Frozen,
    Closed,
}

/// An account as the auditor has added it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditedAccount {
    /// Its currency.
    pub currency: Currency,
    /// Its kind.
    pub kind: AccountKind,
    /// The sum of its debits, in minor units.
    pub debits_minor: i128,
    /// The sum of its credits, in minor units.
    pub credits_minor: i128,
    /// What is held of it, in minor units.
    pub held_minor: i128,
    /// In which place it was opened, from 0.
    number: u32,
    policy: BalancePolicy,
    status: Status,
}

impl AuditedAccount {
    /// The balance on the account's normal side, in minor units.
    pub fn balance_minor(&self) -> i128 {
        let (more, less) = match self.kind.normal_side() {
            Side::Debit => (self.debits_minor, self.credits_minor),
            Side::Credit => (self.credits_minor, self.debits_minor),
        };
        more.saturating_sub(less)
    }

    fn available_minor(&self) -> Option<i128> {
        match self.policy {
            BalancePolicy::Limited { overdraft_minor } => {
                Some(self.balance_minor().saturating_add(overdraft_minor).saturating_sub(self.held_minor))
            }
            BalancePolicy::Unlimited => None,
        }
    }
}

/// Recomputes a book, event by event.
#[derive(Debug, Clone, Default)]
pub struct Auditor {
    book: Option<BookId>,
    last: Sequence,
    accounts: BTreeMap<AccountId, AuditedAccount>,
    holds: BTreeMap<CommandId, AuditedHold>,
    /// The deadlines of open holds.
    deadlines: BTreeSet<(Timestamp, CommandId)>,
    /// What every command got, and the postings of every entry.
    judged: BTreeMap<CommandId, Judged>,
    /// The command whose verdict is being looked at.
    judging: Option<CommandId>,
    entries: Entries,
    /// What was reversed: of which entry, of the posting in which place.
    reversed: BTreeMap<(CommandId, u32), i128>,
    /// Whose accounts are, of those that are somebody's.
    owners: BTreeMap<AccountId, Box<str>>,
    limits: BTreeMap<(Box<str>, Currency), AuditedLimits>,
    calendar: Option<PublishCalendar>,
    /// The days that open holds were charged to.
    charged: BTreeMap<CommandId, CivilDate>,
    /// What was charged or released, and belongs to the next event.
    expected: Expected,
    /// What was charged for the event that is looked at.
    charging: Option<LimitCharged>,
    /// The fee rules in force.
    fee_rules: BTreeMap<(FeeKind, Currency), SetFeeRule>,
    /// The last day that is closed.
    closed: Option<CivilDate>,
    /// The versions of customers' preferences.
    preferences: BTreeMap<Box<str>, u64>,
    /// Every rate sheet there was.
    rate_sheets: BTreeMap<u64, PublishRateSheet>,
    /// The place in a linked batch that was refused.
    linked: Linked,
    /// When the block was recorded, if the caller tells.
    time: Option<Timestamp>,
    /// The command whose consequences have been seen and whose verdict must come next.
    awaited: Option<CommandId>,
    findings: Vec<Finding>,
    found: u64,
}

impl Auditor {
    /// Before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// The laws found broken, in the order of the events, the first [`FINDINGS_KEPT`] of them.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many laws were found broken in all.
    pub const fn findings_total(&self) -> u64 {
        self.found
    }

    /// Every account, as added up from the events.
    pub const fn balances(&self) -> &BTreeMap<AccountId, AuditedAccount> {
        &self.accounts
    }

    /// How many commands have their verdict.
    pub fn verdicts(&self) -> usize {
        self.judged.len()
    }

    /// Tells that a block begins, and when it was recorded. Who never does so has deadlines not judged.
    pub fn at(&mut self, recorded_at: Timestamp) {
        let linked = std::mem::take(&mut self.linked);
        self.end_of_batch(self.last, linked);
        self.time = Some(recorded_at);
    }

    /// Debits and credits of all accounts together, by currency, in minor units.
    pub fn trial_balance(&self) -> BTreeMap<Currency, (i128, i128)> {
        let mut totals = BTreeMap::<Currency, (i128, i128)>::new();
        for account in self.accounts.values() {
            let (debits, credits) = totals.entry(account.currency).or_default();
            *debits = debits.saturating_add(account.debits_minor);
            *credits = credits.saturating_add(account.credits_minor);
        }
        totals
    }

    /// The digest of all accounts, hashed anew.
    pub fn digest(&self) -> Digest {
        let mut set = MultisetHash::default();
        let mut row = Vec::new();
        for (id, account) in &self.accounts {
            row.clear();
            row.push(1);
            put_id(&mut row, id.0);
            let customer = self.owners.get(id).and_then(|owner| CustomerId::from_owner(owner));
            put_option(&mut row, customer, |row, customer| put_id(row, customer.0));
            row.push(account.kind.number());
            put_currency(&mut row, account.currency);
            match account.policy {
                BalancePolicy::Limited { overdraft_minor } => {
                    row.push(1);
                    put_signed(&mut row, overdraft_minor);
                }
                BalancePolicy::Unlimited => row.push(2),
            }
            row.push(match account.status {
                Status::Open => 1,
                Status::Frozen => 2,
                Status::Closed => 3,
            });
            // What is held are pending debits; credits are never held.
            for total in [account.debits_minor, account.credits_minor, account.held_minor, 0] {
                put_signed(&mut row, total);
            }
            set.insert(ElementHash::of(&row));
        }
        self.add_holds(&mut set);
        self.add_reversed(&mut set);
        self.add_settings(&mut set);
        self.add_limits(&mut set);
        self.add_rate_sheets(&mut set);
        set.digest()
    }

    /// Looks at the next event.
    pub fn observe(&mut self, sequence: Sequence, event: &Event) {
        if self.last.0.checked_add(1) != Some(sequence.0) {
            self.find(sequence, Law::SequencesDense, format!("follows event {}", self.last));
        }
        self.last = sequence;
        self.check_cause(sequence, event);
        self.check_linked(sequence, event);
        self.check_limits(sequence, event);
        if self.book.is_none() && !matches!(event.body, EventBody::BookOpened(_)) {
            self.find(sequence, Law::BookOpenedOnce, "stands before the opening of the book".into());
        }
        match &event.body {
            EventBody::BookOpened(opened) => {
                if self.book.replace(opened.book).is_some() {
                    self.find(sequence, Law::BookOpenedOnce, "opens the book again".into());
                }
            }
            EventBody::AccountOpened(open) => self.account_opened(sequence, event.cause, open),
            EventBody::AccountFrozen(act) => self.status_changed(sequence, act, &[Status::Open], Status::Frozen),
            EventBody::AccountUnfrozen(act) => self.status_changed(sequence, act, &[Status::Frozen], Status::Open),
            EventBody::AccountClosed(act) => {
                self.status_changed(sequence, act, &[Status::Open, Status::Frozen], Status::Closed);
            }
            EventBody::EntryPosted(entry) => {
                self.keep_entry(event.cause, &entry.postings);
                self.check_entry(sequence, entry);
                self.entry_posted(sequence, entry.effective_on, &entry.postings);
            }
            EventBody::HoldPlaced(placed) => self.hold_placed(sequence, event.cause, placed),
            EventBody::HoldCaptured(captured) => {
                self.keep_entry(event.cause, &captured.postings);
                self.check_capture(sequence, captured);
                self.hold_captured(sequence, captured);
            }
            EventBody::HoldVoided(voided) => self.hold_voided(sequence, voided),
            EventBody::HoldExpired(expired) => self.hold_expired(sequence, expired),
            EventBody::EntryReversed(reversed) => self.entry_reversed(sequence, event.cause, reversed),
            EventBody::CommandRejected(rejected) => self.command_rejected(sequence, rejected),
            EventBody::StateDigest(recorded) => self.state_digest(sequence, recorded),
            EventBody::ClockAccepted(_) | EventBody::JournalRestored(_) => {}
            EventBody::FeeRuleSet(rule) => self.fee_rule_set(sequence, rule),
            EventBody::PeriodClosed(close) => self.period_closed(sequence, close),
            EventBody::NotificationPreferencesSet(preferences) => self.preferences_set(sequence, preferences),
            EventBody::RateSheetPublished(sheet) => self.rate_sheet_published(sequence, sheet),
            EventBody::ConversionPosted(conversion) => {
                self.keep_entry(event.cause, &conversion.postings);
                self.check_conversion(sequence, conversion);
                self.entry_posted(sequence, conversion.effective_on, &conversion.postings);
            }
            EventBody::LimitsSet(set) => self.limits_set(sequence, set),
            EventBody::LimitCharged(charged) => self.limit_charged(sequence, charged),
            EventBody::LimitReleased(released) => self.limit_released(sequence, released),
            EventBody::CalendarPublished(calendar) => self.calendar_published(sequence, calendar),
            EventBody::AccessLogged(_) | EventBody::ControlRecorded(_) => {
                self.find(sequence, Law::OneVerdict, "has no place in a book yet".into());
            }
        }
    }

    /// Looks at the book as a whole, after its last event.
    pub fn finish(&mut self) {
        self.end_of_batch(self.last, self.linked);
        if let Some(command) = self.awaited {
            self.find(self.last, Law::OneVerdict, format!("the verdict of command {command} is missing"));
        }
        if self.expected != Expected::default() {
            self.find(self.last, Law::LimitsKept, format!("what {:?} belongs to is missing", self.expected));
        }
        self.check_trial_balance(self.last);
    }

    fn find(&mut self, sequence: Sequence, law: Law, text: String) {
        self.found = self.found.saturating_add(1);
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(Finding { sequence, law, text });
        }
    }

    fn check_cause(&mut self, sequence: Sequence, event: &Event) {
        let awaited = self.awaited.take();
        self.judging = event.cause.verdict_of();
        let command = event.cause.command().map(|(command, _)| command);
        if let Some(awaited) = awaited.filter(|awaited| command != Some(*awaited)) {
            self.find(sequence, Law::OneVerdict, format!("stands where the verdict of command {awaited} should"));
        }
        let is_engines = matches!(
            event.body,
            EventBody::BookOpened(_)
                | EventBody::StateDigest(_)
                | EventBody::ClockAccepted(_)
                | EventBody::JournalRestored(_)
                | EventBody::HoldExpired(_)
        );
        let limit = matches!(event.body, EventBody::LimitCharged(_) | EventBody::LimitReleased(_));
        let fits = match event.cause {
            // A hold that expires gives back by itself.
            Cause::Engine => is_engines || matches!(event.body, EventBody::LimitReleased(_)),
            Cause::Consequence { .. } => limit || matches!(event.body, EventBody::AccountOpened(_)),
            Cause::Verdict { .. } => !is_engines && !limit,
        };
        if !fits {
            self.find(sequence, Law::OneVerdict, format!("{} has another cause", event.body.type_name()));
        }
        match event.cause {
            Cause::Engine => {}
            Cause::Consequence { command, .. } => self.awaited = Some(command),
            Cause::Verdict { command, .. } => {
                // The first verdict stands, and is told apart by its body later on.
                let mut first = false;
                self.judged.entry(command).or_insert_with(|| {
                    first = true;
                    Judged::Other
                });
                if !first {
                    self.find(sequence, Law::OneVerdict, format!("is another verdict of command {command}"));
                }
            }
        }
    }

    fn account_opened(&mut self, sequence: Sequence, cause: Cause, open: &OpenAccount) {
        let follows = match self.book {
            Some(book) if !open.code.is_empty() => AccountId::from_code(book, &open.code) == open.account,
            _ => !open.account.is_from_a_code(),
        };
        if !follows {
            self.find(sequence, Law::AccountsOpenedOnce, format!("account {} does not go with its code", open.account));
        }
        if open.code.starts_with("sys:") != matches!(cause, Cause::Consequence { .. }) {
            self.find(sequence, Law::AccountsOpenedOnce, format!("code {:?} is opened by the wrong hand", open.code));
        }
        if let BalancePolicy::Limited { overdraft_minor } = open.policy
            && !(0..=AMOUNT_MAX_MINOR).contains(&overdraft_minor)
        {
            self.find(sequence, Law::AccountsOpenedOnce, format!("an overdraft of {overdraft_minor}"));
        }
        let account = AuditedAccount {
            currency: open.currency,
            kind: open.kind,
            debits_minor: 0,
            credits_minor: 0,
            held_minor: 0,
            number: u32::try_from(self.accounts.len()).unwrap_or(u32::MAX),
            policy: open.policy,
            status: Status::Open,
        };
        if let Entry::Vacant(place) = self.accounts.entry(open.account) {
            place.insert(account);
            if !open.owner.is_empty() {
                self.owners.insert(open.account, open.owner.clone());
            }
        } else {
            self.find(sequence, Law::AccountsOpenedOnce, format!("account {} exists", open.account));
        }
    }

    fn status_changed(&mut self, sequence: Sequence, act: &AccountAct, from: &[Status], to: Status) {
        let Some(account) = self.accounts.get_mut(&act.account) else {
            return self.find(sequence, Law::StatusFollows, format!("account {} does not exist", act.account));
        };
        let (before, balance_minor, held_minor) = (account.status, account.balance_minor(), account.held_minor);
        account.status = to;
        if !from.contains(&before) {
            self.find(sequence, Law::StatusFollows, format!("account {} was {before:?}", act.account));
        }
        if to == Status::Closed && (balance_minor != 0 || held_minor != 0) {
            let text = format!("account {} is closed at {balance_minor}, {held_minor} held", act.account);
            self.find(sequence, Law::StatusFollows, text);
        }
    }

    fn entry_posted(&mut self, sequence: Sequence, effective_on: CivilDate, postings: &[Posting]) {
        if !(POSTINGS_MIN..=POSTINGS_MAX).contains(&postings.len()) {
            self.find(sequence, Law::EntryInBounds, format!("{} postings", postings.len()));
        }
        if effective_on.days() < EFFECTIVE_EARLIEST_DAYS {
            self.find(sequence, Law::EntryInBounds, format!("counts for {effective_on}"));
        }
        self.check_period(sequence, effective_on);
        let before: BTreeMap<AccountId, i128> = postings
            .iter()
            .filter_map(|posting| Some((posting.account, self.accounts.get(&posting.account)?.balance_minor())))
            .collect();
        let mut sums = BTreeMap::<Currency, (i128, i128)>::new();
        for posting in postings {
            let (debits, credits) = sums.entry(posting.money.currency).or_default();
            let side = match posting.side {
                Side::Debit => debits,
                Side::Credit => credits,
            };
            *side = side.saturating_add(posting.money.amount_minor);
            self.posting(sequence, posting);
        }
        for (currency, (debits, credits)) in sums {
            if debits != credits {
                self.find(sequence, Law::EntryBalanced, format!("{currency}: debits {debits}, credits {credits}"));
            }
        }
        for (id, before_minor) in before {
            let Some(account) = self.accounts.get(&id) else { continue };
            let after_minor = account.balance_minor();
            if after_minor < before_minor && account.available_minor().is_some_and(|left| left < 0) {
                let text = format!("account {id} falls from {before_minor} to {after_minor}");
                self.find(sequence, Law::PolicyRespected, text);
            }
        }
    }

    fn posting(&mut self, sequence: Sequence, posting: &Posting) {
        let (id, amount_minor) = (posting.account, posting.money.amount_minor);
        if !(1..=AMOUNT_MAX_MINOR).contains(&amount_minor) {
            self.find(sequence, Law::EntryInBounds, format!("{amount_minor} on account {id}"));
        }
        let Some(account) = self.accounts.get_mut(&id) else {
            return self.find(sequence, Law::AccountsOpen, format!("account {id} does not exist"));
        };
        let total = match posting.side {
            Side::Debit => &mut account.debits_minor,
            Side::Credit => &mut account.credits_minor,
        };
        *total = total.saturating_add(amount_minor);
        let (total, currency, status) = (*total, account.currency, account.status);
        if total > TOTAL_MAX_MINOR {
            self.find(sequence, Law::TotalsInBounds, format!("account {id} reaches {total}"));
        }
        if status != Status::Open {
            self.find(sequence, Law::AccountsOpen, format!("account {id} is {status:?}"));
        }
        if currency != posting.money.currency {
            let text = format!("{:?} on account {id} of {currency:?}", posting.money.currency);
            self.find(sequence, Law::CurrencyMatches, text);
        }
    }

    fn state_digest(&mut self, sequence: Sequence, recorded: &StateDigest) {
        let (digest, accounts) = (self.digest(), u64::try_from(self.accounts.len()).ok());
        if digest != recorded.digest || accounts != Some(recorded.accounts) {
            let text = format!("{} accounts with digest {digest} are on record as {recorded:?}", self.accounts.len());
            self.find(sequence, Law::StateDigestAgrees, text);
        }
        self.check_trial_balance(sequence);
    }

    fn check_trial_balance(&mut self, sequence: Sequence) {
        for (currency, (debits, credits)) in self.trial_balance() {
            if debits != credits {
                self.find(sequence, Law::TrialBalanceZero, format!("{currency}: debits {debits}, credits {credits}"));
            }
        }
    }
}

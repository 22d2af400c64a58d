//! The resident state of a book: every account with its totals, every open hold, what was reversed of which entry, the settings
//! that decisions look at, and nothing that could be derived.
//!
//! Shape: accounts stand in a vector in the order of their opening; a hash table that is looked up and never iterated maps
//! ids to places. A row takes about 220 bytes, its hash for the digest and its customer included, so a million accounts take 220 MB.
//! Open holds and reversed entries stand in ordered maps beside them (`holds.rs`, `reversals.rs`): some 250 bytes each; and so
//! do limits and their usage (`limits.rs`), fee rules, the closed period and the versions of preferences (`settings.rs`), and the
//! newest rate sheets (`rates.rs`).
//! Deliberately absent: holds that have ended, codes, owners, texts and history (read models have them), and verdicts (the id index and the
//! journal have them).

mod holds;
mod limits;
mod rates;
mod reversals;
mod rows;
mod settings;
mod undo;

use std::hash::BuildHasher as _;

use event_schemas::bounds::TOTAL_MAX_MINOR;
use event_schemas::codec::{CodecError, Reader, put_currency, put_id, put_option, put_signed, put_varint};
use event_schemas::command::{AccountAct, AccountKind, BalancePolicy, OpenAccount};
use event_schemas::digest::ElementHash;
use event_schemas::sabotage::{Switch, on};
use event_schemas::{
    AccountId, BookId, CommandId, Currency, CustomerId, Digest, Event, EventBody, MultisetHash, Posting, Side,
};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

pub use holds::Hold;
use limits::HOUSE;
pub use limits::{Limits, Used};
use rows::Tables;
use undo::Before;
pub use undo::Mark;

/// The kind of an account's row in the digest. Rows of other kinds have other first bytes.
const ROW_ACCOUNT: u8 = 1;

/// Whether an account takes postings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// It does.
    Open,
    /// Not until it is unfrozen.
    Frozen,
    /// Never again.
    Closed,
}

impl AccountStatus {
    /// Its number in canonical bytes.
    pub const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Frozen => 2,
            Self::Closed => 3,
        }
    }

    /// The status of a number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Open,
            2 => Self::Frozen,
            3 => Self::Closed,
            _ => return None,
        })
    }
}

/// An account as decisions see it. Amounts are totals of minor units since the opening, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Posted debits.
    pub debits_posted_minor: i128,
    /// Posted credits.
    pub credits_posted_minor: i128,
    /// Debits that are held and may yet be posted.
    pub debits_pending_minor: i128,
    /// Credits that are held and may yet be posted.
    pub credits_pending_minor: i128,
    /// How far the balance may fall.
    pub policy: BalancePolicy,
    /// Its currency.
    pub currency: Currency,
    /// Its kind.
    pub kind: AccountKind,
    /// Its status.
    pub status: AccountStatus,
}

impl Account {
    /// The posted balance on the account's normal side, in minor units.
    pub fn balance_minor(&self) -> i128 {
        // Both totals lie between zero and 10^36, so the difference can't overflow.
        match self.kind.normal_side() {
            Side::Debit => self.debits_posted_minor.saturating_sub(self.credits_posted_minor),
            Side::Credit => self.credits_posted_minor.saturating_sub(self.debits_posted_minor),
        }
    }

    /// What may be taken from the account at most: balance, less what is held, plus the overdraft. `None` without bound.
    pub fn available_minor(&self) -> Option<i128> {
        let held_minor = match self.kind.normal_side() {
            _ if on(Switch::HoldIgnored) => 0,
            Side::Debit => self.credits_pending_minor,
            Side::Credit => self.debits_pending_minor,
        };
        match self.policy {
            BalancePolicy::Unlimited => None,
            BalancePolicy::Limited { overdraft_minor } => {
                Some(self.balance_minor().saturating_sub(held_minor).saturating_add(overdraft_minor))
            }
        }
    }

    /// The canonical form, which is what the digest hashes and a checkpoint keeps.
    fn encode(&self, customer: CustomerId, out: &mut Vec<u8>) {
        put_id(out, self.id.0);
        put_option(out, Some(customer).filter(|customer| *customer != HOUSE), |out, customer| put_id(out, customer.0));
        out.push(self.kind.number());
        put_currency(out, self.currency);
        match self.policy {
            BalancePolicy::Limited { overdraft_minor } => {
                out.push(1);
                put_signed(out, overdraft_minor);
            }
            BalancePolicy::Unlimited => out.push(2),
        }
        out.push(self.status.number());
        for total in
            [self.debits_posted_minor, self.credits_posted_minor, self.debits_pending_minor, self.credits_pending_minor]
        {
            put_signed(out, total);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<(Self, CustomerId), CodecError> {
        let id = AccountId(reader.id("account")?);
        let customer = reader.option("customer", |reader| reader.id("customer").map(CustomerId))?;
        let account = Self {
            id,
            kind: AccountKind::from_number(reader.byte("kind")?).ok_or(CodecError::NotCanonical("kind"))?,
            currency: reader.currency()?,
            policy: match reader.byte("policy")? {
                1 => BalancePolicy::Limited { overdraft_minor: reader.signed("overdraft")? },
                2 => BalancePolicy::Unlimited,
                _ => return Err(CodecError::NotCanonical("policy")),
            },
            status: AccountStatus::from_number(reader.byte("status")?).ok_or(CodecError::NotCanonical("status"))?,
            debits_posted_minor: reader.signed("debits")?,
            credits_posted_minor: reader.signed("credits")?,
            debits_pending_minor: reader.signed("debits")?,
            credits_pending_minor: reader.signed("credits")?,
        };
        Ok((account, customer.unwrap_or(HOUSE)))
    }
}

/// An event that does not fit the state it is applied to: the journal, or this program, is wrong. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It names an account that does not exist.
    #[error("account {0} does not exist")]
    AccountNotFound(AccountId),
    /// It opens an account that exists.
    #[error("account {0} exists already")]
    AccountExists(AccountId),
    /// A total would leave its bounds.
    #[error("a total of account {0} would leave its bounds")]
    Overflow(AccountId),
    /// It ends a hold that is not open.
    #[error("hold {0} is not open")]
    HoldNotFound(CommandId),
    /// It places a hold that is open.
    #[error("hold {0} is open already")]
    HoldExists(CommandId),
    /// What it says of a hold is not so.
    #[error("hold {0} is another than the event says")]
    HoldDiffers(CommandId),
    /// It places a hold without being the verdict of a command.
    #[error("a hold is placed by no command")]
    HoldWithoutId,
    /// More is reversed of an entry than fits.
    #[error("more is reversed of entry {0} than an entry can have")]
    ReversalTooLarge(CommandId),
    /// It counts towards limits that nobody has.
    #[error("limits are charged that were never set")]
    LimitsNotSet,
    /// The book is opened twice, or something happens before it is opened.
    #[error("the book is not opened exactly once, at the start")]
    BookOpening,
    /// It is no event of a book, such as one of the access log.
    #[error("this is no event of a book")]
    NotOfABook,
    /// The digest on the chain is not that of the state.
    #[error("the state's digest is {found}, the journal says {recorded}")]
    Digest {
        /// What the journal says.
        recorded: Digest,
        /// What was found.
        found: Digest,
    },
}

/// The version of a checkpoint's bytes. Another one is passed over, and the journal is replayed.
const CHECKPOINT_VERSION: u8 = 4;

/// What is neither an account nor a row: small, so that an attempt keeps it whole.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    book: Option<BookId>,
    nonce: u128,
}

/// The state of a book.
#[derive(Debug, Clone)]
pub struct State {
    facts: Facts,
    hasher: FixedState,
    places: HashTable<u32>,
    accounts: Vec<Account>,
    /// Whose each account is; [`HOUSE`] for those without an owner.
    customers: Vec<CustomerId>,
    /// The hash of each account's row as it is in `digest`; `None` for one that is not in it yet.
    hashes: Vec<Option<ElementHash>>,
    /// Whether a row changed since its hash was taken, and the places of those that did.
    changed: Vec<bool>,
    changed_places: Vec<u32>,
    tables: Tables,
    digest: MultisetHash,
    scratch: Vec<u8>,
    /// What was before, while an attempt is on.
    before: Option<Before>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state before the first event.
    pub fn new() -> Self {
        Self {
            facts: Facts::default(),
            hasher: FixedState::with_seed(0),
            places: HashTable::new(),
            accounts: Vec::new(),
            customers: Vec::new(),
            hashes: Vec::new(),
            changed: Vec::new(),
            changed_places: Vec::new(),
            tables: Tables::default(),
            digest: MultisetHash::default(),
            scratch: Vec::new(),
            before: None,
        }
    }

    /// The book, once it is opened.
    pub const fn book(&self) -> Option<BookId> {
        self.facts.book
    }

    /// The accounts, in the order of their opening.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The account of this id.
    #[inline]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.place(id).and_then(|place| self.accounts.get(place))
    }

    #[inline]
    fn place(&self, id: AccountId) -> Option<usize> {
        let hash = self.hasher.hash_one(id.0);
        let same = |place: &u32| self.accounts.get(index(*place)).is_some_and(|account| account.id == id);
        self.places.find(hash, same).map(|place| index(*place))
    }

    /// Applies an event: a frozen function of each event version. It does not judge, it only refuses what can't be.
    pub fn apply(&mut self, event: &Event) -> Result<(), ApplyError> {
        match &event.body {
            EventBody::BookOpened(opened) => {
                if self.facts.book.is_some() || !self.accounts.is_empty() {
                    return Err(ApplyError::BookOpening);
                }
                self.facts.book = Some(opened.book);
                self.set_nonce(opened.nonce.0);
                Ok(())
            }
            EventBody::AccountOpened(open) => self.open(open),
            EventBody::AccountFrozen(act) => self.set_status(act, AccountStatus::Frozen),
            EventBody::AccountUnfrozen(act) => self.set_status(act, AccountStatus::Open),
            EventBody::AccountClosed(act) => self.set_status(act, AccountStatus::Closed),
            EventBody::EntryPosted(entry) => self.post(&entry.postings),
            EventBody::HoldPlaced(placed) => {
                let id = event.cause.verdict_of().ok_or(ApplyError::HoldWithoutId)?;
                self.place_hold(id, placed)
            }
            EventBody::HoldCaptured(captured) => self.capture_hold(captured),
            EventBody::HoldVoided(voided) => self.void_hold(voided),
            EventBody::HoldExpired(expired) => self.expire_hold(expired),
            EventBody::EntryReversed(reversal) => self.reverse(reversal),
            EventBody::StateDigest(recorded) => {
                let found = self.digest();
                if found == recorded.digest {
                    Ok(())
                } else {
                    Err(ApplyError::Digest { recorded: recorded.digest, found })
                }
            }
            EventBody::CommandRejected(_) | EventBody::ClockAccepted(_) | EventBody::JournalRestored(_) => Ok(()),
            EventBody::FeeRuleSet(rule) => {
                self.set_fee_rule(rule);
                Ok(())
            }
            EventBody::PeriodClosed(close) => {
                self.close_period(close);
                Ok(())
            }
            EventBody::NotificationPreferencesSet(preferences) => {
                self.set_preferences(preferences);
                Ok(())
            }
            EventBody::RateSheetPublished(sheet) => {
                self.publish_rate_sheet(sheet);
                Ok(())
            }
            EventBody::ConversionPosted(conversion) => self.post(&conversion.postings),
            EventBody::LimitsSet(limits) => self.set_limits(limits),
            EventBody::LimitCharged(charged) => self.charge_limit(charged),
            EventBody::LimitReleased(released) => self.release_limit(released),
            EventBody::CalendarPublished(calendar) => {
                self.publish_calendar(calendar);
                Ok(())
            }
            EventBody::AccessLogged(_) | EventBody::ControlRecorded(_) => Err(ApplyError::NotOfABook),
        }
    }

    /// The book's nonce seeds the map of accounts: the same for as long as the book lives, and unknown to who chooses ids.
    fn set_nonce(&mut self, nonce: u128) {
        self.facts.nonce = nonce;
        let (_, seed) = split(nonce);
        self.hasher = FixedState::with_seed(seed);
    }

    fn open(&mut self, open: &OpenAccount) -> Result<(), ApplyError> {
        if self.facts.book.is_none() {
            return Err(ApplyError::BookOpening);
        }
        if self.place(open.account).is_some() {
            return Err(ApplyError::AccountExists(open.account));
        }
        let customer = CustomerId::from_owner(&open.owner).unwrap_or(HOUSE);
        let account = Account {
            id: open.account,
            debits_posted_minor: 0,
            credits_posted_minor: 0,
            debits_pending_minor: 0,
            credits_pending_minor: 0,
            policy: open.policy,
            currency: open.currency,
            kind: open.kind,
            status: AccountStatus::Open,
        };
        self.insert(account, customer);
        Ok(())
    }

    fn insert(&mut self, account: Account, customer: CustomerId) {
        let place = u32::try_from(self.accounts.len()).expect("a book holds less than 2^32 accounts");
        let hash = self.hasher.hash_one(account.id.0);
        self.accounts.push(account);
        self.customers.push(customer);
        self.hashes.push(None);
        self.changed.push(false);
        let (accounts, hasher) = (&self.accounts, &self.hasher);
        self.places.insert_unique(hash, place, |place| {
            accounts.get(index(*place)).map_or(0, |account| hasher.hash_one(account.id.0))
        });
        self.note(index(place));
        self.touch(index(place));
    }

    fn set_status(&mut self, act: &AccountAct, status: AccountStatus) -> Result<(), ApplyError> {
        let place = self.place(act.account).ok_or(ApplyError::AccountNotFound(act.account))?;
        self.note(place);
        if let Some(account) = self.accounts.get_mut(place) {
            account.status = status;
        }
        self.touch(place);
        Ok(())
    }

    fn post(&mut self, postings: &[Posting]) -> Result<(), ApplyError> {
        for (done, posting) in postings.iter().enumerate() {
            if let Err(error) = self.post_one(posting, false) {
                // Undo what this entry did, so that an event applies whole or not at all.
                for posting in postings.iter().take(done) {
                    self.post_one(posting, true).expect("what was added can be taken away");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    #[inline]
    fn post_one(&mut self, posting: &Posting, undo: bool) -> Result<(), ApplyError> {
        let place = self.place(posting.account).ok_or(ApplyError::AccountNotFound(posting.account))?;
        let account = self.accounts.get_mut(place).ok_or(ApplyError::AccountNotFound(posting.account))?;
        if let Some(before) = &mut self.before {
            before.note(place, account);
        }
        let total = match posting.side {
            Side::Debit => &mut account.debits_posted_minor,
            Side::Credit => &mut account.credits_posted_minor,
        };
        let amount_minor = posting.money.amount_minor;
        let sum = if undo { total.checked_sub(amount_minor) } else { total.checked_add(amount_minor) };
        *total = sum.filter(|sum| (0..=TOTAL_MAX_MINOR).contains(sum)).ok_or(ApplyError::Overflow(posting.account))?;
        self.touch(place);
        Ok(())
    }

    #[inline]
    fn touch(&mut self, place: usize) {
        if let Some(changed) = self.changed.get_mut(place)
            && !*changed
        {
            *changed = true;
            self.changed_places.push(u32::try_from(place).unwrap_or(u32::MAX));
        }
    }

    /// The digest of the state: of its rows as a set. It leaves times, cuts, epochs and the nonce out, so the same
    /// commands give the same digest on every store. Costs one hash per row that changed since the last call.
    pub fn digest(&mut self) -> Digest {
        let mut places = std::mem::take(&mut self.changed_places);
        // In the order of memory: with many changes, most of the cost is fetching the rows.
        places.sort_unstable();
        for place in places.drain(..) {
            self.rehash(index(place));
        }
        self.changed_places = places;
        for table in self.tables.all_mut() {
            table.rehash(&mut self.digest, &mut self.scratch);
        }
        if let Some(before) = &mut self.before {
            before.hashes_were_taken();
        }
        self.digest.digest()
    }

    fn rehash(&mut self, place: usize) {
        let (Some(account), Some(customer), Some(hash), Some(changed)) = (
            self.accounts.get(place),
            self.customers.get(place),
            self.hashes.get_mut(place),
            self.changed.get_mut(place),
        ) else {
            return;
        };
        self.scratch.clear();
        self.scratch.push(ROW_ACCOUNT);
        account.encode(*customer, &mut self.scratch);
        let new = ElementHash::of(&self.scratch);
        if let Some(old) = hash.replace(new) {
            self.digest.remove(old);
        }
        self.digest.insert(new);
        *changed = false;
    }

    /// The bytes of a checkpoint.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.accounts.len().saturating_mul(96).saturating_add(64));
        out.push(CHECKPOINT_VERSION);
        put_varint(&mut out, u128::from(self.facts.book.map_or(0, BookId::get)));
        put_id(&mut out, self.facts.nonce);
        put_varint(&mut out, u128::try_from(self.accounts.len()).unwrap_or(0));
        for (account, customer) in self.accounts.iter().zip(&self.customers) {
            account.encode(*customer, &mut out);
        }
        for table in self.tables.all() {
            table.encode(&mut out);
        }
        out
    }

    /// Reads a checkpoint. Whether it is to be trusted is for the caller to say, by comparing [`State::digest`] with the chain.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte("checkpoint version")?;
        if version != CHECKPOINT_VERSION {
            return Err(CodecError::UnknownTag { what: "checkpoint version", tag: version.into() });
        }
        let mut state = Self::new();
        state.facts.book = BookId::new(reader.number("book")?);
        state.set_nonce(reader.id("nonce")?);
        let count: usize = reader.number("accounts")?;
        for _ in 0..count {
            let (account, customer) = Account::decode(&mut reader)?;
            if state.place(account.id).is_some() {
                return Err(CodecError::NotCanonical("accounts"));
            }
            state.insert(account, customer);
        }
        for table in state.tables.all_mut() {
            table.decode(&mut reader)?;
        }
        reader.finish()?;
        Ok(state)
    }
}

/// A place as an index. Lossless where this runs: pointers have 32 bits at least.
#[inline]
fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The two halves of 128 bits.
fn split(bits: u128) -> (u64, u64) {
    let high = u64::try_from(bits >> 64).unwrap_or(0);
    let low = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    (high, low)
}

//! Strategies for property tests: every type, with its bounds and its odd corners, not only what a sensible book holds.

use proptest::array::uniform32;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use crate::block::{Block, BlockBuilder, BlockHash, BlockPlace};
use crate::bounds::{AMOUNT_MAX_MINOR, POSTINGS_MAX, TEXT_MAX_BYTES};
use crate::command::{
    AccountAct, AccountKind, BalancePolicy, Caps, CaptureHold, CashMove, ClosePeriod, Command, CommandBody, FeeKind,
    NoticeChannel, NoticeTopic, OpenAccount, PlaceHold, PostEntry, PostTransfer, PublishCalendar, ReverseEntry,
    ReversedPart, SetFeeRule, SetLimits, SetNotificationPreferences, TransferUpTo, VoidHold,
};
use crate::control::{
    ApiKeyIssued, ApiKeyRevoked, ApiKeyScopesSet, ControlFact, ControlRecorded, FieldKind, Holder, PaymentDetail,
    PaymentRequested, PaymentStep, PaymentStepped, ProviderCategory, ProviderField, ProviderSet, ProviderTerms, Scope,
    Scopes,
};
use crate::currency::Currency;
use crate::date::{CivilDate, Timestamp};
use crate::digest::Digest;
use crate::event::{
    AccessLogged, BookOpened, Cause, ClockAccepted, CommandRejected, EntryKind, EntryPosted, EntryReversed, Event,
    EventBody, HoldCaptured, HoldExpired, HoldPlaced, HoldVoided, JournalRestored, LimitCharged, LimitReleased,
    RecordedEvent, StateDigest,
};
use crate::ids::{AccountId, BookId, CommandId, Epoch, PrincipalId, Sequence};
use crate::limits::LimitWindow;
use crate::money::{Money, Posting, Postings, Side};
use crate::rates::{
    ConversionPosted, ConvertFunds, FixedSide, MarginRule, PublishRateSheet, QuotedRate, Rate, SheetPart,
};
use crate::rejection::Rejection;

/// A book.
pub fn book_id() -> impl Strategy<Value = BookId> {
    (1..=u32::MAX).prop_map(|number| BookId::new(number).unwrap_or(BookId::FIRST))
}

/// An account id: often one of a few, so that ids meet.
pub fn account_id() -> impl Strategy<Value = AccountId> {
    prop_oneof![(0..8_u128).prop_map(AccountId), any::<u128>().prop_map(AccountId)]
}

/// A principal.
pub fn principal_id() -> impl Strategy<Value = PrincipalId> {
    any::<u128>().prop_map(PrincipalId)
}

/// A currency: real ones of every exponent, and codes that no list has.
pub fn currency() -> impl Strategy<Value = Currency> {
    let listed = prop::sample::select(vec!["EUR", "CZK", "USD", "JPY", "BHD", "CLF"])
        .prop_filter_map("listed", |code| code.parse::<Currency>().ok());
    let any_code = (uniform_code(), 0..=Currency::EXPONENT_MAX)
        .prop_filter_map("valid", |(code, exponent)| Currency::from_parts(code, exponent));
    prop_oneof![3 => listed, 1 => any_code]
}

fn uniform_code() -> impl Strategy<Value = [u8; 3]> {
    prop::array::uniform3(b'A'..=b'Z')
}

/// Minor units of any size and sign, the bounds among them.
pub fn minor() -> impl Strategy<Value = i128> {
    prop_oneof![
        4 => 1..1_000_000_i128,
        1 => -1_000..=0_i128,
        1 => prop::sample::select(vec![
            AMOUNT_MAX_MINOR, AMOUNT_MAX_MINOR + 1, -AMOUNT_MAX_MINOR, i128::MAX, i128::MIN, 0, -1, 63, 64, -64, -65,
        ]),
        1 => any::<i128>(),
    ]
}

/// Money of any size and sign.
pub fn money() -> BoxedStrategy<Money> {
    (minor(), currency()).prop_map(|(amount_minor, currency)| Money { amount_minor, currency }).boxed()
}

/// A posting.
pub fn posting() -> impl Strategy<Value = Posting> {
    let side = prop_oneof![Just(Side::Debit), Just(Side::Credit)];
    (account_id(), side, money()).prop_map(|(account, side, money)| Posting { account, side, money })
}

/// Postings, balanced or not: mostly few, at times as many as there may be.
pub fn postings() -> impl Strategy<Value = Postings> {
    prop_oneof![
        20 => vec(posting(), 0..6).prop_map(Postings::from_vec),
        1 => (posting(), posting()).prop_map(|(even, odd)| (0..POSTINGS_MAX).map(|at| if at % 2 == 0 { even } else { odd }).collect()),
    ]
}

/// A text within its bound, of any characters, at times of the greatest length.
pub fn text() -> BoxedStrategy<Box<str>> {
    prop_oneof![
        4 => "[a-z0-9:._-]{0,24}",
        2 => any::<String>().prop_map(|mut text| {
            while text.len() > TEXT_MAX_BYTES {
                text.pop();
            }
            text
        }),
        1 => Just("x".repeat(TEXT_MAX_BYTES)),
    ]
    .prop_map(String::into_boxed_str)
    .boxed()
}

/// A date between the years 1 and 9999.
pub fn civil_date() -> impl Strategy<Value = CivilDate> {
    prop_oneof![
        Just(CivilDate::MIN),
        Just(CivilDate::MAX),
        (CivilDate::MIN.days()..=CivilDate::MAX.days()).prop_filter_map("in range", CivilDate::from_days)
    ]
}

/// A point in time.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), (Timestamp::MIN.0..=Timestamp::MAX.0).prop_map(Timestamp)]
}

/// A digest.
pub fn digest() -> impl Strategy<Value = Digest> {
    uniform32(any::<u8>()).prop_map(Digest)
}

/// A balance policy, sensible or not.
pub fn policy() -> impl Strategy<Value = BalancePolicy> {
    prop_oneof![
        Just(BalancePolicy::Unlimited),
        Just(BalancePolicy::NO_OVERDRAFT),
        minor().prop_map(|overdraft_minor| BalancePolicy::Limited { overdraft_minor })
    ]
}

/// An account's kind.
pub fn account_kind() -> impl Strategy<Value = AccountKind> {
    (1..=5_u8).prop_filter_map("a kind", AccountKind::from_number)
}

/// The opening of an account.
pub fn open_account() -> impl Strategy<Value = OpenAccount> {
    (account_id(), text(), account_kind(), currency(), text(), policy()).prop_map(
        |(account, code, kind, currency, owner, policy)| OpenAccount { account, code, kind, currency, owner, policy },
    )
}

/// An act upon an account.
pub fn account_act() -> impl Strategy<Value = AccountAct> {
    (account_id(), text()).prop_map(|(account, reason)| AccountAct { account, reason })
}

fn cash_move() -> impl Strategy<Value = CashMove> {
    (account_id(), money(), prop::option::of(minor()), prop::option::of(civil_date()), text()).prop_map(
        |(account, amount, fee_minor, effective_on, reference)| CashMove {
            account,
            amount,
            fee_minor,
            effective_on,
            reference,
        },
    )
}

fn transfer() -> impl Strategy<Value = PostTransfer> {
    (account_id(), cash_move()).prop_map(|(to, cash)| PostTransfer {
        from: cash.account,
        to,
        amount: cash.amount,
        fee_minor: cash.fee_minor,
        effective_on: cash.effective_on,
        reference: cash.reference,
    })
}

fn post_entry() -> impl Strategy<Value = PostEntry> {
    (postings(), prop::option::of(civil_date()), text()).prop_map(|(postings, effective_on, reference)| PostEntry {
        postings,
        effective_on,
        reference,
    })
}

/// A command's id: often one of a few, so that ids meet.
pub fn command_id() -> impl Strategy<Value = CommandId> {
    prop_oneof![(0..8_u128).prop_map(CommandId), any::<u128>().prop_map(CommandId)]
}

fn place_hold() -> impl Strategy<Value = PlaceHold> {
    (account_id(), money(), prop::option::of(timestamp()), text())
        .prop_map(|(account, amount, expires_at, reference)| PlaceHold { account, amount, expires_at, reference })
}

fn capture_hold() -> impl Strategy<Value = CaptureHold> {
    (command_id(), any::<bool>(), cash_move()).prop_map(|(hold, last, cash)| CaptureHold {
        hold,
        to: cash.account,
        amount: cash.amount,
        fee_minor: cash.fee_minor,
        last,
        effective_on: cash.effective_on,
        reference: cash.reference,
    })
}

fn void_hold() -> impl Strategy<Value = VoidHold> {
    (command_id(), text()).prop_map(|(hold, reason)| VoidHold { hold, reason })
}

fn reverse_entry() -> impl Strategy<Value = ReverseEntry> {
    let place = prop_oneof![4 => 0..4_u32, 1 => any::<u32>()];
    let part = (place, minor()).prop_map(|(posting, amount_minor)| ReversedPart { posting, amount_minor });
    (command_id(), prop::option::of(vec(part, 0..6)), prop::option::of(civil_date()), text()).prop_map(
        |(entry, postings, effective_on, reference)| ReverseEntry { entry, postings, effective_on, reference },
    )
}

fn caps() -> impl Strategy<Value = Caps> {
    let cap = || prop::option::of(minor());
    (cap(), cap(), cap()).prop_map(|(per_transfer_minor, daily_minor, monthly_minor)| Caps {
        per_transfer_minor,
        daily_minor,
        monthly_minor,
    })
}

fn set_limits() -> impl Strategy<Value = SetLimits> {
    (text(), currency(), any::<u64>(), caps()).prop_map(|(owner, currency, version, caps)| SetLimits {
        owner,
        currency,
        version,
        caps,
    })
}

fn publish_calendar() -> impl Strategy<Value = PublishCalendar> {
    (any::<u64>(), text(), text(), civil_date(), vec(timestamp(), 0..6)).prop_map(
        |(version, zone, tz_version, first_day, starts)| PublishCalendar {
            version,
            zone,
            tz_version,
            first_day,
            starts,
        },
    )
}

fn set_fee_rule() -> impl Strategy<Value = SetFeeRule> {
    let kind = prop::sample::select(FeeKind::ALL.to_vec());
    (kind, currency(), any::<u64>(), minor(), any::<u32>(), minor(), prop::option::of(minor())).prop_map(
        |(kind, currency, version, fixed_minor, rate_ppm, min_minor, max_minor)| SetFeeRule {
            kind,
            currency,
            version,
            fixed_minor,
            rate_ppm,
            min_minor,
            max_minor,
        },
    )
}

fn close_period() -> impl Strategy<Value = ClosePeriod> {
    (civil_date(), text()).prop_map(|(through, reason)| ClosePeriod { through, reason })
}

fn preferences() -> impl Strategy<Value = SetNotificationPreferences> {
    let channels = btree_set(prop::sample::select(NoticeChannel::ALL.to_vec()), 0..3);
    let topics = btree_map(prop::sample::select(NoticeTopic::ALL.to_vec()), channels, 0..6);
    (text(), any::<u64>(), topics).prop_map(|(owner, version, topics)| SetNotificationPreferences {
        owner,
        version,
        topics,
    })
}

/// A rate, of any length.
pub fn rate() -> impl Strategy<Value = Rate> {
    prop_oneof![
        3 => (1..2_000_000_u64, 0..7_u8),
        1 => (1..100_000_000_000_000_u64, 0..=14_u8),
        1 => prop::sample::select(vec![(1, 0), (99_999_999_999_999, 0), (99_999_999_999_999, 14), (1, 14)]),
    ]
    .prop_filter_map("a rate", |(mantissa, scale)| Rate::new(mantissa, scale))
}

/// A rate sheet, sensible or not.
pub fn rate_sheet() -> impl Strategy<Value = PublishRateSheet> {
    let quoted = (currency(), rate()).prop_map(|(currency, per_pivot)| QuotedRate { currency, per_pivot });
    let of = || prop::option::of(currency());
    let rule = (prop::option::of(text()), of(), of(), any::<u32>())
        .prop_map(|(tier, sold, bought, margin_ppm)| MarginRule { tier, sold, bought, margin_ppm });
    let about = (any::<u64>(), currency(), text(), civil_date(), timestamp(), timestamp(), any::<u32>());
    (about, vec(quoted, 0..6), vec(rule, 0..4)).prop_map(
        |((version, pivot, source, quoted_on, fetched_at, valid_until, quote_seconds), rates, margins)| {
            PublishRateSheet {
                version,
                pivot,
                source,
                quoted_on,
                fetched_at,
                valid_until,
                quote_seconds,
                rates,
                margins,
            }
        },
    )
}

fn fixed_side() -> impl Strategy<Value = FixedSide> {
    prop_oneof![Just(FixedSide::Sold), Just(FixedSide::Bought)]
}

fn convert_funds() -> impl Strategy<Value = ConvertFunds> {
    let texts = (text(), text(), text());
    (account_id(), account_id(), fixed_side(), money(), money(), any::<u64>(), timestamp(), texts).prop_map(
        |(from, to, fixed, sold, bought, sheet, expires_at, (owner, tier, reference))| ConvertFunds {
            from,
            to,
            owner,
            fixed,
            sold,
            bought,
            tier,
            sheet,
            expires_at,
            reference,
        },
    )
}

fn conversion_posted() -> impl Strategy<Value = ConversionPosted> {
    let numbers = (rate(), rate(), any::<u32>(), minor(), minor());
    (convert_funds(), numbers, text(), civil_date(), civil_date(), postings()).prop_map(
        |(
            convert,
            (sold_per_pivot, bought_per_pivot, margin_ppm, margin_minor, rounding_minor),
            source,
            quoted_on,
            effective_on,
            postings,
        )| ConversionPosted {
            owner: convert.owner,
            fixed: convert.fixed,
            tier: convert.tier,
            sheet: convert.sheet,
            source,
            quoted_on,
            sold_per_pivot,
            bought_per_pivot,
            margin_ppm,
            margin_minor,
            rounding_minor,
            expires_at: convert.expires_at,
            effective_on,
            reference: convert.reference,
            postings,
        },
    )
}

/// What a command asks, sensible or not.
pub fn command_body() -> impl Strategy<Value = CommandBody> {
    // Boxed, as unions of wide strategies by value need more stack than a test's thread has.
    prop_oneof![
        open_account().prop_map(CommandBody::OpenAccount).boxed(),
        account_act().prop_map(CommandBody::FreezeAccount).boxed(),
        account_act().prop_map(CommandBody::UnfreezeAccount).boxed(),
        account_act().prop_map(CommandBody::CloseAccount).boxed(),
        cash_move().prop_map(CommandBody::TopUp).boxed(),
        cash_move().prop_map(CommandBody::Withdraw).boxed(),
        transfer().prop_map(CommandBody::PostTransfer).boxed(),
        post_entry().prop_map(CommandBody::PostEntry).boxed(),
        place_hold().prop_map(CommandBody::PlaceHold).boxed(),
        capture_hold().prop_map(CommandBody::CaptureHold).boxed(),
        void_hold().prop_map(CommandBody::VoidHold).boxed(),
        reverse_entry().prop_map(CommandBody::ReverseEntry).boxed(),
        transfer()
            .prop_map(|PostTransfer { from, to, amount: at_most, effective_on, reference, .. }| {
                CommandBody::TransferUpTo(TransferUpTo { from, to, at_most, effective_on, reference })
            })
            .boxed(),
        set_limits().prop_map(CommandBody::SetLimits).boxed(),
        publish_calendar().prop_map(CommandBody::PublishCalendar).boxed(),
        set_fee_rule().prop_map(CommandBody::SetFeeRule).boxed(),
        close_period().prop_map(CommandBody::ClosePeriod).boxed(),
        preferences().prop_map(CommandBody::SetNotificationPreferences).boxed(),
        rate_sheet().prop_map(CommandBody::PublishRateSheet).boxed(),
        convert_funds().prop_map(CommandBody::ConvertFunds).boxed(),
    ]
}

/// A command.
pub fn command() -> impl Strategy<Value = Command> {
    (any::<u128>(), principal_id(), command_body()).prop_map(|(id, actor, body)| Command {
        id: CommandId(id),
        actor,
        body,
    })
}

/// A rejection, every one of them.
pub fn rejection() -> impl Strategy<Value = Rejection> {
    let plain = (any::<u32>(), civil_date(), civil_date()).prop_flat_map(|(count, earliest, latest)| {
        prop::sample::select(vec![
            Rejection::PostingsOutOfBounds { count },
            Rejection::AmountNotPositive,
            Rejection::AmountTooLarge,
            Rejection::EffectiveDateOutOfRange { earliest, latest },
            Rejection::AccountCodeInvalid,
            Rejection::LimitNotPositive,
            Rejection::FeeRuleInvalid,
            Rejection::CalendarMissing,
            Rejection::CalendarInvalid { place: count },
            Rejection::VersionNotNewer { applied: u64::from(count) },
            Rejection::PeriodClosed { through: earliest },
            Rejection::PeriodNotOver { today: latest },
            Rejection::LinkedItemRefused { item: count, command: CommandId(u128::from(count)) },
        ])
    });
    let of_account = (account_id(), currency(), minor(), minor()).prop_flat_map(|(account, currency, one, other)| {
        prop::sample::select(vec![
            Rejection::AccountExists { account },
            Rejection::SameAccount { account },
            Rejection::AccountNotFound { account },
            Rejection::AccountClosed { account },
            Rejection::AccountFrozen { account },
            Rejection::AccountNotFrozen { account },
            Rejection::CurrencyMismatch { account, account_currency: currency },
            Rejection::EntryUnbalanced { currency, debits_minor: one, credits_minor: other },
            Rejection::AccountNotEmpty { account, balance_minor: one },
            Rejection::InsufficientFunds { account, available_minor: one, required_minor: other },
            Rejection::BalanceOverflow { account },
        ])
    });
    let of_command = (command_id(), (timestamp(), timestamp()), any::<u32>(), minor(), minor(), account_id())
        .prop_flat_map(|(id, (after, latest), posting, left_minor, required_minor, account)| {
            prop::sample::select(vec![
                Rejection::ExpiryOutOfRange { after, latest },
                Rejection::HoldNotFound { hold: id },
                Rejection::HoldNotOpen { hold: id },
                Rejection::HoldExpired { hold: id, expires_at: after },
                Rejection::OriginalNotFound { entry: id },
                Rejection::OriginalNotAnEntry { entry: id },
                Rejection::OriginalIsReversal { entry: id },
                Rejection::OriginalReversed { entry: id },
                Rejection::ReversalAboveOriginal { entry: id, posting, left_minor, required_minor },
                Rejection::CaptureAboveHold { hold: id, left_minor, required_minor },
                Rejection::HoldNotPossible { account },
                Rejection::TooManyHolds { limit: u64::from(posting) },
                Rejection::AccountHasHolds { account, held_minor: left_minor },
            ])
        });
    let window = prop::sample::select(vec![LimitWindow::PerTransfer, LimitWindow::Day, LimitWindow::Month]);
    let exceeded = (account_id(), window, minor(), minor(), minor(), prop::option::of(timestamp())).prop_map(
        |(account, window, cap_minor, used_minor, required_minor, resets_at)| Rejection::LimitExceeded {
            account,
            window,
            cap_minor,
            used_minor,
            required_minor,
            resets_at,
        },
    );
    let part = prop::sample::select(SheetPart::ALL.to_vec());
    let of_rates = (part, currency(), any::<u64>(), timestamp(), minor(), minor(), account_id()).prop_flat_map(
        |(part, currency, newest, time, sold_minor, bought_minor, account)| {
            prop::sample::select(vec![
                Rejection::RateSheetInvalid { part },
                Rejection::SameCurrency { currency },
                Rejection::RateSheetNotFound { newest },
                Rejection::RateSheetStale { valid_until: time },
                Rejection::RateNotFound { currency },
                Rejection::QuoteExpired { expires_at: time },
                Rejection::ConvertedAmountZero,
                Rejection::QuoteMismatch { sold_minor, bought_minor },
                Rejection::QuoteOfAnother { account },
            ])
        },
    );
    prop_oneof![2 => plain, 3 => of_account, 3 => of_command, 1 => exceeded, 2 => of_rates]
}

/// A cause.
pub fn cause() -> impl Strategy<Value = Cause> {
    (0..3_u8, any::<u128>(), principal_id()).prop_map(|(which, command, actor)| {
        let command = CommandId(command);
        match which {
            0 => Cause::Engine,
            1 => Cause::Consequence { command, actor },
            _ => Cause::Verdict { command, actor },
        }
    })
}

fn entry_posted() -> impl Strategy<Value = EntryPosted> {
    let kind = prop::sample::select(EntryKind::ALL.to_vec());
    let amounts = (prop::option::of(any::<u64>()), minor());
    (kind, amounts, civil_date(), any::<bool>(), text(), postings()).prop_map(
        |(kind, (fee_rule, at_most_minor), effective_on, effective_on_named, reference, postings)| EntryPosted {
            kind,
            fee_rule,
            at_most_minor: (kind == EntryKind::TransferUpTo).then_some(at_most_minor),
            effective_on,
            effective_on_named,
            reference,
            postings,
        },
    )
}

fn hold_captured() -> impl Strategy<Value = HoldCaptured> {
    (command_id(), any::<bool>(), minor(), minor(), entry_posted()).prop_map(
        |(hold, last, released_minor, left_minor, entry)| HoldCaptured {
            hold,
            last,
            fee_rule: entry.fee_rule,
            released_minor,
            left_minor,
            effective_on: entry.effective_on,
            effective_on_named: entry.effective_on_named,
            reference: entry.reference,
            postings: entry.postings,
        },
    )
}

fn entry_reversed() -> impl Strategy<Value = EntryReversed> {
    (command_id(), any::<u64>(), any::<bool>(), any::<u32>(), entry_posted()).prop_map(
        |(entry, reverses, rest, first, posted)| EntryReversed {
            entry,
            reverses: Sequence(reverses),
            rest,
            effective_on: posted.effective_on,
            effective_on_named: posted.effective_on_named,
            reference: posted.reference,
            places: (first..=u32::MAX).chain(0..).take(posted.postings.len()).collect(),
            postings: posted.postings,
        },
    )
}

fn limit_charged() -> impl Strategy<Value = LimitCharged> {
    let used = (minor(), minor(), minor());
    (set_limits(), account_id(), civil_date(), prop::option::of(command_id()), used).prop_map(
        |(limits, account, day, hold, (amount_minor, day_used_minor, month_used_minor))| LimitCharged {
            owner: limits.owner,
            currency: limits.currency,
            account,
            amount_minor,
            day,
            hold,
            version: limits.version,
            caps: limits.caps,
            day_used_minor,
            month_used_minor,
        },
    )
}

fn limit_released() -> impl Strategy<Value = LimitReleased> {
    (limit_charged(), command_id()).prop_map(|(charged, hold)| LimitReleased {
        owner: charged.owner,
        currency: charged.currency,
        hold,
        amount_minor: charged.amount_minor,
        day: charged.day,
        day_used_minor: charged.day_used_minor,
        month_used_minor: charged.month_used_minor,
    })
}

/// The body of an event, every type of them.
pub fn event_body() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        (book_id(), principal_id()).prop_map(|(book, nonce)| EventBody::BookOpened(BookOpened { book, nonce })).boxed(),
        open_account().prop_map(EventBody::AccountOpened).boxed(),
        account_act().prop_map(EventBody::AccountFrozen).boxed(),
        account_act().prop_map(EventBody::AccountUnfrozen).boxed(),
        account_act().prop_map(EventBody::AccountClosed).boxed(),
        entry_posted().prop_map(EventBody::EntryPosted).boxed(),
        (command_body(), rejection())
            .prop_map(|(command, rejection)| EventBody::CommandRejected(CommandRejected { command, rejection }))
            .boxed(),
        (digest(), any::<u64>())
            .prop_map(|(digest, accounts)| EventBody::StateDigest(StateDigest { digest, accounts }))
            .boxed(),
        (timestamp(), timestamp(), text(), text())
            .prop_map(|(previous, accepted, actor, reason)| {
                EventBody::ClockAccepted(ClockAccepted { previous, accepted, actor, reason })
            })
            .boxed(),
        place_hold()
            .prop_map(|PlaceHold { account, amount, expires_at, reference }| {
                EventBody::HoldPlaced(HoldPlaced { account, amount, expires_at, reference })
            })
            .boxed(),
        hold_captured().prop_map(EventBody::HoldCaptured).boxed(),
        (command_id(), account_id(), money(), text())
            .prop_map(|(hold, account, released, reason)| {
                EventBody::HoldVoided(HoldVoided { hold, account, released, reason })
            })
            .boxed(),
        (command_id(), account_id(), money(), timestamp())
            .prop_map(|(hold, account, released, expires_at)| {
                EventBody::HoldExpired(HoldExpired { hold, account, released, expires_at })
            })
            .boxed(),
        entry_reversed().prop_map(EventBody::EntryReversed).boxed(),
        set_limits().prop_map(EventBody::LimitsSet).boxed(),
        limit_charged().prop_map(EventBody::LimitCharged).boxed(),
        limit_released().prop_map(EventBody::LimitReleased).boxed(),
        publish_calendar().prop_map(EventBody::CalendarPublished).boxed(),
        set_fee_rule().prop_map(EventBody::FeeRuleSet).boxed(),
        close_period().prop_map(EventBody::PeriodClosed).boxed(),
        preferences().prop_map(EventBody::NotificationPreferencesSet).boxed(),
        rate_sheet().prop_map(EventBody::RateSheetPublished).boxed(),
        conversion_posted().prop_map(|posted| EventBody::ConversionPosted(Box::new(posted))).boxed(),
        (any::<u64>(), prop::option::of(any::<u64>()), text(), text())
            .prop_map(|(restored_to, witnessed, actor, reason)| {
                let (restored_to, witnessed) = (Sequence(restored_to), witnessed.map(Sequence));
                EventBody::JournalRestored(JournalRestored { restored_to, witnessed, actor, reason })
            })
            .boxed(),
        (principal_id(), text(), text(), any::<u16>(), text())
            .prop_map(|(actor, operation, subject, status, request)| {
                EventBody::AccessLogged(AccessLogged { actor, operation, subject, status, request })
            })
            .boxed(),
        (text(), any::<u64>(), control_fact())
            .prop_map(|(aggregate, version, fact)| {
                EventBody::ControlRecorded(Box::new(ControlRecorded { aggregate, version, fact }))
            })
            .boxed(),
    ]
}

fn scopes() -> impl Strategy<Value = Scopes> {
    btree_set(prop::sample::select(Scope::ALL.to_vec()), 0..=3).prop_map(|scopes| scopes.into_iter().collect())
}

/// A fact of the control plane.
pub fn control_fact() -> BoxedStrategy<ControlFact> {
    let holder = (text(), text(), proptest::option::of(text())).prop_map(|(tenant, name, customer)| Holder {
        tenant,
        name,
        customer,
    });
    prop_oneof![
        (text(), uniform32(any::<u8>()), holder, scopes(), proptest::option::of(text()), timestamp(), text(), text())
            .prop_map(|(key, hash, holder, scopes, replaces, issued_at, actor, note)| {
                let hash = Digest(hash);
                let issued = ApiKeyIssued { key, hash, holder, scopes, replaces, issued_at, actor, note };
                ControlFact::ApiKeyIssued(issued)
            }),
        (text(), timestamp(), text(), text()).prop_map(|(key, revoked_at, actor, reason)| {
            ControlFact::ApiKeyRevoked(ApiKeyRevoked { key, revoked_at, actor, reason })
        }),
        (text(), scopes(), timestamp(), text(), text()).prop_map(|(key, scopes, set_at, actor, reason)| {
            ControlFact::ApiKeyScopesSet(ApiKeyScopesSet { key, scopes, set_at, actor, reason })
        }),
        provider().prop_map(ControlFact::ProviderSet),
        payment_requested().prop_map(ControlFact::PaymentRequested),
        (command_id(), timestamp(), any::<u32>(), payment_step()).prop_map(|(payment, at, attempt, what)| {
            ControlFact::PaymentStepped(PaymentStepped { payment, at, attempt, what })
        }),
    ]
    .boxed()
}

fn provider() -> impl Strategy<Value = ProviderSet> {
    let kind = prop::sample::select(FieldKind::ALL.to_vec());
    let field = (text(), text(), any::<bool>(), kind, proptest::option::of(text()), any::<u16>(), any::<u16>())
        .prop_map(|(name, label, required, kind, pattern, length_min, length_max)| ProviderField {
            name,
            label,
            required,
            kind,
            pattern,
            length_min,
            length_max,
        });
    let terms = (currency(), minor(), any::<u16>(), minor(), minor()).prop_map(
        |(currency, fee_fixed_minor, fee_rate_bp, amount_min_minor, amount_max_minor)| ProviderTerms {
            currency,
            fee_fixed_minor,
            fee_rate_bp,
            amount_min_minor,
            amount_max_minor,
        },
    );
    let category = prop::sample::select(ProviderCategory::ALL.to_vec());
    let said = (text(), text(), text(), timestamp(), text(), text());
    let lists = (proptest::collection::vec(terms, 0..=3), proptest::collection::vec(field, 0..=3));
    (said, category, any::<bool>(), any::<bool>(), lists).prop_map(
        |((provider, name, payable, set_at, actor, reason), category, enabled, partial, (terms, fields))| ProviderSet {
            provider,
            name,
            category,
            enabled,
            partial,
            payable,
            terms,
            fields,
            set_at,
            actor,
            reason,
        },
    )
}

fn payment_requested() -> impl Strategy<Value = PaymentRequested> {
    let detail = (text(), text()).prop_map(|(name, value)| PaymentDetail { name, value });
    let details = proptest::collection::vec(detail, 0..=3);
    let ids = (command_id(), book_id(), account_id(), principal_id());
    (ids, text(), money(), minor(), text(), any::<bool>(), details, timestamp()).prop_map(
        |((payment, book, account, actor), provider, amount, fee_minor, payable, partial, details, requested_at)| {
            PaymentRequested {
                payment,
                book,
                provider,
                account,
                amount,
                fee_minor,
                payable,
                partial,
                details,
                actor,
                requested_at,
            }
        },
    )
}

fn payment_step() -> impl Strategy<Value = PaymentStep> {
    let sequence = || any::<u64>().prop_map(Sequence);
    prop_oneof![
        sequence().prop_map(|sequence| PaymentStep::HoldPlaced { sequence }),
        (sequence(), text()).prop_map(|(sequence, code)| PaymentStep::HoldRefused { sequence, code }),
        Just(PaymentStep::ProviderCalled),
        (text(), minor())
            .prop_map(|(reference, amount_minor)| PaymentStep::ProviderAccepted { reference, amount_minor }),
        (text(), text()).prop_map(|(reference, code)| PaymentStep::ProviderRefused { reference, code }),
        text().prop_map(|code| PaymentStep::ProviderUnknown { code }),
        (command_id(), sequence(), minor()).prop_map(|(command, sequence, amount_minor)| PaymentStep::Captured {
            command,
            sequence,
            amount_minor
        }),
        (command_id(), sequence()).prop_map(|(command, sequence)| PaymentStep::Voided { command, sequence }),
        (text(), digest()).prop_map(|(number, hash)| PaymentStep::ReceiptIssued { number, hash }),
        (principal_id(), text()).prop_map(|(actor, reason)| PaymentStep::CancelRequested { actor, reason }),
        (principal_id(), text()).prop_map(|(actor, reason)| PaymentStep::ReversalRequested { actor, reason }),
        (command_id(), sequence()).prop_map(|(command, sequence)| PaymentStep::Reversed { command, sequence }),
        (text(), text(), proptest::option::of(minor())).prop_map(|(code, reference, amount_minor)| {
            PaymentStep::Contradicted { code, reference, amount_minor }
        }),
        (text(), text()).prop_map(|(code, detail)| PaymentStep::Parked { code, detail }),
        (command_id(), sequence(), text()).prop_map(|(command, sequence, code)| PaymentStep::BookRefused {
            command,
            sequence,
            code
        }),
        (text(), text()).prop_map(|(actor, reason)| PaymentStep::Resumed { actor, reason }),
    ]
}

/// An event.
pub fn event() -> BoxedStrategy<Event> {
    (cause(), event_body()).prop_map(|(cause, body)| Event { cause, body }).boxed()
}

/// An event with its place.
pub fn recorded_event() -> impl Strategy<Value = RecordedEvent> {
    (book_id(), 1..=u64::MAX, timestamp(), any::<u64>(), event()).prop_map(
        |(book, sequence, recorded_at, epoch, event)| RecordedEvent {
            book,
            sequence: Sequence(sequence),
            recorded_at,
            epoch: Epoch(epoch),
            event,
        },
    )
}

/// A block of one to eight events, anywhere in a journal.
pub fn block() -> impl Strategy<Value = Block> {
    (book_id(), 1..1_u64 << 62, timestamp(), any::<u64>(), digest(), vec(event(), 1..8)).prop_map(
        |(book, first, recorded_at, epoch, previous, events)| {
            let first_sequence = Sequence(first);
            seal(&events, BlockPlace { book, first_sequence, recorded_at, epoch: Epoch(epoch), previous })
        },
    )
}

/// A block of these events.
pub fn seal(events: &[Event], place: BlockPlace) -> Block {
    let mut builder = BlockBuilder::new();
    for event in events {
        builder.push(event);
    }
    builder.seal(place)
}

/// A journal from its first block on: each inner list becomes a block, one second apart.
pub fn chain(book: BookId, blocks: &[Vec<Event>]) -> Vec<Block> {
    let mut place = BlockPlace {
        book,
        first_sequence: Sequence(1),
        recorded_at: Timestamp(1_767_225_600_000_000),
        epoch: Epoch(1),
        previous: BlockHash::default(),
    };
    let mut chained = Vec::with_capacity(blocks.len());
    for events in blocks {
        let block = seal(events, place);
        place.first_sequence = block.header().last_sequence().next();
        place.recorded_at.0 += 1_000_000;
        place.previous = block.hash();
        chained.push(block);
    }
    chained
}

//! Version 1, as it was released: what these files hold is read for ever, to the same values, and written to the same
//! bytes. `UPDATE_GOLDEN=1` rewrites them, which is right before the first release and wrong ever after; a later version
//! gets a folder of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_for_each)]

#[path = "golden/rates.rs"]
mod rates;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use event_schemas::bounds::{AMOUNT_MAX_MINOR, TEXT_MAX_BYTES};
use event_schemas::codec::Reader;
use event_schemas::command::{
    AccountAct, AccountKind, BalancePolicy, Caps, CaptureHold, CashMove, ClosePeriod, FeeKind, NoticeChannel,
    NoticeTopic, OpenAccount, PlaceHold, PostEntry, PostTransfer, PublishCalendar, ReverseEntry, ReversedPart,
    SetFeeRule, SetLimits, SetNotificationPreferences, TransferUpTo, VoidHold,
};
use event_schemas::control::{
    ApiKeyIssued, ApiKeyRevoked, ApiKeyScopesSet, FieldKind, Holder, PaymentDetail, PaymentRequested, PaymentStep,
    PaymentStepped, ProviderCategory, ProviderField, ProviderSet, ProviderTerms, Scope,
};
use event_schemas::event::{
    AccessLogged, BookOpened, ClockAccepted, CommandRejected, EntryPosted, EntryReversed, HoldCaptured, HoldExpired,
    HoldPlaced, HoldVoided, JournalRestored, LimitCharged, LimitReleased, StateDigest,
};
use event_schemas::limits::LimitWindow;
use event_schemas::{
    AccountId, Block, BookId, Cause, CivilDate, CommandBody, CommandId, ControlFact, ControlRecorded, Currency, Digest,
    EntryKind, Event, EventBody, Money, Posting, PrincipalId, Rejection, Sequence, Timestamp, testing,
};
use serde_json::{Value, json};

const ANN: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000a);
const BOB: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000b);
const CLEARING: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000c);
const FEES: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_000f);
const VERDICT: Cause = Cause::Verdict { command: CommandId(0xc0), actor: PrincipalId(0xac) };
const CONSEQUENCE: Cause = Cause::Consequence { command: CommandId(0xc0), actor: PrincipalId(0xac) };

fn eur(minor: i128) -> Money {
    Money::new(minor, Currency::from_parts(*b"EUR", 2).unwrap())
}

fn date(text: &str) -> CivilDate {
    text.parse().unwrap()
}

fn open(account: AccountId, kind: AccountKind, policy: BalancePolicy) -> OpenAccount {
    let currency = eur(0).currency;
    OpenAccount { account, code: "berka:2378".into(), kind, currency, owner: "client:1".into(), policy }
}

fn cash(amount: Money, fee_minor: i128) -> CashMove {
    CashMove { account: ANN, amount, fee_minor: Some(fee_minor), effective_on: None, reference: "salary".into() }
}

fn transfer() -> PostTransfer {
    let effective_on = Some(date("1993-01-05"));
    PostTransfer { from: ANN, to: BOB, amount: eur(2_500), fee_minor: Some(25), effective_on, reference: "rent".into() }
}

fn entry(kind: EntryKind, postings: Vec<Posting>) -> EventBody {
    EventBody::EntryPosted(EntryPosted {
        kind,
        fee_rule: None,
        at_most_minor: None,
        effective_on: date("1993-01-05"),
        effective_on_named: kind == EntryKind::General,
        reference: "Überweisung 7".into(),
        postings: postings.into(),
    })
}

fn rejected(command: CommandBody, rejection: Rejection) -> EventBody {
    EventBody::CommandRejected(CommandRejected { command, rejection })
}

/// Every event, every command as a refusal quotes it, every rejection, and values at their bounds.
fn cases() -> Vec<(String, Event)> {
    let act = AccountAct { account: ANN, reason: "lost card".into() };
    let bare = AccountAct { account: ANN, reason: "".into() };
    let money = Money::new;
    let of = |code: [u8; 3], exponent| Currency::from_parts(code, exponent).unwrap();
    let mut cases = vec![
        (
            "book_opened",
            Cause::Engine,
            EventBody::BookOpened(BookOpened { book: BookId::FIRST, nonce: PrincipalId(7) }),
        ),
        (
            "account_opened",
            VERDICT,
            EventBody::AccountOpened(open(
                ANN,
                AccountKind::Liability,
                BalancePolicy::Limited { overdraft_minor: 2_000_000 },
            )),
        ),
        (
            "account_opened_as_a_consequence",
            CONSEQUENCE,
            EventBody::AccountOpened(OpenAccount {
                account: CLEARING,
                code: "sys:psp-clearing:EUR".into(),
                kind: AccountKind::Asset,
                currency: eur(0).currency,
                owner: "".into(),
                policy: BalancePolicy::Unlimited,
            }),
        ),
        ("account_frozen", VERDICT, EventBody::AccountFrozen(act.clone())),
        ("account_unfrozen", VERDICT, EventBody::AccountUnfrozen(bare.clone())),
        ("account_closed", VERDICT, EventBody::AccountClosed(act.clone())),
        (
            "entry_top_up",
            VERDICT,
            entry(
                EntryKind::TopUp,
                vec![
                    Posting::debit(CLEARING, eur(10_000)),
                    Posting::credit(ANN, eur(10_000)),
                    Posting::debit(ANN, eur(100)),
                    Posting::credit(FEES, eur(100)),
                ],
            ),
        ),
        (
            "entry_withdrawal",
            VERDICT,
            entry(EntryKind::Withdrawal, vec![Posting::debit(ANN, eur(1)), Posting::credit(CLEARING, eur(1))]),
        ),
        (
            "entry_transfer",
            VERDICT,
            entry(
                EntryKind::Transfer,
                vec![Posting::debit(ANN, eur(2_525)), Posting::credit(BOB, eur(2_500)), Posting::credit(FEES, eur(25))],
            ),
        ),
        (
            "entry_general_of_four_currencies",
            VERDICT,
            entry(
                EntryKind::General,
                [of(*b"JPY", 0), of(*b"BHD", 3), of(*b"CLF", 4), of(*b"EUR", 2)]
                    .into_iter()
                    .flat_map(|currency| {
                        let money = money(AMOUNT_MAX_MINOR, currency);
                        [Posting::debit(ANN, money), Posting::credit(BOB, money)]
                    })
                    .collect(),
            ),
        ),
        (
            "entry_of_a_length_of_three_bytes",
            VERDICT,
            entry(
                EntryKind::General,
                (0..500).flat_map(|_| [Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(1))]).collect(),
            ),
        ),
        (
            "state_digest",
            Cause::Engine,
            EventBody::StateDigest(StateDigest { digest: Digest([0xd1; 32]), accounts: 100_000 }),
        ),
        (
            "clock_accepted",
            Cause::Engine,
            EventBody::ClockAccepted(ClockAccepted {
                previous: Timestamp::MIN,
                accepted: Timestamp::MAX,
                actor: "operator".into(),
                reason: "x".repeat(TEXT_MAX_BYTES).into(),
            }),
        ),
    ];
    let general = PostEntry {
        postings: vec![Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(2))].into(),
        effective_on: Some(CivilDate::MAX),
        reference: "".into(),
    };
    let out_of_bounds = PostEntry { postings: vec![].into(), effective_on: None, reference: "".into() };
    let negative = BalancePolicy::Limited { overdraft_minor: -1 };
    let top_up = || CommandBody::TopUp(cash(eur(100), 0));
    let refusals = [
        ("postings_out_of_bounds", CommandBody::PostEntry(out_of_bounds), Rejection::PostingsOutOfBounds { count: 0 }),
        ("amount_not_positive", CommandBody::TopUp(cash(eur(-5), -1)), Rejection::AmountNotPositive),
        (
            "overdraft_negative",
            CommandBody::OpenAccount(open(BOB, AccountKind::Equity, negative)),
            Rejection::AmountNotPositive,
        ),
        (
            "amount_too_large",
            CommandBody::Withdraw(cash(eur(AMOUNT_MAX_MINOR + 1), i128::MAX)),
            Rejection::AmountTooLarge,
        ),
        (
            "effective_date_out_of_range",
            CommandBody::PostEntry(general.clone()),
            Rejection::EffectiveDateOutOfRange { earliest: date("1900-01-01"), latest: date("2027-11-22") },
        ),
        (
            "account_code_invalid",
            CommandBody::OpenAccount(open(BOB, AccountKind::Income, BalancePolicy::Unlimited)),
            Rejection::AccountCodeInvalid,
        ),
        (
            "account_exists",
            CommandBody::OpenAccount(open(ANN, AccountKind::Expense, BalancePolicy::NO_OVERDRAFT)),
            Rejection::AccountExists { account: ANN },
        ),
        ("same_account", CommandBody::PostTransfer(transfer()), Rejection::SameAccount { account: ANN }),
        ("account_not_found", top_up(), Rejection::AccountNotFound { account: ANN }),
        ("account_closed", CommandBody::CloseAccount(act.clone()), Rejection::AccountClosed { account: ANN }),
        ("account_frozen", CommandBody::FreezeAccount(act), Rejection::AccountFrozen { account: ANN }),
        ("account_not_frozen", CommandBody::UnfreezeAccount(bare), Rejection::AccountNotFrozen { account: ANN }),
        (
            "currency_mismatch",
            CommandBody::TopUp(cash(money(1, of(*b"JPY", 0)), 0)),
            Rejection::CurrencyMismatch { account: ANN, account_currency: eur(0).currency },
        ),
        (
            "entry_unbalanced",
            CommandBody::PostEntry(general),
            Rejection::EntryUnbalanced { currency: eur(0).currency, debits_minor: 1, credits_minor: 2 },
        ),
        ("account_not_empty", top_up(), Rejection::AccountNotEmpty { account: ANN, balance_minor: -1_905_680 }),
        (
            "insufficient_funds",
            CommandBody::PostTransfer(transfer()),
            Rejection::InsufficientFunds { account: ANN, available_minor: -1, required_minor: 2_525 },
        ),
        ("balance_overflow", top_up(), Rejection::BalanceOverflow { account: ANN }),
    ];
    let refusals = refusals.map(|(name, command, rejection)| (name, VERDICT, rejected(command, rejection)));
    cases.extend(refusals);
    cases.extend(holds_and_reversals());
    cases.extend(rules_and_records());
    cases.extend(rates::cases());
    cases
        .into_iter()
        .map(|(name, cause, body)| {
            let name =
                if matches!(body, EventBody::CommandRejected(_)) { format!("rejected_{name}") } else { name.into() };
            (name, Event { cause, body })
        })
        .collect()
}

/// Limits, fees, calendars, periods, preferences and the record itself: events, the commands as a refusal quotes them, and the
/// rejections.
fn rules_and_records() -> Vec<(&'static str, Cause, EventBody)> {
    let eur_currency = eur(0).currency;
    let caps = Caps { per_transfer_minor: Some(50_000), daily_minor: Some(100_000), monthly_minor: None };
    let limits = |version, caps| SetLimits { owner: "client:1".into(), currency: eur_currency, version, caps };
    let calendar = || PublishCalendar {
        version: 7,
        zone: "Europe/Berlin".into(),
        tz_version: "2026b".into(),
        first_day: date("2026-10-24"),
        // The day of 25 hours, on which summer time ends, is the second.
        starts: ["2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
    };
    let charged = LimitCharged {
        owner: "client:1".into(),
        currency: eur_currency,
        account: ANN,
        amount_minor: 2_525,
        day: date("2026-10-25"),
        hold: None,
        version: 3,
        caps,
        day_used_minor: 2_525,
        month_used_minor: 99_999,
    };
    let released = LimitReleased {
        owner: "client:1".into(),
        currency: eur_currency,
        hold: CommandId(0xb01d),
        amount_minor: 150,
        day: date("2026-10-25"),
        day_used_minor: 2_375,
        month_used_minor: 99_849,
    };
    let rule = |max_minor| SetFeeRule {
        kind: FeeKind::Withdrawal,
        currency: eur_currency,
        version: 2,
        fixed_minor: 30,
        rate_ppm: 2_500,
        min_minor: 50,
        max_minor,
    };
    let close = || ClosePeriod { through: date("2026-09-30"), reason: "third quarter".into() };
    let preferences = || SetNotificationPreferences {
        owner: "client:1".into(),
        version: 4,
        topics: [
            (NoticeTopic::MoneyIn, [NoticeChannel::Email, NoticeChannel::Websocket].into()),
            (NoticeTopic::Settings, [].into()),
        ]
        .into(),
    };
    let up_to =
        || TransferUpTo { from: ANN, to: BOB, at_most: eur(10_000), effective_on: None, reference: "sweep".into() };
    let pair = |minor| vec![Posting::debit(ANN, eur(minor)), Posting::credit(BOB, eur(minor))];
    let EventBody::EntryPosted(plain) = entry(EntryKind::Transfer, pair(2_500)) else { unreachable!() };
    let by_rule = EntryPosted { fee_rule: Some(300), ..plain.clone() };
    let swept = EntryPosted { kind: EntryKind::TransferUpTo, at_most_minor: Some(10_000), ..plain };
    let captured = HoldCaptured {
        hold: CommandId(0xb01d),
        last: true,
        fee_rule: Some(0),
        released_minor: 0,
        left_minor: 0,
        effective_on: date("1993-01-05"),
        effective_on_named: false,
        reference: "biller".into(),
        postings: pair(1).into(),
    };
    let exceeded = |window, resets_at| Rejection::LimitExceeded {
        account: ANN,
        window,
        cap_minor: 50_000,
        used_minor: 49_000,
        required_minor: 1_001,
        resets_at,
    };
    let transfer_by_rule = || CommandBody::PostTransfer(PostTransfer { fee_minor: None, ..transfer() });
    let top_up_by_rule = CommandBody::TopUp(CashMove { fee_minor: None, ..cash(eur(1), 0) });
    let capture_by_rule = CommandBody::CaptureHold(CaptureHold {
        hold: CommandId(0xb01d),
        to: BOB,
        amount: eur(1),
        fee_minor: None,
        last: false,
        effective_on: None,
        reference: "".into(),
    });
    let mut cases = vec![
        ("entry_with_a_fee_by_the_rule", VERDICT, EventBody::EntryPosted(by_rule)),
        ("entry_transfer_up_to", VERDICT, EventBody::EntryPosted(swept)),
        ("hold_captured_with_a_fee_by_no_rule", VERDICT, EventBody::HoldCaptured(captured)),
        ("limits_set", VERDICT, EventBody::LimitsSet(limits(3, caps))),
        ("limits_taken_away", VERDICT, EventBody::LimitsSet(limits(u64::MAX, Caps::NONE))),
        ("limit_charged", CONSEQUENCE, EventBody::LimitCharged(charged.clone())),
        (
            "limit_charged_by_a_hold",
            CONSEQUENCE,
            EventBody::LimitCharged(LimitCharged { hold: Some(CommandId(0xc0)), ..charged }),
        ),
        ("limit_released", CONSEQUENCE, EventBody::LimitReleased(released)),
        ("calendar_published", VERDICT, EventBody::CalendarPublished(calendar())),
        ("fee_rule_set", VERDICT, EventBody::FeeRuleSet(rule(Some(1_000)))),
        ("fee_rule_set_without_a_maximum", VERDICT, EventBody::FeeRuleSet(rule(None))),
        ("period_closed", VERDICT, EventBody::PeriodClosed(close())),
        ("notification_preferences_set", VERDICT, EventBody::NotificationPreferencesSet(preferences())),
        (
            "journal_restored",
            Cause::Engine,
            EventBody::JournalRestored(JournalRestored {
                restored_to: Sequence(300),
                witnessed: Some(Sequence(301)),
                actor: "operator".into(),
                reason: "lost disk".into(),
            }),
        ),
        (
            "access_logged",
            Cause::Engine,
            EventBody::AccessLogged(AccessLogged {
                actor: PrincipalId(0xac),
                operation: "get_statement".into(),
                subject: "berka:2378".into(),
                status: 200,
                request: "7c0e".into(),
            }),
        ),
    ];
    cases.extend(control());
    cases.extend(payments());
    let up_to = || CommandBody::TransferUpTo(up_to());
    let refusals = [
        ("linked_item_refused", up_to(), Rejection::LinkedItemRefused { item: 2, command: CommandId(0xc0) }),
        ("limit_not_positive", CommandBody::SetLimits(limits(0, caps)), Rejection::LimitNotPositive),
        ("fee_rule_invalid", CommandBody::SetFeeRule(rule(Some(-1))), Rejection::FeeRuleInvalid),
        ("period_closed", transfer_by_rule(), Rejection::PeriodClosed { through: date("2026-09-30") }),
        ("period_not_over", CommandBody::ClosePeriod(close()), Rejection::PeriodNotOver { today: date("2026-09-30") }),
        ("version_not_newer", CommandBody::SetLimits(limits(3, caps)), Rejection::VersionNotNewer { applied: 3 }),
        (
            "version_of_preferences_not_newer",
            CommandBody::SetNotificationPreferences(preferences()),
            Rejection::VersionNotNewer { applied: u64::MAX },
        ),
        (
            "calendar_invalid",
            CommandBody::PublishCalendar(PublishCalendar { starts: vec![], ..calendar() }),
            Rejection::CalendarInvalid { place: 0 },
        ),
        (
            "calendar_not_in_order",
            CommandBody::PublishCalendar(PublishCalendar {
                starts: vec![Timestamp::MAX, Timestamp::MIN],
                ..calendar()
            }),
            Rejection::CalendarInvalid { place: 1 },
        ),
        ("calendar_missing", top_up_by_rule, Rejection::CalendarMissing),
        ("limit_per_transfer_exceeded", transfer_by_rule(), exceeded(LimitWindow::PerTransfer, None)),
        ("limit_of_a_day_exceeded", capture_by_rule, exceeded(LimitWindow::Day, Some(calendar().starts[3]))),
        ("limit_of_a_month_exceeded", up_to(), exceeded(LimitWindow::Month, None)),
    ];
    cases.extend(refusals.map(|(name, command, rejection)| (name, VERDICT, rejected(command, rejection))));
    cases
}

/// Facts of the control plane.
fn control() -> Vec<(&'static str, Cause, EventBody)> {
    let (key, actor) = (|| "key_0123456789abcdef".into(), || "anna".into());
    let holder = |customer: Option<&str>| Holder {
        tenant: "main".into(),
        name: "web-shop".into(),
        customer: customer.map(Into::into),
    };
    let issued = |customer, replaces: Option<&str>| {
        ControlFact::ApiKeyIssued(ApiKeyIssued {
            key: key(),
            hash: Digest([0x5e; 32]),
            holder: holder(customer),
            scopes: [Scope::Read, Scope::Write].into_iter().collect(),
            replaces: replaces.map(Into::into),
            issued_at: Timestamp(1_795_262_400_000_000),
            actor: actor(),
            note: "till 7".into(),
        })
    };
    let revoked = ApiKeyRevoked { key: key(), revoked_at: Timestamp::MAX, actor: actor(), reason: "".into() };
    let scopes_set = ApiKeyScopesSet {
        key: key(),
        scopes: [Scope::Admin].into_iter().collect(),
        set_at: Timestamp::MIN,
        actor: actor(),
        reason: "x".repeat(TEXT_MAX_BYTES).into(),
    };
    [
        ("api_key_issued", 1, issued(None, None)),
        ("api_key_issued_for_a_customer_instead_of_another", 2, issued(Some("client:1"), Some("key_1a2b3c4d"))),
        ("api_key_revoked", 3, ControlFact::ApiKeyRevoked(revoked)),
        ("api_key_scopes_set", u64::MAX, ControlFact::ApiKeyScopesSet(scopes_set)),
    ]
    .into_iter()
    .map(|(name, version, fact)| {
        let aggregate = "819d79f6-adf7-e600-a724-4f471fa20f1b".into();
        let recorded = ControlRecorded { aggregate, version, fact };
        (name, Cause::Engine, EventBody::ControlRecorded(Box::new(recorded)))
    })
    .collect()
}

/// Providers and payments, with every step that a payment can take.
fn payments() -> Vec<(&'static str, Cause, EventBody)> {
    let currency = eur(0).currency;
    let payment = CommandId(0x0190_0000_0000_7000_8000_0000_0000_00f1);
    let command = CommandId(0x0190_0000_0000_8000_8000_0000_0000_00f2);
    let (at, sequence) = (Timestamp(1_795_262_400_000_000), Sequence(8));
    let field = |name: &str, kind, pattern: Option<&str>| ProviderField {
        name: name.into(),
        label: "Customer number".into(),
        required: pattern.is_some(),
        kind,
        pattern: pattern.map(Into::into),
        length_min: 1,
        length_max: 32,
    };
    let provider = ControlFact::ProviderSet(ProviderSet {
        provider: "waterworks".into(),
        name: "Wasserwerke".into(),
        category: ProviderCategory::Utilities,
        enabled: true,
        partial: false,
        payable: "payable:waterworks".into(),
        terms: vec![ProviderTerms {
            currency,
            fee_fixed_minor: 100,
            fee_rate_bp: 25,
            amount_min_minor: 1,
            amount_max_minor: AMOUNT_MAX_MINOR,
        }],
        fields: vec![
            field("customer", FieldKind::Text, Some("[A-Z]{2}[0-9]{6}")),
            field("meter", FieldKind::Digits, None),
            field("phone", FieldKind::Phone, None),
            field("due", FieldKind::Date, None),
        ],
        set_at: at,
        actor: "anna".into(),
        reason: "".into(),
    });
    let requested = ControlFact::PaymentRequested(PaymentRequested {
        payment,
        book: BookId::FIRST,
        provider: "waterworks".into(),
        account: ANN,
        amount: eur(12_050),
        fee_minor: 100,
        payable: "payable:waterworks:EUR".into(),
        partial: true,
        details: vec![PaymentDetail { name: "customer".into(), value: "AB123456".into() }],
        actor: PrincipalId(0xac),
        requested_at: at,
    });
    let (reference, actor) = (|| "W-77".into(), PrincipalId(0xac));
    let steps = [
        ("payment_hold_placed", PaymentStep::HoldPlaced { sequence }),
        ("payment_hold_refused", PaymentStep::HoldRefused { sequence, code: "insufficient_funds".into() }),
        ("payment_provider_called", PaymentStep::ProviderCalled),
        ("payment_provider_accepted", PaymentStep::ProviderAccepted { reference: reference(), amount_minor: 12_050 }),
        ("payment_provider_refused", PaymentStep::ProviderRefused { reference: reference(), code: "closed".into() }),
        ("payment_provider_unknown", PaymentStep::ProviderUnknown { code: "timeout".into() }),
        ("payment_captured", PaymentStep::Captured { command, sequence, amount_minor: 12_050 }),
        ("payment_voided", PaymentStep::Voided { command, sequence }),
        ("payment_receipt_issued", PaymentStep::ReceiptIssued { number: "BP-1".into(), hash: Digest([0x5e; 32]) }),
        ("payment_cancel_requested", PaymentStep::CancelRequested { actor, reason: "twice".into() }),
        ("payment_reversal_requested", PaymentStep::ReversalRequested { actor, reason: "".into() }),
        ("payment_reversed", PaymentStep::Reversed { command, sequence }),
        (
            "payment_contradicted",
            PaymentStep::Contradicted {
                code: "provider_amount_differs".into(),
                reference: reference(),
                amount_minor: Some(1),
            },
        ),
        ("payment_book_refused", PaymentStep::BookRefused { command, sequence, code: "account_frozen".into() }),
        ("payment_parked", PaymentStep::Parked { code: "provider_down".into(), detail: "no route".into() }),
        ("payment_resumed", PaymentStep::Resumed { actor: "anna".into(), reason: "it is up".into() }),
    ];
    let steps =
        steps.map(|(name, what)| (name, ControlFact::PaymentStepped(PaymentStepped { payment, at, attempt: 1, what })));
    [("provider_set", provider), ("payment_requested", requested)]
        .into_iter()
        .chain(steps)
        .map(|(name, fact)| {
            let aggregate = if name == "provider_set" { "waterworks".into() } else { payment.to_string().into() };
            let recorded = ControlRecorded { aggregate, version: 1, fact };
            (name, Cause::Engine, EventBody::ControlRecorded(Box::new(recorded)))
        })
        .collect()
}

/// What is held and what is taken back: events, the commands as a refusal quotes them, and the rejections.
fn holds_and_reversals() -> Vec<(&'static str, Cause, EventBody)> {
    const HOLD: CommandId = CommandId(0xb01d);
    let deadline = Timestamp(1_795_262_400_000_000);
    let place = |expires_at| PlaceHold { account: ANN, amount: eur(12_150), expires_at, reference: "bill 7".into() };
    let placed = |expires_at| {
        let PlaceHold { account, amount, expires_at, reference } = place(expires_at);
        EventBody::HoldPlaced(HoldPlaced { account, amount, expires_at, reference })
    };
    let captured = HoldCaptured {
        hold: HOLD,
        last: true,
        fee_rule: None,
        released_minor: 150,
        left_minor: 0,
        effective_on: date("1993-01-05"),
        effective_on_named: false,
        reference: "biller".into(),
        postings: vec![
            Posting::debit(ANN, eur(12_000)),
            Posting::credit(BOB, eur(11_900)),
            Posting::credit(FEES, eur(100)),
        ]
        .into(),
    };
    let part = HoldCaptured {
        last: false,
        released_minor: 0,
        left_minor: 12_149,
        effective_on_named: true,
        postings: vec![Posting::debit(ANN, eur(1)), Posting::credit(BOB, eur(1))].into(),
        ..captured.clone()
    };
    let reversed = EntryReversed {
        entry: HOLD,
        reverses: Sequence(300),
        rest: true,
        effective_on: date("1993-01-06"),
        effective_on_named: false,
        reference: "wrong biller".into(),
        postings: vec![
            Posting::credit(ANN, eur(12_000)),
            Posting::debit(BOB, eur(11_900)),
            Posting::debit(FEES, eur(100)),
        ]
        .into(),
        places: vec![0, 1, 2],
    };
    let in_part = EntryReversed {
        rest: false,
        effective_on_named: true,
        postings: vec![Posting::debit(BOB, eur(1)), Posting::credit(ANN, eur(1))].into(),
        places: vec![1, 0],
        ..reversed.clone()
    };
    let capture = || {
        CommandBody::CaptureHold(CaptureHold {
            hold: HOLD,
            to: BOB,
            amount: eur(11_900),
            fee_minor: Some(100),
            last: true,
            effective_on: Some(date("1993-01-05")),
            reference: "biller".into(),
        })
    };
    let void = || CommandBody::VoidHold(VoidHold { hold: HOLD, reason: "canceled".into() });
    let reverse = |postings| {
        CommandBody::ReverseEntry(ReverseEntry { entry: HOLD, postings, effective_on: None, reference: "".into() })
    };
    let parts =
        vec![ReversedPart { posting: 1, amount_minor: 5 }, ReversedPart { posting: u32::MAX, amount_minor: -5 }];
    let mut cases = vec![
        ("hold_placed", VERDICT, placed(Some(deadline))),
        ("hold_placed_without_a_deadline", VERDICT, placed(None)),
        ("hold_captured_for_the_last_time", VERDICT, EventBody::HoldCaptured(captured)),
        ("hold_captured_in_part", VERDICT, EventBody::HoldCaptured(part)),
        (
            "hold_voided",
            VERDICT,
            EventBody::HoldVoided(HoldVoided {
                hold: HOLD,
                account: ANN,
                released: eur(12_150),
                reason: "canceled".into(),
            }),
        ),
        (
            "hold_expired",
            Cause::Engine,
            EventBody::HoldExpired(HoldExpired {
                hold: HOLD,
                account: ANN,
                released: eur(12_150),
                expires_at: deadline,
            }),
        ),
        ("entry_reversed", VERDICT, EventBody::EntryReversed(reversed)),
        ("entry_reversed_in_part", VERDICT, EventBody::EntryReversed(in_part)),
    ];
    let (left_minor, required_minor) = (12_150, 12_151);
    let refusals = [
        (
            "expiry_out_of_range",
            CommandBody::PlaceHold(place(Some(Timestamp::MAX))),
            Rejection::ExpiryOutOfRange { after: deadline, latest: Timestamp(deadline.0 + 1) },
        ),
        ("hold_not_found", capture(), Rejection::HoldNotFound { hold: HOLD }),
        ("hold_not_open", void(), Rejection::HoldNotOpen { hold: HOLD }),
        ("hold_expired", capture(), Rejection::HoldExpired { hold: HOLD, expires_at: deadline }),
        ("original_not_found", reverse(None), Rejection::OriginalNotFound { entry: HOLD }),
        ("original_not_an_entry", reverse(None), Rejection::OriginalNotAnEntry { entry: HOLD }),
        ("original_is_reversal", reverse(None), Rejection::OriginalIsReversal { entry: HOLD }),
        ("original_reversed", reverse(None), Rejection::OriginalReversed { entry: HOLD }),
        (
            "reversal_above_original",
            reverse(Some(parts)),
            Rejection::ReversalAboveOriginal { entry: HOLD, posting: 1, left_minor, required_minor },
        ),
        ("capture_above_hold", capture(), Rejection::CaptureAboveHold { hold: HOLD, left_minor, required_minor }),
        ("hold_not_possible", CommandBody::PlaceHold(place(None)), Rejection::HoldNotPossible { account: ANN }),
        ("too_many_holds", CommandBody::PlaceHold(place(None)), Rejection::TooManyHolds { limit: 1_000_000 }),
        ("account_has_holds", void(), Rejection::AccountHasHolds { account: ANN, held_minor: 12_150 }),
    ];
    cases.extend(refusals.map(|(name, command, rejection)| (name, VERDICT, rejected(command, rejection))));
    cases
}

/// Three blocks of the journal of book 1: one event each but the first of a kind.
fn journal() -> Vec<Block> {
    let events: Vec<_> = cases().into_iter().map(|(_, event)| event).collect();
    testing::chain(BookId::FIRST, &[events[..7].to_vec(), events[7..30].to_vec(), events[30..].to_vec()])
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The lines of a golden file, each a JSON object; rewritten first if that was asked for.
fn lines(name: &str, fresh: impl Fn() -> Vec<Value>) -> Vec<Value> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines: Vec<_> = fresh().iter().map(Value::to_string).collect();
        fs::write(file(name), lines.join("\n") + "\n").unwrap();
    }
    fs::read_to_string(file(name)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_of_version_1_are_read_and_written_as_ever() {
    let golden = lines("events.jsonl", || {
        let line = |(name, event): (String, Event)| {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            json!({ "case": name, "bytes": hex(&bytes), "event": event })
        };
        cases().into_iter().map(line).collect()
    });
    let cases = cases();
    assert_eq!(golden.len(), cases.len());
    for (line, (name, event)) in golden.iter().zip(cases) {
        assert_eq!(line["case"], name);
        let bytes = unhex(line["bytes"].as_str().unwrap());
        let mut reader = Reader::new(&bytes);
        assert_eq!(Event::decode(&mut reader).unwrap(), event, "{name}");
        reader.finish().unwrap();
        let mut written = Vec::new();
        event.encode(&mut written);
        assert_eq!(hex(&written), line["bytes"], "{name}");
        assert_eq!(serde_json::from_value::<Event>(line["event"].clone()).unwrap(), event, "{name}");
        assert_eq!(serde_json::to_value(&event).unwrap(), line["event"], "{name}");
    }
}

#[test]
fn every_type_is_among_the_cases() {
    let cases = cases();
    for name in EventBody::TYPE_NAMES {
        assert!(cases.iter().any(|(_, event)| event.body.type_name() == name), "{name}");
    }
}

#[test]
fn a_journal_of_version_1_is_read_and_chained_as_ever() {
    let golden = lines("journal.jsonl", || {
        journal().iter().map(|block| json!({ "hash": block.hash(), "bytes": hex(block.bytes()) })).collect()
    });
    let expected = journal();
    assert_eq!(golden.len(), expected.len());
    let mut previous = Digest::default();
    for (line, expected) in golden.iter().zip(&expected) {
        let block = Block::from_bytes(unhex(line["bytes"].as_str().unwrap())).unwrap();
        assert_eq!(&block, expected);
        assert_eq!(block.hash().to_string(), line["hash"]);
        assert_eq!(block.header().previous, previous);
        previous = block.hash();
        let mut payload = Vec::new();
        block.events().for_each(|event| event.unwrap().1.encode(&mut payload));
        assert_eq!(payload, block.payload());
    }
    let events: Vec<_> = expected.iter().flat_map(Block::events).map(|event| event.unwrap().1).collect();
    assert_eq!(events, cases().into_iter().map(|(_, event)| event).collect::<Vec<_>>());
}

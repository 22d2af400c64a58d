//! Every code of the table can be brought about, and comes with its status; the documents of the most telling ones are
//! pinned as clients see them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use commands_api::bill_payments::{CallbackFault, Payments as _, PaymentsFault};
use commands_api::problem::Code;
use commands_api::{ApiState, Budgets, KeyFault, KeyRing, QuoteKeys, Quotes, router};
use common::payer::{BILL, Payer};
use common::{ADMIN, Answered, Asked, NOON, READER, Script, Scripted, ask, parts, scripted};
use event_schemas::control::PaymentStep;
use event_schemas::limits::LimitWindow;
use event_schemas::{AccountId, CivilDate, CommandId, Currency, Rejection, Sequence};
use ledger_core::ports::{Answer, EngineFault, SubmitError, Verdict};
use projections::memory::MemoryRows;
use projections::ports::{ReadRows, RowChanges, Rows, RowsFault, Table};

const TRANSFER: &str = r#"{"from":"a:1","to":"b:1","amount":"10.00","currency":"EUR"}"#;
const TRANSFERS: &str = "/v1/books/1/transfers";

fn rejected(rejection: Rejection) -> Script {
    let verdict = Verdict::Rejected(rejection);
    Script::Answer(Answer::Recorded { verdict, sequence: Sequence(7), recorded_at: NOON, replayed: false })
}

/// A good transfer to an engine that does this.
fn transfer(script: Script) -> Asked {
    let (router, _) = scripted(vec![script]);
    ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("k").body(TRANSFER)
}

/// A transfer with this body.
fn with_body(body: impl Into<Body>) -> Asked {
    let (router, _) = scripted(Vec::new());
    ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("k").body(body)
}

fn with_field(field: &str, value: &str) -> Asked {
    let mut body: serde_json::Value = serde_json::from_str(TRANSFER).unwrap();
    body[field] = value.into();
    with_body(body.to_string())
}

fn get(path: &str) -> Asked {
    let (router, _) = scripted(Vec::new());
    ask(&router, "GET", &format!("/v1/books/1{path}")).key(ADMIN)
}

/// Rows that can't be read.
struct Broken;

impl ReadRows for Broken {
    fn get(&self, _: &'static Table, _: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        Err(RowsFault::Io("secret path".into()))
    }
    fn range(
        &self,
        _: &'static Table,
        _: &[u8],
        _: Option<&[u8]>,
        _: bool,
        _: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        Err(RowsFault::Io("secret path".into()))
    }
    fn checkpoint(&self, _: &'static str) -> Result<Sequence, RowsFault> {
        Err(RowsFault::Io("secret path".into()))
    }
}

impl Rows for Broken {
    fn commit(&self, _: RowChanges) -> Result<(), RowsFault> {
        Ok(())
    }
    fn reset(&self, _: &'static str, _: &[&'static Table]) -> Result<(), RowsFault> {
        Ok(())
    }
    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        read(self);
        Ok(())
    }
}

fn over_rows(rows: Option<Arc<dyn Rows>>, path: &str) -> Asked {
    let router = router(ApiState::new(parts(Scripted::of(Vec::new()), rows)));
    ask(&router, "GET", &format!("/v1/books/1{path}")).key(ADMIN)
}

/// A request that ends with this code. A new code does not compile without one.
async fn provoke(code: Code) -> Answered {
    let (account, hold) = (AccountId(0xacc), CommandId(0x401d));
    let eur: Currency = "EUR".parse().unwrap();
    let asked = match code {
        Code::InvalidJson => with_body("{"),
        Code::UnknownField => with_body(r#"{"limit":"1"}"#),
        Code::MissingField => with_body("{}"),
        Code::FieldInvalid => with_body(r#"{"from":7}"#),
        Code::QueryInvalid => get("/accounts?limit=0"),
        Code::CursorInvalid => get("/accounts?cursor=AAAA"),
        Code::SequenceInFuture => get("/accounts?min_sequence=1"),
        Code::IdempotencyKeyMissing => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", TRANSFERS).key(ADMIN).body(TRANSFER)
        }
        Code::IdempotencyKeyInvalid => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("\"").body(TRANSFER)
        }
        Code::BodyUnreadable => {
            let pieces: Vec<Result<Bytes, std::io::Error>> =
                vec![Ok("{".into()), Err(std::io::Error::other("the client went away"))];
            with_body(Body::new(Pieces(pieces.into_iter())))
        }
        Code::Unauthorized => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", TRANSFERS).idempotent("k").body(TRANSFER)
        }
        Code::Forbidden => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", TRANSFERS).key(READER).idempotent("k").body(TRANSFER)
        }
        Code::NotFound => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "GET", "/v1/nothing")
        }
        Code::BookNotFound => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "GET", "/v1/books/2").key(ADMIN)
        }
        Code::AccountNotFound => transfer(rejected(Rejection::AccountNotFound { account })),
        Code::HoldNotFound => get("/holds/0190a5d4-7c1e-7000-8000-000000000001"),
        Code::HoldNotOpen => transfer(rejected(Rejection::HoldNotOpen { hold })),
        Code::HoldExpired => transfer(rejected(Rejection::HoldExpired { hold, expires_at: NOON })),
        Code::ExpiryOutOfRange => transfer(rejected(Rejection::ExpiryOutOfRange { after: NOON, latest: NOON })),
        Code::HoldNotPossible => transfer(rejected(Rejection::HoldNotPossible { account })),
        Code::TooManyHolds => transfer(rejected(Rejection::TooManyHolds { limit: 7 })),
        Code::CaptureAboveHold => {
            transfer(rejected(Rejection::CaptureAboveHold { hold, left_minor: 5, required_minor: 1_000 }))
        }
        Code::AccountHasHolds => transfer(rejected(Rejection::AccountHasHolds { account, held_minor: 5 })),
        Code::CalendarMissing => transfer(rejected(Rejection::CalendarMissing)),
        Code::LimitExceeded => transfer(rejected(Rejection::LimitExceeded {
            account,
            window: LimitWindow::Day,
            cap_minor: 5_000,
            used_minor: 4_500,
            required_minor: 1_000,
            resets_at: Some(NOON),
        })),
        Code::LimitNotPositive => transfer(rejected(Rejection::LimitNotPositive)),
        Code::FeeRuleInvalid => transfer(rejected(Rejection::FeeRuleInvalid)),
        Code::PeriodClosed => transfer(rejected(Rejection::PeriodClosed { through: NOON.date_utc() })),
        Code::PeriodNotOver => transfer(rejected(Rejection::PeriodNotOver { today: NOON.date_utc() })),
        Code::VersionNotNewer => transfer(rejected(Rejection::VersionNotNewer { applied: 7 })),
        Code::CalendarInvalid => transfer(rejected(Rejection::CalendarInvalid { place: 1 })),
        Code::RateSheetInvalid => {
            transfer(rejected(Rejection::RateSheetInvalid { part: event_schemas::rates::SheetPart::Rates }))
        }
        Code::RateInvalid => {
            let (router, _) = scripted(Vec::new());
            let body = r#"{"version":1,"pivot":"EUR","source":"s","quoted_on":"2026-01-01","fetched_at":"x","valid_until":"x",
                "quote_seconds":30,"rates":[{"currency":"USD","per_pivot":"0"}],"margins":[{"margin_ppm":0}]}"#;
            ask(&router, "POST", "/v1/books/1/rate-sheets").key(ADMIN).idempotent("k").body(body)
        }
        Code::SameCurrency => transfer(rejected(Rejection::SameCurrency { currency: eur })),
        Code::RateSheetNotFound => transfer(rejected(Rejection::RateSheetNotFound { newest: 7 })),
        Code::RateSheetStale => transfer(rejected(Rejection::RateSheetStale { valid_until: NOON })),
        Code::RateNotFound => transfer(rejected(Rejection::RateNotFound { currency: eur })),
        Code::QuoteExpired => transfer(rejected(Rejection::QuoteExpired { expires_at: NOON })),
        Code::ConvertedAmountZero => transfer(rejected(Rejection::ConvertedAmountZero)),
        Code::QuoteMismatch => transfer(rejected(Rejection::QuoteMismatch { sold_minor: 5, bought_minor: 4 })),
        Code::QuoteOfAnother => transfer(rejected(Rejection::QuoteOfAnother { account })),
        Code::QuoteInvalid => {
            let mut parts = parts(Scripted::of(Vec::new()), None);
            parts.quotes = Some(Quotes::new(QuoteKeys::parse(&"7f".repeat(32)).unwrap()));
            ask(&router(ApiState::new(parts)), "POST", "/v1/books/1/conversions").key(ADMIN).body(r#"{"quote":"AAAA"}"#)
        }
        Code::QuotesOff => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", "/v1/books/1/conversions").key(ADMIN).body(r#"{"quote":"AAAA"}"#)
        }
        Code::LinkedItemRefused => transfer(rejected(Rejection::LinkedItemRefused { item: 1, command: hold })),
        Code::OriginalNotFound => transfer(rejected(Rejection::OriginalNotFound { entry: hold })),
        Code::OriginalNotAnEntry => transfer(rejected(Rejection::OriginalNotAnEntry { entry: hold })),
        Code::OriginalIsReversal => transfer(rejected(Rejection::OriginalIsReversal { entry: hold })),
        Code::OriginalReversed => transfer(rejected(Rejection::OriginalReversed { entry: hold })),
        Code::ReversalAboveOriginal => {
            let above =
                Rejection::ReversalAboveOriginal { entry: hold, posting: 0, left_minor: 5, required_minor: 1_000 };
            transfer(rejected(above))
        }
        Code::TimeInvalid => {
            let (router, _) = scripted(Vec::new());
            let body = r#"{"account":"a:1","amount":"1.00","currency":"EUR","expires_at":"tomorrow"}"#;
            ask(&router, "POST", "/v1/books/1/holds").key(ADMIN).idempotent("k").body(body)
        }
        Code::ZoneUnknown => {
            let (router, _) = scripted(Vec::new());
            let body = r#"{"zone":"Europe/Atlantis","version":1,"first_day":"2026-01-01"}"#;
            ask(&router, "POST", "/v1/books/1/calendar").key(ADMIN).idempotent("k").body(body)
        }
        Code::CommandNotFound => get("/commands/0190a5d4-7c1e-7000-8000-000000000001"),
        Code::MethodNotAllowed => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "DELETE", "/v1/books/1/accounts/a:1").key(ADMIN)
        }
        Code::RequestTimeout => with_body(Body::new(Silence)),
        Code::AccountExists => transfer(rejected(Rejection::AccountExists { account })),
        Code::BodyTooLarge => with_body("x".repeat(256 * 1024 + 1)),
        Code::UnsupportedMediaType => with_body(TRANSFER).header("content-type", "text/plain"),
        Code::IdempotencyConflict => {
            transfer(Script::Answer(Answer::Conflict { field: "amount", sequence: Sequence(7) }))
        }
        Code::AmountNotPositive => with_field("amount", "0"),
        Code::AmountTooPrecise => with_field("amount", "0.001"),
        Code::AmountNotANumber => with_field("amount", "1e2"),
        Code::AmountTooLarge => with_field("amount", "99999999999999999999999999"),
        Code::CurrencyUnknown => with_field("currency", "XXX"),
        Code::DateInvalid => with_field("effective_on", "tomorrow"),
        Code::TextInvalid => with_field("reference", "\u{7}"),
        Code::TextTooLong => with_field("reference", &"x".repeat(257)),
        Code::CardNumberInText => with_field("reference", "4111111111111111"),
        Code::PostingsOutOfBounds => transfer(rejected(Rejection::PostingsOutOfBounds { count: 1 })),
        Code::BatchOutOfBounds => {
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", "/v1/books/1/batches").key(ADMIN).body(r#"{"items":[]}"#)
        }
        Code::CommandIdRepeated => {
            let (router, _) = scripted(Vec::new());
            let item =
                r#"{"type":"transfer","idempotency_key":"k","from":"a:1","to":"b:1","amount":"1","currency":"EUR"}"#;
            let body = format!(r#"{{"linked":true,"items":[{item},{item}]}}"#);
            ask(&router, "POST", "/v1/books/1/batches").key(ADMIN).body(body)
        }
        Code::EffectiveDateOutOfRange => transfer(rejected(Rejection::EffectiveDateOutOfRange {
            earliest: CivilDate::from_ymd(1900, 1, 1).unwrap(),
            latest: CivilDate::from_ymd(2027, 11, 22).unwrap(),
        })),
        Code::AccountCodeInvalid => with_field("from", "no code"),
        Code::SameAccount => transfer(rejected(Rejection::SameAccount { account })),
        Code::AccountClosed => transfer(rejected(Rejection::AccountClosed { account })),
        Code::AccountFrozen => transfer(rejected(Rejection::AccountFrozen { account })),
        Code::AccountNotFrozen => transfer(rejected(Rejection::AccountNotFrozen { account })),
        Code::CurrencyMismatch => transfer(rejected(Rejection::CurrencyMismatch { account, account_currency: eur })),
        Code::EntryUnbalanced => {
            transfer(rejected(Rejection::EntryUnbalanced { currency: eur, debits_minor: 500, credits_minor: 499 }))
        }
        Code::AccountNotEmpty => transfer(rejected(Rejection::AccountNotEmpty { account, balance_minor: 1 })),
        Code::InsufficientFunds => {
            transfer(rejected(Rejection::InsufficientFunds { account, available_minor: 5, required_minor: 1_000 }))
        }
        Code::BalanceOverflow => transfer(rejected(Rejection::BalanceOverflow { account })),
        Code::RejectionBudgetSpent => {
            let script = vec![rejected(Rejection::AmountNotPositive)];
            let mut parts = parts(Scripted::of(script), None);
            parts.budgets = Budgets { rejections_burst: 1, rejections_per_second: 1 };
            let router = router(ApiState::new(parts));
            let asked = || ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("k").body(TRANSFER);
            asked().send().await.expect(422, "amount_not_positive");
            asked()
        }
        Code::TooManyStreams => {
            let (router, _) = scripted(Vec::new());
            let asked = || ask(&router, "GET", "/v1/books/1/events/stream").key(ADMIN);
            let mut open = Vec::new();
            for _ in 0..16 {
                let response = asked().open().await;
                assert_eq!(response.status(), 200);
                open.push(response);
            }
            let refused = asked().send().await;
            drop(open);
            return refused;
        }
        Code::JournalUnreadable => {
            // The engine says that an event is durable, and the journal has none.
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("k").body(TRANSFER).send().await.expect(201, "");
            ask(&router, "GET", "/v1/books/1/events").key(ADMIN)
        }
        Code::Internal => transfer(Script::Nothing),
        Code::EngineBusy => transfer(Script::Refuse(SubmitError::Busy { retry_after_ms: 1_001 })),
        Code::WriterStopped => transfer(Script::Refuse(SubmitError::Stopped)),
        Code::NoWriter => transfer(Script::Refuse(SubmitError::NoWriter)),
        Code::OutcomeUnknown => transfer(Script::Fault(EngineFault::Unreachable)),
        Code::ReadOnly => transfer(Script::Refuse(SubmitError::ReadOnly)),
        Code::ReadModelsOff => over_rows(None, "/accounts"),
        Code::ReadModelFailed => over_rows(Some(Arc::new(Broken)), "/accounts"),
        Code::AccessLogBusy => {
            let mut parts = parts(Scripted::of(Vec::new()), Some(Arc::new(MemoryRows::new())));
            parts.access = Some(Arc::new(common::FullLog));
            ask(&router(ApiState::new(parts)), "GET", "/v1/books/1/accounts").key(ADMIN)
        }
        Code::KeysUnavailable => return keys_unavailable().await,
        Code::ReadModelBehind => {
            // Recorded, and no read model has applied it.
            let (router, _) = scripted(Vec::new());
            ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("k").body(TRANSFER).send().await.expect(201, "");
            ask(&router, "GET", "/v1/books/1/accounts?min_sequence=1&timeout_ms=50").key(ADMIN)
        }
        Code::VerdictLate => transfer(Script::Keep),
        Code::JournalFull => transfer(Script::Fault(EngineFault::ReadOnly)),
        Code::SignatureInvalid => {
            let payer = Payer { callback: Err(CallbackFault::Signature), ..Payer::default() };
            ask(&kept_by(payer), "POST", "/v1/providers/waterworks/callback").body("{}")
        }
        Code::ProviderNotFound => ask(&kept_by(Payer::default()), "GET", "/v1/books/1/providers/gasworks").key(ADMIN),
        Code::PaymentNotFound => {
            let path = "/v1/books/1/payments/0190a5d4-7c1e-7000-8000-000000000001";
            ask(&kept_by(Payer::default()), "GET", path).key(ADMIN)
        }
        Code::ReceiptNotFound => return of_a_payment("GET", "receipt", &[]).await,
        Code::PaymentNotCancelable => return of_a_payment("POST", "cancel", &CALLED).await,
        Code::PaymentNotReversible => return of_a_payment("POST", "reverse", &[]).await,
        Code::ProviderDisabled => bill(Payer { enabled: false, ..Payer::default() }, "", ""),
        Code::ProviderCurrency => bill(Payer::default(), "EUR", "CZK"),
        Code::ProviderAmountOutOfRange => bill(Payer::default(), "10.00", "0.10"),
        Code::PaymentDetailMissing => bill(Payer::default(), r#"{"number":"7"}"#, "{}"),
        Code::PaymentDetailUnknown => bill(Payer::default(), r#""7"}"#, r#""7","x":"y"}"#),
        Code::PaymentDetailInvalid => bill(Payer::default(), r#""7"}"#, r#""x"}"#),
        Code::PaymentsOff => get("/providers"),
        Code::ProviderUnavailable => bill(Payer { reaches: false, ..Payer::default() }, "", ""),
        Code::PaymentsUnavailable => {
            bill(Payer { fault: Some(PaymentsFault::Unavailable), ..Payer::default() }, "", "")
        }
    };
    asked.send().await
}

/// A router over somebody who keeps payments.
fn kept_by(payer: Payer) -> axum::Router {
    let mut parts = parts(Scripted::of(Vec::new()), None);
    parts.payments = Some(Arc::new(payer));
    router(ApiState::new(parts))
}

/// A bill in which one text stands for another.
fn bill(payer: Payer, from: &str, to: &str) -> Asked {
    let body = if from.is_empty() { BILL.to_owned() } else { BILL.replace(from, to) };
    ask(&kept_by(payer), "POST", "/v1/books/1/payments").key(ADMIN).idempotent("k").body(body)
}

const CALLED: [PaymentStep; 2] = [PaymentStep::HoldPlaced { sequence: Sequence(8) }, PaymentStep::ProviderCalled];

/// What is asked of a payment that took these steps.
async fn of_a_payment(method: &str, what: &str, steps: &[PaymentStep]) -> Answered {
    let payer = Arc::new(Payer::default());
    let mut parts = parts(Scripted::of(Vec::new()), None);
    parts.payments = Some(Arc::<Payer>::clone(&payer));
    let router = router(ApiState::new(parts));
    let post = ask(&router, "POST", "/v1/books/1/payments").key(ADMIN).idempotent("k").body(BILL);
    let asked = post.send().await;
    let id = asked.expect(202, "").body["payment"].as_str().unwrap().to_owned();
    for step in steps {
        let payment = payer.step(id.parse().unwrap(), step.clone()).await.unwrap();
        payer.payments.lock().unwrap().insert(0, payment);
    }
    ask(&router, method, &format!("/v1/books/1/payments/{id}/{what}")).key(ADMIN).send().await
}

/// Keys that were fine when the server started and can't be read now.
async fn keys_unavailable() -> Answered {
    let mut parts = parts(Scripted::of(Vec::new()), None);
    let ring = KeyRing::of(&common::keys());
    parts.keys = ring.clone();
    let router = router(ApiState::new(parts));
    let asked = || ask(&router, "POST", TRANSFERS).key(ADMIN).idempotent("k").body(TRANSFER);
    asked().send().await.expect(201, "");
    ring.shut(KeyFault::Unavailable("a lost connection".into()));
    asked().send().await
}

/// A body in pieces, which may fail.
struct Pieces(std::vec::IntoIter<Result<Bytes, std::io::Error>>);

impl axum::body::HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Ready(self.0.next().map(|piece| piece.map(hyper::body::Frame::data)))
    }
}

/// A body that never comes.
struct Silence;

impl axum::body::HttpBody for Silence {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn every_code_can_be_brought_about() {
    for &code in Code::ALL {
        let answered = provoke(code).await;
        answered.expect(code.status().as_u16(), code.code());
        assert_eq!(answered.body["type"], format!("urn:doppia:problem:{}", code.code()));
        assert_eq!(answered.body["title"], code.title());
        assert_eq!(answered.body["status"], code.status().as_u16());
        assert_eq!(answered.header("x-content-type-options"), "nosniff");
        assert_eq!(answered.header("cache-control"), "no-store");
        let text = answered.body.to_string();
        assert!(!text.contains("secret") && !text.contains("nobody outside"), "{text}");
        if code.status().is_server_error() && code != Code::ReadModelBehind {
            assert!(answered.body.get("detail").is_none(), "a fault says nothing of the inside: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_may_try_again_is_told_when() {
    for (code, seconds) in [
        (Code::EngineBusy, "2"),
        (Code::RejectionBudgetSpent, "1"),
        (Code::WriterStopped, "5"),
        (Code::ReadModelBehind, "1"),
        (Code::TooManyStreams, "5"),
        (Code::AccessLogBusy, "1"),
        (Code::InsufficientFunds, ""),
        (Code::JournalFull, ""),
    ] {
        assert_eq!(provoke(code).await.header("retry-after"), seconds, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_goes_down_is_a_stopped_one() {
    for script in [Script::Drop, Script::Fault(EngineFault::Stopped)] {
        transfer(script).send().await.expect(503, "writer_stopped");
    }
    for (script, status, code) in [
        (Script::Drop, 503, "writer_stopped"),
        (Script::Refuse(SubmitError::Busy { retry_after_ms: 1 }), 503, "engine_busy"),
        (Script::Found(None), 404, "command_not_found"),
    ] {
        let (router, _) = scripted(vec![script]);
        let path = "/v1/books/1/commands/0190a5d4-7c1e-7000-8000-000000000001";
        ask(&router, "GET", path).key(ADMIN).send().await.expect(status, code);
    }
}

#[tokio::test]
async fn a_budget_counts_what_is_newly_on_record() {
    let refusal = |replayed| {
        let verdict = Verdict::Rejected(Rejection::AmountNotPositive);
        Script::Answer(Answer::Recorded { verdict, sequence: Sequence(7), recorded_at: NOON, replayed })
    };
    let script = vec![refusal(true), refusal(true), refusal(false), refusal(true), refusal(false)];
    let sink = Scripted::of(script);
    let mut parts = parts(Arc::<Scripted>::clone(&sink), Some(Arc::new(MemoryRows::new())));
    parts.budgets = Budgets { rejections_burst: 2, rejections_per_second: 0 };
    let router = router(ApiState::new(parts));
    let post = |letter: char| ask(&router, "POST", TRANSFERS).key(letter).idempotent("k").body(TRANSFER).send();
    for _ in 0..5 {
        post(ADMIN).await.expect(422, "amount_not_positive");
    }
    post(ADMIN).await.expect(429, "rejection_budget_spent");
    assert_eq!(sink.given.lock().unwrap().len(), 5, "the engine did not see the sixth");
    post(common::WRITER).await.expect(201, "");
}

#[tokio::test]
async fn request_ids_come_back() {
    let own = get("/accounts").header("x-request-id", "trace-7").send().await;
    assert_eq!(own.header("x-request-id"), "trace-7");
    for bad in ["", "with space", &"x".repeat(129)] {
        let answered = get("/accounts").header("x-request-id", bad).send().await;
        assert_ne!(answered.header("x-request-id"), bad, "{bad:?} is not passed on");
        assert_ne!(answered.header("x-request-id"), "");
    }
}

#[tokio::test(start_paused = true)]
async fn documents() {
    insta::assert_json_snapshot!(provoke(Code::AmountTooPrecise).await.body, @r##"
    {
      "code": "amount_too_precise",
      "detail": "\"0.001\" has more than the 2 decimals of EUR",
      "errors": [
        {
          "detail": "\"0.001\" has more than the 2 decimals of EUR",
          "pointer": "#/amount"
        }
      ],
      "status": 422,
      "title": "The amount has too many decimals",
      "type": "urn:doppia:problem:amount_too_precise"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::UnknownField).await.body, @r##"
    {
      "code": "unknown_field",
      "detail": "the field limit is not known",
      "errors": [
        {
          "detail": "the field limit is not known",
          "pointer": "#/limit"
        }
      ],
      "status": 400,
      "title": "The body has an unknown field",
      "type": "urn:doppia:problem:unknown_field"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::InsufficientFunds).await.body, @r##"
    {
      "code": "insufficient_funds",
      "command_id": "da3cfe0b-6f7e-8e03-b285-cc9ad657a5b0",
      "detail": "10.00 EUR are required and 0.05 EUR are available",
      "errors": [
        {
          "detail": "10.00 EUR are required and 0.05 EUR are available",
          "pointer": "#/amount"
        }
      ],
      "observed": {
        "account": "00000000-0000-0000-0000-000000000acc",
        "available_minor": "5",
        "required_minor": "1000"
      },
      "recorded_at": "2026-11-21T12:00:00.000000Z",
      "sequence": 7,
      "status": 422,
      "title": "The account has insufficient funds",
      "type": "urn:doppia:problem:insufficient_funds"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::IdempotencyConflict).await.body, @r##"
    {
      "code": "idempotency_conflict",
      "command_id": "da3cfe0b-6f7e-8e03-b285-cc9ad657a5b0",
      "errors": [
        {
          "detail": "amount differs from the earlier command",
          "pointer": "#/amount"
        }
      ],
      "sequence": 7,
      "status": 422,
      "title": "The same key was used for another request",
      "type": "urn:doppia:problem:idempotency_conflict"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::EffectiveDateOutOfRange).await.body, @r##"
    {
      "code": "effective_date_out_of_range",
      "command_id": "da3cfe0b-6f7e-8e03-b285-cc9ad657a5b0",
      "detail": "dates from 1900-01-01 to 2027-11-22 are open",
      "errors": [
        {
          "detail": "dates from 1900-01-01 to 2027-11-22 are open",
          "pointer": "#/effective_on"
        }
      ],
      "observed": {
        "earliest": "1900-01-01",
        "latest": "2027-11-22"
      },
      "recorded_at": "2026-11-21T12:00:00.000000Z",
      "sequence": 7,
      "status": 422,
      "title": "The effective date is out of range",
      "type": "urn:doppia:problem:effective_date_out_of_range"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::EntryUnbalanced).await.body, @r##"
    {
      "code": "entry_unbalanced",
      "command_id": "da3cfe0b-6f7e-8e03-b285-cc9ad657a5b0",
      "detail": "debits are 5.00 EUR and credits are 4.99 EUR",
      "errors": [
        {
          "detail": "debits are 5.00 EUR and credits are 4.99 EUR",
          "pointer": "#/postings"
        }
      ],
      "observed": {
        "credits_minor": "499",
        "currency": {
          "code": "EUR",
          "exponent": 2
        },
        "debits_minor": "500"
      },
      "recorded_at": "2026-11-21T12:00:00.000000Z",
      "sequence": 7,
      "status": 422,
      "title": "Debits and credits differ",
      "type": "urn:doppia:problem:entry_unbalanced"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::Unauthorized).await.body, @r##"
    {
      "code": "unauthorized",
      "status": 401,
      "title": "A valid API key is required",
      "type": "urn:doppia:problem:unauthorized"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::ReadModelBehind).await.body, @r##"
    {
      "code": "read_model_behind",
      "detail": "the read models are at sequence 0",
      "status": 504,
      "title": "The read models have not reached that sequence yet",
      "type": "urn:doppia:problem:read_model_behind"
    }
    "##);
    insta::assert_json_snapshot!(provoke(Code::EngineBusy).await.body, @r##"
    {
      "code": "engine_busy",
      "status": 503,
      "title": "The ledger is busy: try again",
      "type": "urn:doppia:problem:engine_busy"
    }
    "##);
}

//! The types that the document describes requests and answers with.
//!
//! Some are placeholders. The document takes the schemas of ids, dates and whatever else events have from the events' own
//! types, so that they mean the same in a request, an answer and an event; and those of batches from `batch.rs`. The others are texts as the API reads them, each
//! with the bounds that it is held to.

use std::borrow::Cow;
use std::sync::LazyLock;

use event_schemas::bounds::{
    CODE_MAX_BYTES, IDEMPOTENCY_KEY_MAX_BYTES, OWNER_MAX_BYTES, PROVIDER_FIELDS_MAX, RATE_NAME_MAX_BYTES,
    TEXT_MAX_BYTES, VERSION_MAX,
};
use event_schemas::command::AccountKind as EventAccountKind;
use event_schemas::control::{FieldKind as FieldKinds, ProviderCategory as ProviderCategories};
use event_schemas::fees::FeeKind as FeeKinds;
use event_schemas::limits::LimitWindow as LimitWindows;
use event_schemas::notices::{NoticeChannel as NoticeChannels, NoticeTopic as NoticeTopics};
use event_schemas::rates::FixedSide as FixedSides;
use event_schemas::{Currency, EntryKind, EventBody, RecordedEvent as WholeEvent, Side as EventSide};
use ledger_core::control::payments::Status as PaymentStatuses;
use projections::audit::ACT_TYPES;
use projections::audit::rows::ActCause as ActCauses;
use projections::balances::{AccountStatus as AccountStatuses, HoldStatus as HoldStatuses};
use projections::notifications::{NoticeState as NoticeStates, Template};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::amounts::AMOUNT_TEXT_MAX_BYTES;
use crate::problem::Code;

/// Adds a type's schema to a list, by name.
fn add<T: ToSchema>(list: &mut Vec<(String, RefOr<Schema>)>) {
    list.push((T::name().into_owned(), T::schema()));
}

macro_rules! types {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)*) => {
        $(
            $(#[doc = $doc])+
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let builder: ObjectBuilder = $schema;
                    builder.description(Some(concat!($($doc),+).trim())).build().into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )*

        /// Every type of the table, by name.
        pub(crate) fn all() -> Vec<(String, RefOr<Schema>)> {
            let mut list = Vec::new();
            $(add::<$name>(&mut list);)*
            list
        }
    };
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

/// One of these words.
fn words(words: impl IntoIterator<Item = &'static str>) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// The codes that are taken: all texts of three capital letters that read as a currency.
fn known_currencies() -> Vec<String> {
    static KNOWN: LazyLock<Vec<String>> = LazyLock::new(|| {
        let letters = || 'A'..='Z';
        let codes =
            letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c]))));
        codes.filter(|code| code.parse::<Currency>().is_ok()).collect()
    });
    KNOWN.clone()
}

/// A placeholder.
fn described_elsewhere() -> ObjectBuilder {
    ObjectBuilder::new()
}

types! {
    /// The number of a book.
    BookId = described_elsewhere();
    /// The position of an event in its book's journal.
    Sequence = described_elsewhere();
    /// An account's id.
    AccountId = described_elsewhere();
    /// The id of a command, of its verdict, and of the hold or entry it made.
    CommandId = described_elsewhere();
    /// Who gave a command.
    PrincipalId = described_elsewhere();
    /// A calendar date.
    CivilDate = described_elsewhere();
    /// A point in time.
    Timestamp = described_elsewhere();
    /// What an account is to the house.
    AccountKind = described_elsewhere();
    /// The side of a posting.
    Side = described_elsewhere();
    /// An event as it is recorded.
    RecordedEvent = described_elsewhere();
    /// An account, by its UUID or by its code.
    AccountRef = text().pattern(Some(CODE_PATTERN)).examples(["anna:eur"]);
    /// A code for an account: unique in its book. What reads as a UUID is refused.
    AccountCode = text().pattern(Some(CODE_PATTERN)).max_length(Some(CODE_MAX_BYTES)).examples(["anna:eur"]);
    /// A decimal above zero, with no more decimals than the currency has. At most 10^24 minor units.
    PositiveAmount = text().pattern(Some(AMOUNT_PATTERN)).max_length(Some(AMOUNT_TEXT_MAX_BYTES)).examples(["12.34"]);
    /// A decimal of zero or above, with no more decimals than the currency has. At most 10^24 minor units.
    NotNegativeAmount = text().pattern(Some(AMOUNT_PATTERN)).max_length(Some(AMOUNT_TEXT_MAX_BYTES)).examples(["0.50"]);
    /// How far the balance may fall below zero: a decimal of zero or above, or `unlimited`.
    Overdraft = text()
        .pattern(Some(r"^(unlimited|[0-9]+(\.[0-9]+)?)$"))
        .max_length(Some(AMOUNT_TEXT_MAX_BYTES))
        .examples(["0.00", "unlimited"]);
    /// A decimal with exactly the decimals of its currency.
    Amount = text().pattern(Some(r"^-?(0|[1-9][0-9]{0,38})(\.[0-9]{1,4})?$")).examples(["12.34"]);
    /// A rate: a decimal above zero, as a source quotes it.
    RateText = text().pattern(Some(r"^[0-9]+(\.[0-9]+)?$")).max_length(Some(64)).examples(["0.92345"]);
    /// A name of a source of rates, or of a tier of customers: at most 32 bytes of UTF-8.
    RateName = text().max_length(Some(RATE_NAME_MAX_BYTES)).examples(["ecb"]);
    /// A quote; opaque.
    QuoteText = text().pattern(Some("^[A-Za-z0-9_-]+$")).max_length(Some(crate::fx::TOKEN_MAX_BYTES));
    /// Which of two amounts was named.
    FixedSide = words([FixedSides::Sold.name(), FixedSides::Bought.name()]);
    /// A currency of ISO 4217 that has a minor unit.
    KnownCurrency = text().enum_values(Some(known_currencies())).examples(["EUR"]);
    /// The code of a currency: of ISO 4217 as it was when the account was opened.
    CurrencyCode = text().pattern(Some("^[A-Z]{3}$")).examples(["EUR"]);
    /// Free text: at most 256 bytes of UTF-8, without control characters and without what looks like a card number.
    FreeText = text().max_length(Some(TEXT_MAX_BYTES));
    /// Who owns an account: at most 64 bytes of UTF-8, without control characters. Keys of a customer see the accounts that
    /// this names them as the owner of.
    Owner = text().max_length(Some(OWNER_MAX_BYTES)).examples(["client:anna"]);
    /// The identity of a command: bare, or as a structured-field string.
    IdempotencyKeyText = text()
        .pattern(Some(r#"^([!#-~]{1,256}|"([ !#-\[\]-~]|\\["\\]){1,256}")$"#))
        .max_length(Some(2 + 2 * IDEMPOTENCY_KEY_MAX_BYTES))
        .examples(["8e03978e-40d5-43e8-bc93-6894a57f9324"]);
    /// Always true.
    Yes = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Boolean)).enum_values(Some([true]));
    /// The version of a setting: above that of the one before.
    Version = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(1_u64))
        .maximum(Some(VERSION_MAX));
    /// A customer: the owner of accounts.
    Customer = text().min_length(Some(1)).max_length(Some(OWNER_MAX_BYTES)).examples(["client:anna"]);
    /// A time zone of the IANA database.
    ZoneName = text().max_length(Some(TEXT_MAX_BYTES)).examples(["Europe/Berlin"]);
    /// Where a page of this very query begins; opaque.
    Cursor = text().pattern(Some("^[A-Za-z0-9_-]+$")).max_length(Some(crate::cursor::TEXT_MAX_BYTES));
    /// The type of an event, with its version.
    EventType = words(EventBody::TYPE_NAMES);
    /// Whether an account takes postings.
    AccountStatus = words([AccountStatuses::Open.name(), AccountStatuses::Frozen.name(), AccountStatuses::Closed.name()]);
    /// How a hold stands.
    HoldStatus = words(
        [HoldStatuses::Open, HoldStatuses::Captured, HoldStatuses::Voided, HoldStatuses::Expired].map(HoldStatuses::name),
    );
    /// What made an entry.
    EntryOrigin = words(EntryKind::ALL.map(EntryKind::name).into_iter().chain(["capture", "reversal", "conversion"]));
    /// Whether the book takes commands.
    WriterState = words(["serving", "read_only", "stopped"]);
    /// The verdict of a command.
    Verdict = words(["accepted", "rejected"]);
    /// A window of a limit.
    LimitWindow = words([LimitWindows::PerTransfer, LimitWindows::Day, LimitWindows::Month].map(LimitWindows::name));
    /// A kind of move that a fee rule is for.
    FeeKind = words(FeeKinds::ALL.map(FeeKinds::name));
    /// What a customer can be told of.
    NoticeTopic = words(NoticeTopics::ALL.map(NoticeTopics::name));
    /// A way to tell a customer something.
    NoticeChannel = words(NoticeChannels::ALL.map(NoticeChannels::name));
    /// What is told: it names the text, which is put into words when it is sent.
    NoticeTemplate = words(Template::ALL.map(Template::name));
    /// What became of a notice.
    NoticeState = words(NoticeStates::ALL.map(NoticeStates::name));
    /// What was asked, as commands are named, or done by the engine or an operator.
    ActType = words(ACT_TYPES);
    /// Why an act happened: a command's verdict, something that had to come before it, or the engine itself.
    ActCause = words([ActCauses::Verdict, ActCauses::Consequence, ActCauses::Engine].map(ActCauses::name));
    /// A provider of bill payments.
    ProviderId = text().pattern(Some("^[a-z0-9-]{1,32}$")).examples(["waterworks"]);
    /// What a provider is paid for.
    ProviderCategory = words(ProviderCategories::ALL.map(ProviderCategories::name));
    /// Which texts a field takes, before its lengths and its pattern are looked at.
    ProviderFieldKind = words(FieldKinds::ALL.map(FieldKinds::name));
    /// How far a payment is.
    PaymentStatus = words(PaymentStatuses::ALL.map(PaymentStatuses::name));
    /// What a provider asks for: the names and texts of its fields.
    PaymentDetails = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .additional_properties(Some(text().max_length(Some(TEXT_MAX_BYTES))))
        .max_properties(Some(PROVIDER_FIELDS_MAX));
    /// The event of a verdict.
    VerdictEvent = described_elsewhere();
    /// One command of a batch.
    BatchItem = described_elsewhere();
    /// The verdict of one command of a batch.
    BatchResult = described_elsewhere();
    /// The stable code of a problem.
    ProblemCode = words(Code::ALL.iter().map(|code| code.code()));
}

const CODE_PATTERN: &str = "^[A-Za-z0-9:._-]{1,64}$";
const AMOUNT_PATTERN: &str = r"^[0-9]+(\.[0-9]+)?$";

/// The schemas of events and of all they are made of, by name, as their own types describe them.
pub(crate) fn of_recorded_events() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.into_generator();
    let _: [schemars::Schema; 3] = [
        generator.subschema_for::<WholeEvent>(),
        generator.subschema_for::<EventAccountKind>(),
        generator.subschema_for::<EventSide>(),
    ];
    generator.take_definitions(true)
}

//! Every bound of the product, in one file. A bound is part of the rules: loosening one is a new rules version where
//! `decide` looks at it.

/// The largest absolute amount of money, in minor units: 10^24.
pub const AMOUNT_MAX_MINOR: i128 = 1_000_000_000_000_000_000_000_000;

/// The largest total an account's debits or credits may reach, in minor units: 10^36, far below `i128::MAX`.
pub const TOTAL_MAX_MINOR: i128 = 1_000_000_000_000_000_000_000_000_000_000_000_000;

/// The fewest postings of an entry.
pub const POSTINGS_MIN: usize = 2;

/// The most postings of an entry. With ids, currency and amount each takes at most 40 bytes, so an entry stays below 41 KiB.
pub const POSTINGS_MAX: usize = 1_000;

/// The longest free text of a command (reference, reason), in bytes of UTF-8.
pub const TEXT_MAX_BYTES: usize = 256;

/// The longest account code, in bytes.
pub const CODE_MAX_BYTES: usize = 64;

/// The longest owner reference, in bytes.
pub const OWNER_MAX_BYTES: usize = 64;

/// The most bytes of a block in canonical form, header included: 900 KiB, below Kafka's default message limit of 1 MiB.
pub const BLOCK_MAX_BYTES: usize = 900 * 1024;

/// The most bytes of one event in canonical form.
pub const EVENT_MAX_BYTES: usize = 64 * 1024;

/// The most events that one command causes: its verdict, the system accounts it opens (clearing and fee; of a conversion two
/// positions, margin and rounding), and what it charges to a limit or gives back.
pub const EVENTS_PER_COMMAND_MAX: usize = 6;

/// The most commands handed to the engine in one submission.
pub const BATCH_MAX_COMMANDS: usize = 8_190;

/// The most commands that wait for the engine before it answers "busy".
pub const QUEUE_MAX_COMMANDS: usize = 65_536;

/// The most bytes of events that what waits for the engine may cause, before it answers "busy".
pub const QUEUE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// The most commands decided before one flush.
pub const GROUP_MAX_COMMANDS: usize = 16_384;

/// A `StateDigest` closes the block that crosses a multiple of this many events.
pub const DIGEST_EVERY_EVENTS: u64 = 65_536;

/// The earliest `effective_on`, in days from 1970-01-01: 1900-01-01.
pub const EFFECTIVE_EARLIEST_DAYS: i32 = -25_567;

/// How many days after the day of recording `effective_on` may lie.
pub const EFFECTIVE_AHEAD_MAX_DAYS: i32 = 366;

/// The most holds that are open in a book.
pub const HOLDS_OPEN_MAX: usize = 1_000_000;

/// How far after the time of recording the deadline of a hold may lie, in days.
pub const HOLD_EXPIRES_AHEAD_MAX_DAYS: i64 = 400;

/// The most holds that expire at the start of one block; the next block goes on.
pub const EXPIRIES_PER_BLOCK_MAX: usize = 1_024;

/// The most days that a calendar lists.
pub const CALENDAR_DAYS_MAX: usize = 800;

/// The highest rate of a fee, in millionths of the amount: all of it.
pub const FEE_RATE_MAX_PPM: u32 = 1_000_000;

/// The most significant digits of a rate.
pub const RATE_DIGITS_MAX: u32 = 14;

/// The most decimals of a rate.
pub const RATE_SCALE_MAX: u8 = 14;

/// The most rates of a rate sheet.
pub const SHEET_RATES_MAX: usize = 256;

/// The most margin rules of a rate sheet.
pub const MARGIN_RULES_MAX: usize = 256;

/// The highest margin, in millionths of the mid: a half.
pub const MARGIN_MAX_PPM: u32 = 500_000;

/// The longest name of a source of rates, or of a tier of customers, in bytes.
pub const RATE_NAME_MAX_BYTES: usize = 32;

/// How many rate sheets the book keeps at hand, the newest: quotes of an older one are refused.
pub const RATE_SHEETS_KEPT: usize = 16;

/// How far after the time of recording a rate sheet may end, in days.
pub const SHEET_VALID_MAX_DAYS: i64 = 366;

/// The longest that a quote may last, in seconds.
pub const QUOTE_SECONDS_MAX: u32 = 3_600;

/// The highest version of limits, calendars, fee rules and preferences that the API takes: 2^53 - 1, up to which readers of JSON
/// keep whole numbers exact, and far from where no version could follow.
pub const VERSION_MAX: u64 = 9_007_199_254_740_991;

/// The most bytes of an HTTP request body.
pub const BODY_MAX_BYTES: usize = 256 * 1024;

/// The most bytes of an HTTP request body that holds a batch.
pub const BATCH_BODY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The most rows on a page of a query.
pub const PAGE_MAX_ROWS: usize = 1_000;

/// The most events that one page of events, or one chunk of a stream of them, looks at to find those that a filter takes.
pub const EVENT_SCAN_MAX: u64 = 65_536;

/// The number of bytes of JSON from which on a page of events is full; an event more may begin below it.
pub const EVENT_PAGE_FULL_BYTES: usize = 4 * 1024 * 1024;

/// The most streams of events that a server has open.
pub const EVENT_STREAMS_MAX: usize = 64;

/// The most streams of events that a principal has open, so that nobody takes them all.
pub const EVENT_STREAMS_PER_PRINCIPAL_MAX: usize = 16;

/// The number of bytes from which on a chunk of a stream of events is full; a stream keeps at most four chunks.
pub const EVENT_CHUNK_FULL_BYTES: usize = 64 * 1024;

/// The longest `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 256;

/// The longest that a query waits for `min_sequence`, in milliseconds.
pub const MIN_SEQUENCE_WAIT_MAX_MS: u64 = 30_000;

/// The most keys of the API that one holder has in force.
pub const KEYS_PER_HOLDER_MAX: usize = 1_000;

/// How far the wall clock may run ahead of the monotonic clock before the writer stops, in microseconds.
pub const CLOCK_AHEAD_MAX_US: i64 = 5_000_000;

/// How far the wall clock may lie ahead of the newest `recorded_at` at start without `--accept-clock`, in days.
pub const CLOCK_JUMP_MAX_DAYS: i64 = 400;

/// The most fields that a provider of bill payments asks for.
pub const PROVIDER_FIELDS_MAX: usize = 16;

/// The most currencies that a provider of bill payments takes.
pub const PROVIDER_TERMS_MAX: usize = 16;

/// The longest id of a provider, in bytes.
pub const PROVIDER_ID_MAX_BYTES: usize = 32;

/// The most contradictions of a provider that are recorded of one payment.
pub const PAYMENT_CONTRADICTIONS_MAX: u32 = 16;

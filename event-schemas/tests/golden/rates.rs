//! Rate sheets and conversions.

use event_schemas::event::{ConversionPosted, PublishRateSheet};
use event_schemas::rates::{ConvertFunds, FixedSide, MarginRule, QuotedRate, Rate, SheetPart};
use event_schemas::{AccountId, Cause, CommandBody, Currency, EventBody, Money, Posting, Rejection, Timestamp};

use super::{ANN, BOB, FEES, VERDICT, date, eur, rejected};

const POSITION_USD: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_0010);
const POSITION_EUR: AccountId = AccountId(0x0192_0000_0000_7000_8000_0000_0000_0011);

fn usd(minor: i128) -> Money {
    Money::new(minor, Currency::from_parts(*b"USD", 2).unwrap())
}

fn sheet() -> PublishRateSheet {
    let (eur, usd) = (eur(0).currency, usd(0).currency);
    let jpy = Currency::from_parts(*b"JPY", 0).unwrap();
    PublishRateSheet {
        version: 7,
        pivot: eur,
        source: "ecb".into(),
        quoted_on: date("2026-10-30"),
        fetched_at: Timestamp(1_793_376_000_000_000),
        valid_until: Timestamp(1_793_635_200_000_000),
        quote_seconds: 30,
        rates: vec![
            QuotedRate { currency: jpy, per_pivot: "178.53".parse().unwrap() },
            QuotedRate { currency: usd, per_pivot: "1.0829".parse().unwrap() },
        ],
        margins: vec![
            MarginRule { tier: Some("gold".into()), sold: Some(usd), bought: Some(eur), margin_ppm: 2_500 },
            MarginRule::for_all(10_000),
        ],
    }
}

fn convert() -> ConvertFunds {
    ConvertFunds {
        from: ANN,
        to: BOB,
        owner: "client:1".into(),
        fixed: FixedSide::Sold,
        sold: usd(10_000),
        bought: eur(9_142),
        tier: "".into(),
        sheet: 7,
        expires_at: Timestamp(1_793_376_030_000_000),
        reference: "holiday".into(),
    }
}

pub(super) fn cases() -> Vec<(&'static str, Cause, EventBody)> {
    let posted = ConversionPosted {
        owner: "client:1".into(),
        fixed: FixedSide::Sold,
        tier: "".into(),
        sheet: 7,
        source: "ecb".into(),
        quoted_on: date("2026-10-30"),
        sold_per_pivot: "1.0829".parse().unwrap(),
        bought_per_pivot: Rate::ONE,
        margin_ppm: 10_000,
        margin_minor: 92,
        rounding_minor: 0,
        expires_at: Timestamp(1_793_376_030_000_000),
        effective_on: date("2026-10-30"),
        reference: "holiday".into(),
        postings: vec![
            Posting::debit(ANN, usd(10_000)),
            Posting::credit(BOB, eur(9_142)),
            Posting::credit(POSITION_USD, usd(10_000)),
            Posting::debit(POSITION_EUR, eur(9_234)),
            Posting::credit(FEES, eur(92)),
        ]
        .into(),
    };
    let bought = ConversionPosted {
        fixed: FixedSide::Bought,
        rounding_minor: -1,
        sold_per_pivot: "99999999999999".parse().unwrap(),
        bought_per_pivot: "0.00000000000001".parse().unwrap(),
        tier: "gold".into(),
        ..posted.clone()
    };
    let mut cases = vec![
        ("rate_sheet_published", VERDICT, EventBody::RateSheetPublished(sheet())),
        ("conversion_posted", VERDICT, EventBody::ConversionPosted(Box::new(posted))),
        ("conversion_posted_amount_bought_fixed", VERDICT, EventBody::ConversionPosted(Box::new(bought))),
    ];
    let publish = || CommandBody::PublishRateSheet(sheet());
    let convert = || CommandBody::ConvertFunds(convert());
    let time = Timestamp(1_793_376_030_000_000);
    let refusals = [
        ("rate_sheet_invalid", publish(), Rejection::RateSheetInvalid { part: SheetPart::Margins }),
        ("rate_sheet_not_newer", publish(), Rejection::VersionNotNewer { applied: 7 }),
        ("same_currency", convert(), Rejection::SameCurrency { currency: eur(0).currency }),
        ("rate_sheet_not_found", convert(), Rejection::RateSheetNotFound { newest: 8 }),
        ("rate_sheet_stale", convert(), Rejection::RateSheetStale { valid_until: time }),
        ("rate_not_found", convert(), Rejection::RateNotFound { currency: usd(0).currency }),
        ("quote_expired", convert(), Rejection::QuoteExpired { expires_at: time }),
        ("converted_amount_zero", convert(), Rejection::ConvertedAmountZero),
        ("quote_mismatch", convert(), Rejection::QuoteMismatch { sold_minor: 10_000, bought_minor: 9_141 }),
        ("quote_of_another", convert(), Rejection::QuoteOfAnother { account: ANN }),
    ];
    cases.extend(refusals.map(|(name, command, rejection)| (name, VERDICT, rejected(command, rejection))));
    cases
}

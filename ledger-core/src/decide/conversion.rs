//! Rate sheets, and conversions by them.
//!
//! A conversion says what its quote promised: both amounts, the sheet's version, the tier, the owner, until when. All of it is
//! worked out again here from the sheet of that version, one of the sixteen newest, which the state keeps at hand, and what differs is
//! refused. So nobody has to trust who made the quote, a replay needs nothing but the journal, and an auditor can do the same
//! sum. The alternative, to believe the mid that a command names, would make the key that signs quotes a key to the safe.
//!
//! What is sold counts towards the customer's limits, also between accounts of one owner: money leaves its currency.

use event_schemas::bounds::{
    MARGIN_MAX_PPM, MARGIN_RULES_MAX, QUOTE_SECONDS_MAX, RATE_NAME_MAX_BYTES, SHEET_RATES_MAX, SHEET_VALID_MAX_DAYS,
};
use event_schemas::event::ConversionPosted;
use event_schemas::rates::{ConvertFunds, FixedSide, MarginRule, PublishRateSheet, SheetPart};
use event_schemas::sabotage::{Switch, on};
use event_schemas::{AccountId, CustomerId, EventBody, Money, Posting, Postings, Rejection, Timestamp};
use smallvec::smallvec;

use super::limits::{Leaving, charge};
use super::postings::{amount_rejection, check_accounts, check_funds, two_sides};
use super::settings::newer;
use super::system::{SystemRole, system_account};
use super::{Before, Context};
use crate::fx::{Amounts, Price};
use crate::state::State;

const DAY_US: i64 = 86_400_000_000;

pub(super) fn publish(state: &State, context: Context<'_>, sheet: &PublishRateSheet) -> Result<EventBody, Rejection> {
    newer(sheet.version, state.newest_rate_sheet().map_or(0, |sheet| sheet.version))?;
    match wrong_part(context.recorded_at, sheet) {
        Some(part) => Err(Rejection::RateSheetInvalid { part }),
        None => Ok(EventBody::RateSheetPublished(sheet.clone())),
    }
}

/// The first part of a sheet that can't be.
fn wrong_part(now: Timestamp, sheet: &PublishRateSheet) -> Option<SheetPart> {
    let ordered = sheet.rates.iter().zip(sheet.rates.iter().skip(1)).all(|(one, next)| one.currency < next.currency);
    let no_pivot = sheet.rates.iter().all(|rate| rate.currency != sheet.pivot);
    if !ordered || !no_pivot || sheet.rates.is_empty() || sheet.rates.len() > SHEET_RATES_MAX {
        return Some(SheetPart::Rates);
    }
    let sound = |rule: &MarginRule| {
        rule.margin_ppm <= MARGIN_MAX_PPM && rule.tier.as_ref().is_none_or(|tier| tier.len() <= RATE_NAME_MAX_BYTES)
    };
    let last_fits_all =
        sheet.margins.last().is_some_and(|rule| rule.tier.is_none() && rule.sold.is_none() && rule.bought.is_none());
    if !last_fits_all || !sheet.margins.iter().all(sound) || sheet.margins.len() > MARGIN_RULES_MAX {
        return Some(SheetPart::Margins);
    }
    let latest = now.0.saturating_add(DAY_US.saturating_mul(SHEET_VALID_MAX_DAYS));
    if sheet.valid_until <= now || sheet.valid_until.0 > latest {
        return Some(SheetPart::ValidUntil);
    }
    if !(1..=QUOTE_SECONDS_MAX).contains(&sheet.quote_seconds) {
        return Some(SheetPart::QuoteSeconds);
    }
    (sheet.source.is_empty() || sheet.source.len() > RATE_NAME_MAX_BYTES).then_some(SheetPart::Source)
}

pub(super) fn convert(
    state: &State,
    context: Context<'_>,
    convert: &ConvertFunds,
    before: &mut Before,
) -> Result<EventBody, Rejection> {
    let amounts = [convert.sold.amount_minor, convert.bought.amount_minor];
    let worst = amounts.into_iter().filter_map(amount_rejection).min_by_key(Rejection::number);
    worst.map_or(Ok(()), Err)?;
    let (amounts, mut posted) = priced(state, context, convert)?;
    two_sides(convert.from, convert.to)?;
    posted.postings = postings(state, convert, &amounts, before);
    check_accounts(state, &posted.postings, &before.opens)?;
    check_owner(state, convert)?;
    let leaving = Leaving { from: convert.from, to: None, hold: None };
    before.limit = charge(state, context, leaving, amounts.sold_minor)?;
    check_funds(state, &posted.postings, None)?;
    Ok(EventBody::ConversionPosted(Box::new(posted)))
}

/// What a sheet makes of a conversion: the amounts, and the event without its postings.
fn priced(
    state: &State,
    context: Context<'_>,
    convert: &ConvertFunds,
) -> Result<(Amounts, ConversionPosted), Rejection> {
    let (sold, bought) = (convert.sold.currency, convert.bought.currency);
    if sold.code_bytes() == bought.code_bytes() {
        return Err(Rejection::SameCurrency { currency: sold });
    }
    let newest = state.newest_rate_sheet().map_or(0, |sheet| sheet.version);
    let sheet = state.rate_sheet(convert.sheet).ok_or(Rejection::RateSheetNotFound { newest })?;
    let now = context.recorded_at;
    if now > sheet.valid_until && !on(Switch::StaleSheetAccepted) {
        return Err(Rejection::RateSheetStale { valid_until: sheet.valid_until });
    }
    let mid = sheet.mid(sold, bought).map_err(|currency| Rejection::RateNotFound { currency })?;
    if now > convert.expires_at && !on(Switch::StaleSheetAccepted) {
        return Err(Rejection::QuoteExpired { expires_at: convert.expires_at });
    }
    let margin_ppm = sheet.margin_ppm(&convert.tier, sold, bought).unwrap_or(MARGIN_MAX_PPM);
    let named = match convert.fixed {
        FixedSide::Sold => convert.sold,
        FixedSide::Bought => convert.bought,
    };
    let amounts = Price::new(mid, sold, bought, margin_ppm).amounts(convert.fixed, named.amount_minor)?;
    let promised = (convert.sold.amount_minor, convert.bought.amount_minor);
    if promised != (amounts.sold_minor, amounts.bought_minor) {
        let Amounts { sold_minor, bought_minor, .. } = amounts;
        return Err(Rejection::QuoteMismatch { sold_minor, bought_minor });
    }
    let posted = ConversionPosted {
        owner: convert.owner.clone(),
        fixed: convert.fixed,
        tier: convert.tier.clone(),
        sheet: sheet.version,
        source: sheet.source.clone(),
        quoted_on: sheet.quoted_on,
        sold_per_pivot: mid.sold_per_pivot,
        bought_per_pivot: mid.bought_per_pivot,
        margin_ppm,
        margin_minor: amounts.margin_minor,
        rounding_minor: amounts.rounding_minor,
        expires_at: convert.expires_at,
        effective_on: now.date_utc(),
        reference: convert.reference.clone(),
        postings: Postings::new(),
    };
    Ok((amounts, posted))
}

/// See [`ConversionPosted`] for their order.
fn postings(state: &State, convert: &ConvertFunds, amounts: &Amounts, before: &mut Before) -> Postings {
    let (sold, bought) = (convert.sold.currency, convert.bought.currency);
    let other = match convert.fixed {
        FixedSide::Sold => bought,
        FixedSide::Bought => sold,
    };
    let mut own = |role, currency| system_account(state, role, currency, &mut before.opens);
    let (position_sold, position_bought) = (own(SystemRole::FxPosition, sold), own(SystemRole::FxPosition, bought));
    let mut postings: Postings = smallvec![
        Posting::debit(convert.from, convert.sold),
        Posting::credit(convert.to, convert.bought),
        Posting::credit(position_sold, Money::new(amounts.position_sold_minor, sold)),
        Posting::debit(position_bought, Money::new(amounts.position_bought_minor, bought)),
    ];
    if amounts.margin_minor > 0 {
        let margin = own(SystemRole::FxMargin, other);
        postings.push(Posting::credit(margin, Money::new(amounts.margin_minor, other)));
    }
    if amounts.rounding_minor != 0 {
        let rounding = own(SystemRole::FxRounding, other);
        let money = Money::new(amounts.rounding_minor.saturating_abs(), other);
        let post = if amounts.rounding_minor > 0 { Posting::credit } else { Posting::debit };
        postings.push(post(rounding, money));
    }
    postings
}

/// Both accounts are of the owner that the quote was made for.
fn check_owner(state: &State, convert: &ConvertFunds) -> Result<(), Rejection> {
    let owner = CustomerId::from_owner(&convert.owner);
    let of_another = |account: &AccountId| state.customer(*account) != owner && !on(Switch::StrangerActs);
    match [convert.from, convert.to].into_iter().find(of_another) {
        Some(account) => Err(Rejection::QuoteOfAnother { account }),
        None => Ok(()),
    }
}

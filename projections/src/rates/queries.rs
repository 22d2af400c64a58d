//! What is asked of the rates. Call it inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that the answer
//! names is the one it reflects.

use std::ops::ControlFlow;

use event_schemas::rates::{MarginRule, Mid, PublishRateSheet, QuotedRate, Rate};
use event_schemas::{CivilDate, Currency, Sequence};

use super::rows::{DateRow, MarginRow, QuoteRow, SheetRow};
use crate::ports::{ReadRows, RowsFault};
use crate::table::{Row as _, behind_prefix, get, put_key_date, put_key_number, scan};

/// A sheet without its rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetHead {
    /// Its version.
    pub version: u64,
    /// The rest.
    pub row: SheetRow,
}

/// A sheet, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// What was found.
    pub found: Option<T>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// The price of a pair on the newest sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The sheet.
    pub head: SheetHead,
    /// The mid, or the currency that the sheet does not have.
    pub mid: Result<Mid, Currency>,
    /// The margin, in millionths.
    pub margin_ppm: u32,
}

fn newest(rows: &dyn ReadRows) -> Result<Option<SheetHead>, RowsFault> {
    let mut newest = None;
    scan::<SheetRow>(rows, &[], None, true, &mut |version, row| {
        newest = Some(SheetHead { version, row });
        ControlFlow::Break(())
    })?;
    Ok(newest)
}

fn quote(rows: &dyn ReadRows, head: &SheetHead, currency: Currency) -> Result<Option<Rate>, RowsFault> {
    if currency == head.row.pivot {
        return Ok(Some(Rate::ONE));
    }
    Ok(get::<QuoteRow>(rows, &(head.version, currency))?.map(|row| row.per_pivot))
}

/// The newest sheet's price of a pair for a tier of customers.
pub fn pair(rows: &dyn ReadRows, tier: &str, sold: Currency, bought: Currency) -> Result<Option<Pair>, RowsFault> {
    let Some(head) = newest(rows)? else { return Ok(None) };
    let mid = match (quote(rows, &head, sold)?, quote(rows, &head, bought)?) {
        (Some(sold_per_pivot), Some(bought_per_pivot)) => Ok(Mid { sold_per_pivot, bought_per_pivot }),
        (None, _) => Err(sold),
        (_, None) => Err(bought),
    };
    let mut margin_ppm = None;
    each_margin(rows, head.version, &mut |rule| {
        if rule.fits(tier, sold, bought) {
            margin_ppm = Some(rule.margin_ppm);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    let missing = || RowsFault::Damaged { table: "rates_margins", reason: "a sheet without a margin for all".into() };
    Ok(Some(Pair { margin_ppm: margin_ppm.ok_or_else(missing)?, head, mid }))
}

fn each_margin(
    rows: &dyn ReadRows,
    version: u64,
    visit: &mut dyn FnMut(MarginRule) -> ControlFlow<()>,
) -> Result<(), RowsFault> {
    let mut prefix = Vec::new();
    put_key_number(&mut prefix, version);
    let end = behind_prefix(&prefix);
    scan::<MarginRow>(rows, &prefix, end.as_deref(), false, &mut |_, row| {
        visit(MarginRule { tier: row.tier, sold: row.sold, bought: row.bought, margin_ppm: row.margin_ppm })
    })
}

/// The sheet as it was published.
fn whole(rows: &dyn ReadRows, head: SheetHead) -> Result<(PublishRateSheet, SheetHead), RowsFault> {
    let version = head.version;
    let mut prefix = Vec::new();
    put_key_number(&mut prefix, version);
    let end = behind_prefix(&prefix);
    let mut rates = Vec::new();
    scan::<QuoteRow>(rows, &prefix, end.as_deref(), false, &mut |(_, currency), row| {
        rates.push(QuotedRate { currency, per_pivot: row.per_pivot });
        ControlFlow::Continue(())
    })?;
    rates.sort_unstable_by_key(|rate| rate.currency);
    let mut margins = Vec::new();
    each_margin(rows, version, &mut |rule| {
        margins.push(rule);
        ControlFlow::Continue(())
    })?;
    let SheetRow { pivot, ref source, quoted_on, fetched_at, valid_until, quote_seconds, .. } = head.row;
    let sheet = PublishRateSheet {
        version,
        pivot,
        source: source.clone(),
        quoted_on,
        fetched_at,
        valid_until,
        quote_seconds,
        rates,
        margins,
    };
    Ok((sheet, head))
}

/// The newest sheet.
pub fn latest(rows: &dyn ReadRows) -> Result<Found<(PublishRateSheet, SheetHead)>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let found = newest(rows)?.map(|head| whole(rows, head)).transpose()?;
    Ok(Found { found, sequence })
}

/// The sheet of a version.
pub fn sheet(rows: &dyn ReadRows, version: u64) -> Result<Found<(PublishRateSheet, SheetHead)>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let found = get::<SheetRow>(rows, &version)?.map(|row| whole(rows, SheetHead { version, row })).transpose()?;
    Ok(Found { found, sequence })
}

/// The newest of the sheets that quote for a day, or for the last day before it that any quotes for.
pub fn of_date(rows: &dyn ReadRows, date: CivilDate) -> Result<Found<(PublishRateSheet, SheetHead)>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let mut end = Vec::new();
    put_key_date(&mut end, date);
    let end = behind_prefix(&end);
    let mut version = None;
    scan::<DateRow>(rows, &[], end.as_deref(), true, &mut |(_, found), _| {
        version = Some(found);
        ControlFlow::Break(())
    })?;
    let found = match version {
        Some(version) => {
            get::<SheetRow>(rows, &version)?.map(|row| whole(rows, SheetHead { version, row })).transpose()?
        }
        None => None,
    };
    Ok(Found { found, sequence })
}

/// Sheets without their rates, the newest first, below a version.
pub fn history(rows: &dyn ReadRows, below: Option<u64>, most: usize) -> Result<Vec<SheetHead>, RowsFault> {
    let end = below.map(|version| SheetRow::key_bytes(&version));
    let mut heads = Vec::new();
    scan::<SheetRow>(rows, &[], end.as_deref(), true, &mut |version, row| {
        heads.push(SheetHead { version, row });
        if heads.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(heads)
}

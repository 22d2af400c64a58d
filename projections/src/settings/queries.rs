//! What is asked of the settings. Call it inside [`Rows::snapshot`](crate::ports::Rows::snapshot): then the sequence that the
//! answer names is the one it reflects.

use std::ops::ControlFlow;

use event_schemas::fees::FeeKind;
use event_schemas::{Currency, Sequence};

use super::rows::{CalendarRow, FeeRuleRow, PeriodRow};
use crate::ports::{ReadRows, RowsFault};
use crate::table::{get, scan};

/// A setting, if it was ever set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// What is set.
    pub set: Option<T>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// All fee rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeRules {
    /// In the order of kind and currency. At most one for each.
    pub rules: Vec<(FeeKind, Currency, FeeRuleRow)>,
    /// The sequence that this reflects.
    pub sequence: Sequence,
}

/// The fee rules. There are at most as many as kinds times currencies, so they are no pages.
pub fn fee_rules(rows: &dyn ReadRows) -> Result<FeeRules, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    let mut rules = Vec::new();
    scan::<FeeRuleRow>(rows, &[], None, false, &mut |(kind, currency), row| {
        rules.push((kind, currency, row));
        ControlFlow::Continue(())
    })?;
    Ok(FeeRules { rules, sequence })
}

/// The calendar in force.
pub fn calendar(rows: &dyn ReadRows) -> Result<Setting<CalendarRow>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    Ok(Setting { set: get(rows, &())?, sequence })
}

/// How far periods are closed.
pub fn closed_period(rows: &dyn ReadRows) -> Result<Setting<PeriodRow>, RowsFault> {
    let sequence = rows.checkpoint(super::NAME)?;
    Ok(Setting { set: get(rows, &())?, sequence })
}

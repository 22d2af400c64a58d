//! Row → request: the rules bound to the columns of one file. Pure but for one thing: it remembers which accounts were named
//! before, so that each is opened by the first row of the file that names it.

use std::collections::HashMap;
use std::sync::Arc;

use event_schemas::Side;
use event_schemas::bounds::IDEMPOTENCY_KEY_MAX_BYTES;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::amounts::AmountFormat;
use super::dates::DateFormat;
use super::read::Row;
use super::rules::{AmountColumns, Condition, CurrencyRule, EntryForm, PostingSide, Rules, RulesError, SideRule};
use super::template::{BoundTemplate, Columns, Template};

/// An account that rows name: how it is opened, and whether it was.
#[derive(Debug)]
pub(crate) struct AccountSlot {
    /// Its code.
    pub(crate) code: String,
    /// The body that opens it; `None` if it is said to exist.
    pub(crate) open: Option<Vec<u8>>,
    /// Filled once the book has answered. Workers that name the account wait for the first of them.
    pub(crate) opened: OnceCell<()>,
}

/// One request to the API.
#[derive(Debug)]
pub(crate) struct Request {
    /// Which kind: the last part of the path.
    pub(crate) path: &'static str,
    /// The row's own key.
    pub(crate) key: String,
    /// `source:key`, fit for a header.
    pub(crate) idempotency_key: String,
    /// The JSON body.
    pub(crate) body: Vec<u8>,
    /// The accounts it names; the row's own account first.
    pub(crate) accounts: Vec<Arc<AccountSlot>>,
}

/// A row that makes no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowFault {
    /// The row's key, as far as it could be read.
    pub(crate) key: String,
    /// A stable code.
    pub(crate) code: &'static str,
    /// What is wrong, for people.
    pub(crate) detail: String,
}

struct BoundCondition {
    side: Option<Side>,
    when: Vec<(usize, Vec<String>)>,
}

enum BoundForm {
    TopUp,
    Withdrawal,
    Transfer(BoundTemplate),
    Entry(BoundTemplate),
    Postings(Vec<(BoundTemplate, PostingSide, Option<usize>)>),
}

enum BoundAmount {
    One(usize),
    Two { credit: usize, debit: usize },
}

enum BoundSide {
    Column { column: usize, credit: Vec<String>, debit: Vec<String> },
    Signed { positive: Side },
    Always(Side),
    Columns,
}

enum BoundCurrency {
    Fixed(String),
    Column(usize),
}

/// The rules bound to a file.
pub(crate) struct Planner<'r> {
    rules: &'r Rules,
    key: BoundTemplate,
    account: BoundTemplate,
    date: Option<(usize, &'r DateFormat)>,
    amount: BoundAmount,
    format: AmountFormat,
    side: BoundSide,
    currency: BoundCurrency,
    reference: BoundTemplate,
    owners: Vec<Option<BoundTemplate>>,
    skips: Vec<BoundCondition>,
    templates: Vec<(BoundCondition, BoundForm, Option<BoundTemplate>)>,
    accounts: HashMap<String, Arc<AccountSlot>>,
}

fn at<T>(key: impl std::fmt::Display, result: Result<T, String>) -> Result<T, RulesError> {
    result.map_err(|reason| RulesError(format!("{key}: {reason}")))
}

fn bind_condition(key: &str, condition: &Condition, columns: &Columns) -> Result<BoundCondition, RulesError> {
    let when = condition
        .when
        .iter()
        .map(|(column, values)| Ok((at(format!("{key}.when.{column}"), columns.find(column))?, values.clone())))
        .collect::<Result<_, RulesError>>()?;
    Ok(BoundCondition { side: condition.side, when })
}

impl BoundCondition {
    fn holds(&self, side: Side, row: &Row) -> bool {
        self.side.is_none_or(|wanted| wanted == side)
            && self.when.iter().all(|(column, values)| {
                let value = row.fields.get(*column).unwrap_or("");
                values.iter().any(|wanted| wanted == value)
            })
    }
}

impl<'r> Planner<'r> {
    /// Binds rules to the columns of a file.
    pub(crate) fn new(rules: &'r Rules, columns: &Columns) -> Result<Self, RulesError> {
        let bind = |key: &str, template: &Template| at(key, template.bind(columns));
        let amount = match &rules.amount {
            AmountColumns::One(column) => BoundAmount::One(at("row.amount.column", columns.find(column))?),
            AmountColumns::Two { credit, debit } => BoundAmount::Two {
                credit: at("row.amount.credit_column", columns.find(credit))?,
                debit: at("row.amount.debit_column", columns.find(debit))?,
            },
        };
        let side = match &rules.side {
            SideRule::Column { column, credit, debit } => BoundSide::Column {
                column: at("row.side.column", columns.find(column))?,
                credit: credit.clone(),
                debit: debit.clone(),
            },
            SideRule::Signed { positive } => BoundSide::Signed { positive: *positive },
            SideRule::Always(side) => BoundSide::Always(*side),
            SideRule::Columns => BoundSide::Columns,
        };
        let currency = match &rules.currency {
            CurrencyRule::Fixed(code) => BoundCurrency::Fixed(code.clone()),
            CurrencyRule::Column(column) => BoundCurrency::Column(at("row.currency_column", columns.find(column))?),
        };
        let date = match &rules.date {
            None => None,
            Some((column, format)) => Some((at("row.date.column", columns.find(column))?, format)),
        };
        let owners = rules
            .accounts
            .iter()
            .enumerate()
            .map(|(index, account)| match &account.open {
                None => Ok(None),
                Some(opening) => bind(&format!("account[{}].owner", index + 1), &opening.owner).map(Some),
            })
            .collect::<Result<_, _>>()?;
        let skips = rules
            .skips
            .iter()
            .enumerate()
            .map(|(index, skip)| bind_condition(&format!("skip[{}]", index + 1), skip, columns))
            .collect::<Result<_, _>>()?;
        let mut templates = Vec::new();
        for (index, template) in rules.templates.iter().enumerate() {
            let key = format!("template[{}]", index + 1);
            let counter = format!("{key}.counter");
            let form = match &template.kind {
                EntryForm::TopUp => BoundForm::TopUp,
                EntryForm::Withdrawal => BoundForm::Withdrawal,
                EntryForm::Transfer { counter: to } => BoundForm::Transfer(bind(&counter, to)?),
                EntryForm::Entry { counter: to } => BoundForm::Entry(bind(&counter, to)?),
                EntryForm::Postings(postings) => {
                    let mut bound = Vec::new();
                    for (number, posting) in postings.iter().enumerate() {
                        let key = format!("{key}.postings[{}]", number + 1);
                        let amount = match &posting.amount_column {
                            None => None,
                            Some(column) => Some(at(format!("{key}.amount_column"), columns.find(column))?),
                        };
                        bound.push((bind(&format!("{key}.account"), &posting.account)?, posting.side, amount));
                    }
                    BoundForm::Postings(bound)
                }
            };
            let reference = match &template.reference {
                None => None,
                Some(reference) => Some(bind(&format!("{key}.reference"), reference)?),
            };
            templates.push((bind_condition(&key, &template.condition, columns)?, form, reference));
        }
        Ok(Self {
            rules,
            key: bind("row.key", &rules.key)?,
            account: bind("row.account", &rules.account)?,
            date,
            amount,
            format: rules.amount_format,
            side,
            currency,
            reference: bind("row.reference", &rules.reference)?,
            owners,
            skips,
            templates,
            accounts: HashMap::new(),
        })
    }

    /// What a row becomes; `None` if the rules leave it out.
    pub(crate) fn plan(&mut self, row: &Row) -> Result<Option<Request>, RowFault> {
        let field = |column: usize| row.fields.get(column).unwrap_or("");
        let key = self.key.fill(field);
        let fault = |code, detail| RowFault { key: key.clone(), code, detail };
        let idempotency_key = header_text(&format!("{}:{key}", self.rules.source));
        if key.is_empty() || idempotency_key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
            return Err(fault("row_key_invalid", "the row's key is empty or too long".into()));
        }
        let (side, magnitude) = self.money(row).map_err(|(code, detail)| fault(code, detail))?;
        if self.skips.iter().any(|skip| skip.holds(side, row)) {
            return Ok(None);
        }
        let Some(index) = self.templates.iter().position(|(condition, ..)| condition.holds(side, row)) else {
            return Err(fault("no_template", "no [[template]] of the rules takes this row".into()));
        };
        let currency = match &self.currency {
            BoundCurrency::Fixed(code) => code.clone(),
            BoundCurrency::Column(column) => field(*column).to_owned(),
        };
        let effective_on = match self.date {
            None => None,
            Some((column, format)) => {
                Some(format.parse(field(column)).map_err(|detail| fault("date_invalid", detail))?)
            }
        };
        let own = self.slot(self.account.fill(field), row, &currency).map_err(|(code, detail)| fault(code, detail))?;
        let Some((_, form, own_reference)) = self.templates.get(index) else { return Ok(None) };
        // An empty column must leave no gap in the text.
        let reference = own_reference.as_ref().unwrap_or(&self.reference).fill(field);
        let reference = reference.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut accounts = vec![Arc::clone(&own)];
        let mut counter_codes = Vec::new();
        match form {
            BoundForm::TopUp | BoundForm::Withdrawal => {}
            BoundForm::Transfer(counter) | BoundForm::Entry(counter) => counter_codes.push(counter.fill(field)),
            BoundForm::Postings(postings) => counter_codes.extend(postings.iter().map(|(code, ..)| code.fill(field))),
        }
        let mut plain = Vec::new();
        if let BoundForm::Postings(postings) = form {
            for (_, posting_side, column) in postings {
                let amount = match column {
                    None => magnitude.clone(),
                    Some(column) => {
                        let read = self.format.parse(field(*column));
                        read.map_err(|detail| fault("amount_not_a_number", detail))?.magnitude
                    }
                };
                let side = match posting_side {
                    PostingSide::Debit => Side::Debit,
                    PostingSide::Credit => Side::Credit,
                    PostingSide::Row => side,
                    PostingSide::Counter => side.opposite(),
                };
                plain.push((side, amount));
            }
        }
        let shape = match form {
            BoundForm::TopUp => Shape::Cash("top-ups"),
            BoundForm::Withdrawal => Shape::Cash("withdrawals"),
            BoundForm::Transfer(_) => Shape::Transfer,
            BoundForm::Entry(_) => Shape::Entry,
            BoundForm::Postings(_) => Shape::Postings,
        };
        let mut counters = Vec::new();
        for code in counter_codes {
            counters.push(self.slot(code, row, &currency).map_err(|(code, detail)| fault(code, detail))?);
        }
        // Rows tell what happened, so no rule of the book adds a fee to them.
        let (path, mut body) = match (shape, counters.as_slice()) {
            (Shape::Cash(path), _) => {
                (path, json!({ "account": own.code, "amount": magnitude, "currency": currency, "fee": "0" }))
            }
            (Shape::Transfer, [counter]) => {
                let (from, to) = match side {
                    Side::Debit => (&own.code, &counter.code),
                    Side::Credit => (&counter.code, &own.code),
                };
                let body = json!({ "from": from, "to": to, "amount": magnitude, "currency": currency, "fee": "0" });
                ("transfers", body)
            }
            (Shape::Entry, [counter]) => {
                let other = posting(&counter.code, side.opposite(), &magnitude, &currency);
                ("entries", json!({ "postings": [other, posting(&own.code, side, &magnitude, &currency)] }))
            }
            (Shape::Postings, counters) => {
                let postings: Vec<Value> = counters
                    .iter()
                    .zip(&plain)
                    .map(|(counter, (side, amount))| posting(&counter.code, *side, amount, &currency))
                    .collect();
                ("entries", json!({ "postings": postings }))
            }
            (Shape::Transfer | Shape::Entry, _) => return Ok(None),
        };
        accounts.extend(counters);
        if let Some(fields) = body.as_object_mut() {
            if let Some(date) = effective_on {
                fields.insert("effective_on".into(), Value::String(date.to_string()));
            }
            if !reference.is_empty() {
                fields.insert("reference".into(), Value::String(reference));
            }
        }
        Ok(Some(Request { path, key, idempotency_key, body: body.to_string().into_bytes(), accounts }))
    }

    /// The side and the magnitude of a row.
    fn money(&self, row: &Row) -> Result<(Side, String), (&'static str, String)> {
        let field = |column: usize| row.fields.get(column).unwrap_or("");
        let parse = |text: &str| self.format.parse(text).map_err(|detail| ("amount_not_a_number", detail));
        let column = match self.amount {
            BoundAmount::One(column) => column,
            BoundAmount::Two { credit, debit } => {
                let (credit, debit) = (field(credit), field(debit));
                let zero = |text: &str| text.bytes().all(|b| !b.is_ascii_digit() || b == b'0');
                let (side, text) = match (zero(credit), zero(debit)) {
                    (false, true) => (Side::Credit, credit),
                    (true, false) => (Side::Debit, debit),
                    _ => {
                        let detail = format!("exactly one of credit {credit:?} and debit {debit:?} must be filled");
                        return Err(("side_unknown", detail));
                    }
                };
                let amount = parse(text)?;
                return Ok((side, amount.magnitude));
            }
        };
        let amount = parse(field(column))?;
        let side = match &self.side {
            BoundSide::Column { column, credit, debit } => {
                let value = field(*column);
                let side = if credit.iter().any(|wanted| wanted == value) {
                    Side::Credit
                } else if debit.iter().any(|wanted| wanted == value) {
                    Side::Debit
                } else {
                    return Err(("side_unknown", format!("{value:?} means neither credit nor debit by the rules")));
                };
                if amount.negative { side.opposite() } else { side }
            }
            BoundSide::Signed { positive } if amount.negative => positive.opposite(),
            BoundSide::Signed { positive } => *positive,
            BoundSide::Always(side) if amount.negative => side.opposite(),
            BoundSide::Always(side) => *side,
            BoundSide::Columns => Side::Credit,
        };
        Ok((side, amount.magnitude))
    }

    /// The slot of an account, made when a row first names it.
    fn slot(&mut self, code: String, row: &Row, currency: &str) -> Result<Arc<AccountSlot>, (&'static str, String)> {
        if let Some(slot) = self.accounts.get(&code) {
            return Ok(Arc::clone(slot));
        }
        let found = self.rules.accounts.iter().zip(&self.owners).find(|(rule, _)| rule.covers(&code));
        let Some((rule, owner)) = found else {
            return Err(("account_not_in_rules", format!("no [[account]] of the rules matches {code:?}")));
        };
        let open = rule.open.as_ref().map(|opening| {
            let currency = opening.currency.as_deref().unwrap_or(currency);
            let mut body = json!({ "code": code, "kind": opening.kind.name(), "currency": currency });
            if let Some(fields) = body.as_object_mut() {
                if let Some(overdraft) = &opening.overdraft {
                    fields.insert("overdraft".into(), Value::String(overdraft.clone()));
                }
                let owner = owner.as_ref().map(|owner| owner.fill(|column| row.fields.get(column).unwrap_or("")));
                if let Some(owner) = owner.filter(|owner| !owner.is_empty()) {
                    fields.insert("owner".into(), Value::String(owner));
                }
            }
            body.to_string().into_bytes()
        });
        let slot = Arc::new(AccountSlot { code: code.clone(), open, opened: OnceCell::new() });
        self.accounts.insert(code, Arc::clone(&slot));
        Ok(slot)
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Cash(&'static str),
    Transfer,
    Entry,
    Postings,
}

fn posting(account: &str, side: Side, amount: &str, currency: &str) -> Value {
    json!({ "account": account, "side": side, "amount": amount, "currency": currency })
}

/// A text fit for a header: what is not visible ASCII stands as `%` and its hexadecimal number, and so does `%` itself.
pub(crate) fn header_text(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

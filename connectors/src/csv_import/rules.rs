//! The rules file: what a CSV file's columns mean and which command each row becomes. TOML; `docs/import.md` explains every
//! key. Reading it finds whatever can be wrong without the CSV file; binding it to a file's columns finds the rest. Either
//! names the key that is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use event_schemas::Side;
use event_schemas::bounds::{CODE_MAX_BYTES, IDEMPOTENCY_KEY_MAX_BYTES};
use event_schemas::command::AccountKind;
use serde::Deserialize;

use super::amounts::AmountFormat;
use super::dates::DateFormat;
use super::template::Template;

/// A rules file that can't be used; the text names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(pub(crate) String);

/// The rules of one kind of CSV file, checked as far as they can be without one.
#[derive(Debug)]
pub struct Rules {
    pub(crate) source: String,
    pub(crate) book: u32,
    pub(crate) file: FileForm,
    pub(crate) key: Template,
    pub(crate) account: Template,
    pub(crate) date: Option<(String, DateFormat)>,
    pub(crate) amount: AmountColumns,
    pub(crate) amount_format: AmountFormat,
    pub(crate) side: SideRule,
    pub(crate) currency: CurrencyRule,
    pub(crate) reference: Template,
    pub(crate) accounts: Vec<AccountRule>,
    pub(crate) skips: Vec<Condition>,
    pub(crate) templates: Vec<EntryTemplate>,
}

#[derive(Debug)]
pub(crate) struct FileForm {
    pub(crate) separator: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) encoding: &'static encoding_rs::Encoding,
    pub(crate) header: bool,
    pub(crate) columns: Vec<String>,
    pub(crate) skip_lines: usize,
}

#[derive(Debug)]
pub(crate) enum AmountColumns {
    One(String),
    /// A column for credits and one for debits; exactly one of them is filled.
    Two {
        credit: String,
        debit: String,
    },
}

#[derive(Debug)]
pub(crate) enum SideRule {
    /// By the values of a column.
    Column {
        column: String,
        credit: Vec<String>,
        debit: Vec<String>,
    },
    /// By the amount's sign.
    Signed {
        positive: Side,
    },
    Always(Side),
    /// By which of two amount columns is filled.
    Columns,
}

#[derive(Debug)]
pub(crate) enum CurrencyRule {
    Fixed(String),
    Column(String),
}

/// Accounts whose code begins with `prefix` (or equals it, when exact), and how they are opened.
#[derive(Debug)]
pub(crate) struct AccountRule {
    pub(crate) prefix: String,
    pub(crate) exact: bool,
    pub(crate) open: Option<Opening>,
}

#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) kind: AccountKind,
    pub(crate) currency: Option<String>,
    pub(crate) overdraft: Option<String>,
    pub(crate) owner: Template,
}

#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) side: Option<Side>,
    /// Column and the values that meet it.
    pub(crate) when: Vec<(String, Vec<String>)>,
}

#[derive(Debug)]
pub(crate) struct EntryTemplate {
    pub(crate) condition: Condition,
    pub(crate) kind: EntryForm,
    pub(crate) reference: Option<Template>,
}

#[derive(Debug)]
pub(crate) enum EntryForm {
    TopUp,
    Withdrawal,
    Transfer { counter: Template },
    Entry { counter: Template },
    Postings(Vec<PostingForm>),
}

#[derive(Debug)]
pub(crate) struct PostingForm {
    pub(crate) account: Template,
    pub(crate) side: PostingSide,
    pub(crate) amount_column: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PostingSide {
    Debit,
    Credit,
    /// The side of the row.
    Row,
    /// The other one.
    Counter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    source: String,
    #[serde(default = "one")]
    book: u32,
    #[serde(default)]
    file: RawFile,
    row: RawRow,
    #[serde(default)]
    account: Vec<RawAccount>,
    #[serde(default)]
    skip: Vec<RawCondition>,
    #[serde(default)]
    template: Vec<RawTemplate>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawFile {
    separator: Option<String>,
    quote: Option<String>,
    encoding: Option<String>,
    header: Option<bool>,
    columns: Option<Vec<String>>,
    skip_lines: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    key: String,
    account: String,
    date: Option<RawDate>,
    amount: RawAmount,
    side: Option<RawSide>,
    currency: Option<String>,
    currency_column: Option<String>,
    #[serde(default)]
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDate {
    column: String,
    format: String,
    pivot: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAmount {
    column: Option<String>,
    credit_column: Option<String>,
    debit_column: Option<String>,
    decimal: Option<char>,
    thousands: Option<char>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSide {
    column: Option<String>,
    credit: Option<OneOrMany>,
    debit: Option<OneOrMany>,
    signed: Option<bool>,
    positive: Option<Side>,
    always: Option<Side>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn many(self) -> Vec<String> {
        let values = match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        };
        values.into_iter().map(|value| value.trim().to_owned()).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccount {
    #[serde(rename = "match")]
    pattern: String,
    open: Option<bool>,
    kind: Option<AccountKind>,
    currency: Option<String>,
    overdraft: Option<String>,
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    side: Option<Side>,
    #[serde(default)]
    when: BTreeMap<String, OneOrMany>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    side: Option<Side>,
    #[serde(default)]
    when: BTreeMap<String, OneOrMany>,
    kind: RawKind,
    counter: Option<String>,
    postings: Option<Vec<RawPosting>>,
    reference: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    TopUp,
    Withdrawal,
    Transfer,
    Entry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPosting {
    account: String,
    side: PostingSide,
    amount_column: Option<String>,
}

const fn one() -> u32 {
    1
}

/// Puts the name of a key before what is wrong with it.
fn at<T>(key: impl std::fmt::Display, result: Result<T, String>) -> Result<T, RulesError> {
    result.map_err(|reason| RulesError(format!("{key}: {reason}")))
}

fn wrong<T>(key: impl std::fmt::Display, reason: &str) -> Result<T, RulesError> {
    Err(RulesError(format!("{key}: {reason}")))
}

impl Rules {
    /// Reads and checks a rules file.
    pub fn load(path: &Path) -> Result<Self, RulesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| RulesError(format!("the rules file {} can't be read: {error}", path.display())))?;
        Self::parse(&text).map_err(|RulesError(reason)| RulesError(format!("{}: {reason}", path.display())))
    }

    /// Reads and checks the text of a rules file.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let raw: RawRules =
            toml::from_str(text).map_err(|error| RulesError(error.to_string().trim_end().to_owned()))?;
        if raw.source.is_empty() || raw.source.len() > 64 || !raw.source.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("source", "a name of 1 to 64 visible ASCII characters without spaces");
        }
        if raw.book == 0 {
            return wrong("book", "books are numbered from 1");
        }
        let file = file_form(raw.file)?;
        let key = at("row.key", Template::parse(&raw.row.key))?;
        if key.constant().is_some() {
            return wrong("row.key", "it must name the columns that tell rows apart, such as \"{id}\"");
        }
        let date = match raw.row.date {
            None => None,
            Some(date) => {
                Some((date.column, at("row.date.format", DateFormat::new(&date.format, date.pivot.unwrap_or(70)))?))
            }
        };
        let (amount, amount_format) = amount_columns(raw.row.amount)?;
        let side = side_rule(raw.row.side, &amount)?;
        let currency = match (raw.row.currency, raw.row.currency_column) {
            (Some(code), None) if code.parse::<event_schemas::Currency>().is_ok() => CurrencyRule::Fixed(code),
            (Some(_), None) => return wrong("row.currency", "not an ISO 4217 code"),
            (None, Some(column)) => CurrencyRule::Column(column),
            _ => return wrong("row.currency", "give either currency or currency_column"),
        };
        let accounts = raw
            .account
            .into_iter()
            .enumerate()
            .map(|(index, account)| account_rule(&format!("account[{}]", index + 1), account))
            .collect::<Result<Vec<_>, _>>()?;
        let skips = raw.skip.into_iter().map(|skip| condition(skip.side, skip.when)).collect::<Vec<_>>();
        if let Some(index) = skips.iter().position(|skip| skip.when.is_empty() && skip.side.is_none()) {
            return wrong(format!("skip[{}].when", index + 1), "without a condition it would skip every row");
        }
        if raw.template.is_empty() {
            return wrong("template", "at least one [[template]] must say what a row becomes");
        }
        let templates = raw
            .template
            .into_iter()
            .enumerate()
            .map(|(index, template)| entry_template(&format!("template[{}]", index + 1), template, &accounts))
            .collect::<Result<Vec<_>, _>>()?;
        let account = at("row.account", Template::parse(&raw.row.account))?;
        known_if_constant("row.account", &account, &accounts)?;
        if raw.source.len() + 100 > IDEMPOTENCY_KEY_MAX_BYTES {
            return wrong("source", "too long");
        }
        Ok(Self {
            source: raw.source,
            book: raw.book,
            file,
            key,
            account,
            date,
            amount,
            amount_format,
            side,
            currency,
            reference: at("row.reference", Template::parse(&raw.row.reference))?,
            accounts,
            skips,
            templates,
        })
    }

    /// The name of the source, which is part of each row's identity.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What separates the fields of a row.
    pub(crate) fn separator(&self) -> char {
        char::from(self.file.separator)
    }

    /// The book that it writes to.
    pub fn book(&self) -> u32 {
        self.book
    }
}

fn byte(key: &str, text: Option<&str>, default: u8) -> Result<u8, RulesError> {
    match text {
        None => Ok(default),
        Some("\\t" | "tab") => Ok(b'\t'),
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() => Ok(*byte),
            _ => wrong(key, "one ASCII character"),
        },
    }
}

fn file_form(raw: RawFile) -> Result<FileForm, RulesError> {
    let label = raw.encoding.as_deref().unwrap_or("utf-8");
    // "latin-1" is what people write; the standard's list of labels has it without the dash.
    let known = if label.eq_ignore_ascii_case("latin-1") { "latin1" } else { label };
    let encoding = encoding_rs::Encoding::for_label(known.as_bytes()).ok_or_else(|| {
        RulesError(format!("file.encoding: {label:?} is not an encoding (utf-8, latin-1, cp1250, …)"))
    })?;
    let header = raw.header.unwrap_or(raw.columns.is_none());
    let columns = raw.columns.unwrap_or_default();
    if !header && columns.is_empty() {
        return wrong("file.columns", "without a header the columns must be named here");
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(column.as_str())) {
        return wrong("file.columns", &format!("{twice:?} stands twice"));
    }
    let quote = match raw.quote.as_deref() {
        Some("") => None,
        other => Some(byte("file.quote", other, b'"')?),
    };
    Ok(FileForm {
        separator: byte("file.separator", raw.separator.as_deref(), b',')?,
        quote,
        encoding,
        header,
        columns,
        skip_lines: raw.skip_lines.unwrap_or(0),
    })
}

fn amount_columns(raw: RawAmount) -> Result<(AmountColumns, AmountFormat), RulesError> {
    let decimal = raw.decimal.unwrap_or('.');
    if decimal.is_ascii_digit() || matches!(decimal, '-' | '+' | ' ') {
        return wrong("row.amount.decimal", "a point, a comma or the like");
    }
    if raw.thousands == Some(decimal) {
        return wrong("row.amount.thousands", "it is the decimal separator already");
    }
    let columns = match (raw.column, raw.credit_column, raw.debit_column) {
        (Some(column), None, None) => AmountColumns::One(column),
        (None, Some(credit), Some(debit)) => AmountColumns::Two { credit, debit },
        _ => return wrong("row.amount", "give either column, or credit_column and debit_column"),
    };
    Ok((columns, AmountFormat { decimal, thousands: raw.thousands }))
}

fn side_rule(raw: Option<RawSide>, amount: &AmountColumns) -> Result<SideRule, RulesError> {
    let choice = "give one of: column with credit and debit values; signed = true; always = \"credit\" or \"debit\"";
    match (raw, amount) {
        (None, AmountColumns::Two { .. }) => Ok(SideRule::Columns),
        (Some(_), AmountColumns::Two { .. }) => {
            wrong("row.side", "the two amount columns tell the side already: leave it out")
        }
        (None, AmountColumns::One(_)) => wrong("row.side", choice),
        (Some(raw), AmountColumns::One(_)) => match raw {
            RawSide { column: Some(column), credit, debit, signed: None, positive: None, always: None } => {
                let credit = credit.map(OneOrMany::many).unwrap_or_default();
                let debit = debit.map(OneOrMany::many).unwrap_or_default();
                if credit.is_empty() && debit.is_empty() {
                    return wrong("row.side", "name the values that mean credit, and those that mean debit");
                }
                if let Some(both) = credit.iter().find(|value| debit.contains(value)) {
                    return wrong("row.side", &format!("{both:?} stands for both credit and debit"));
                }
                Ok(SideRule::Column { column, credit, debit })
            }
            RawSide { column: None, credit: None, debit: None, signed: Some(true), positive, always: None } => {
                Ok(SideRule::Signed { positive: positive.unwrap_or(Side::Credit) })
            }
            RawSide { column: None, credit: None, debit: None, signed: None, positive: None, always: Some(side) } => {
                Ok(SideRule::Always(side))
            }
            _ => wrong("row.side", choice),
        },
    }
}

fn account_rule(key: &str, raw: RawAccount) -> Result<AccountRule, RulesError> {
    let (prefix, exact) = match raw.pattern.strip_suffix('*') {
        Some(prefix) => (prefix.to_owned(), false),
        None => (raw.pattern.clone(), true),
    };
    if prefix.contains('*') {
        return wrong(format!("{key}.match"), "a * may stand only at the end");
    }
    if prefix.len() > CODE_MAX_BYTES {
        return wrong(format!("{key}.match"), "longer than an account code may be (64 bytes)");
    }
    if raw.open == Some(false) {
        if raw.kind.is_some() || raw.overdraft.is_some() || raw.owner.is_some() || raw.currency.is_some() {
            return wrong(format!("{key}.open"), "with open = false the accounts exist already: give no terms");
        }
        return Ok(AccountRule { prefix, exact, open: None });
    }
    let Some(kind) = raw.kind else {
        return wrong(format!("{key}.kind"), "missing: asset, liability, equity, income or expense");
    };
    if let Some(overdraft) = raw.overdraft.as_deref()
        && overdraft != "unlimited"
        && !overdraft.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        return wrong(format!("{key}.overdraft"), "an amount such as \"20000.00\", or \"unlimited\"");
    }
    if let Some(currency) = raw.currency.as_deref()
        && currency.parse::<event_schemas::Currency>().is_err()
    {
        return wrong(format!("{key}.currency"), "not an ISO 4217 code");
    }
    let owner = at(format!("{key}.owner"), Template::parse(raw.owner.as_deref().unwrap_or("")))?;
    Ok(AccountRule {
        prefix,
        exact,
        open: Some(Opening { kind, currency: raw.currency, overdraft: raw.overdraft, owner }),
    })
}

fn condition(side: Option<Side>, when: BTreeMap<String, OneOrMany>) -> Condition {
    Condition { side, when: when.into_iter().map(|(column, values)| (column, values.many())).collect() }
}

fn entry_template(key: &str, raw: RawTemplate, accounts: &[AccountRule]) -> Result<EntryTemplate, RulesError> {
    let counter = match raw.counter.as_deref() {
        None => None,
        Some(text) => {
            let counter = at(format!("{key}.counter"), Template::parse(text))?;
            known_if_constant(&format!("{key}.counter"), &counter, accounts)?;
            Some(counter)
        }
    };
    let kind = match (raw.kind, counter, raw.postings) {
        (RawKind::TopUp, None, None) => EntryForm::TopUp,
        (RawKind::Withdrawal, None, None) => EntryForm::Withdrawal,
        (RawKind::Transfer, Some(counter), None) => EntryForm::Transfer { counter },
        (RawKind::Entry, Some(counter), None) => EntryForm::Entry { counter },
        (RawKind::Entry, None, Some(postings)) if postings.len() >= 2 => EntryForm::Postings(
            postings
                .into_iter()
                .enumerate()
                .map(|(index, posting)| {
                    let key = format!("{key}.postings[{}].account", index + 1);
                    let account = at(&key, Template::parse(&posting.account))?;
                    known_if_constant(&key, &account, accounts)?;
                    Ok(PostingForm { account, side: posting.side, amount_column: posting.amount_column })
                })
                .collect::<Result<_, RulesError>>()?,
        ),
        (RawKind::TopUp | RawKind::Withdrawal, ..) => {
            return wrong(format!("{key}.counter"), "a top-up or withdrawal goes against the book's clearing account");
        }
        (RawKind::Transfer, ..) => return wrong(format!("{key}.counter"), "a transfer needs a counter account"),
        (RawKind::Entry, ..) => {
            return wrong(format!("{key}.counter"), "an entry needs either a counter account or two or more postings");
        }
    };
    let reference = match raw.reference.as_deref() {
        None => None,
        Some(text) => Some(at(format!("{key}.reference"), Template::parse(text))?),
    };
    Ok(EntryTemplate { condition: condition(raw.side, raw.when), kind, reference })
}

/// An account that the rules name as it stands must be one that they describe.
fn known_if_constant(key: &str, template: &Template, accounts: &[AccountRule]) -> Result<(), RulesError> {
    match template.constant() {
        Some(code) if !accounts.iter().any(|account| account.covers(code)) => {
            wrong(key, &format!("no [[account]] matches {code:?}: add one, with open = false if it exists already"))
        }
        _ => Ok(()),
    }
}

impl AccountRule {
    /// Whether an account of this code goes by this rule.
    pub(crate) fn covers(&self, code: &str) -> bool {
        if self.exact { code == self.prefix } else { code.starts_with(&self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"
source = "bank"
[row]
key = "{id}"
account = "customer:{account}"
date = { column = "date", format = "yymmdd" }
amount = { column = "amount" }
side = { column = "type", credit = "IN", debit = ["OUT"] }
currency = "CZK"
[[account]]
match = "customer:*"
kind = "liability"
[[account]]
match = "bank:cash"
kind = "asset"
overdraft = "unlimited"
[[template]]
kind = "entry"
counter = "bank:cash"
"#;

    #[test]
    fn good_rules_are_read() {
        let rules = Rules::parse(GOOD).unwrap();
        assert_eq!((rules.source(), rules.book()), ("bank", 1));
        assert_eq!(rules.file.separator, b',');
        assert!(rules.file.header);
    }

    #[test]
    fn wrong_rules_name_the_key() {
        for (from, to, expected) in [
            ("source = \"bank\"", "source = \"a bank\"", "source: "),
            ("source = \"bank\"", "source = \"bank\"\nbook = 0", "book: "),
            ("source = \"bank\"", "source = \"bank\"\n[file]\nseparator = \";;\"", "file.separator: "),
            ("source = \"bank\"", "source = \"bank\"\n[file]\nencoding = \"klingon\"", "file.encoding: "),
            ("source = \"bank\"", "source = \"bank\"\n[file]\nheader = false", "file.columns: "),
            ("source = \"bank\"", "source = \"bank\"\n[file]\ncolumns = [\"a\", \"a\"]", "file.columns: \"a\""),
            ("\"{id}\"", "\"row\"", "row.key: "),
            ("\"{id}\"", "\"{id\"", "row.key: "),
            ("\"yymmdd\"", "\"yymm\"", "row.date.format: "),
            ("{ column = \"amount\" }", "{ credit_column = \"in\" }", "row.amount: "),
            ("{ column = \"amount\" }", "{ column = \"a\", decimal = \"1\" }", "row.amount.decimal: "),
            ("{ column = \"amount\" }", "{ column = \"a\", thousands = \".\" }", "row.amount.thousands: "),
            ("debit = [\"OUT\"]", "debit = \"IN\"", "row.side: \"IN\""),
            ("debit = [\"OUT\"]", "signed = true", "row.side: "),
            ("currency = \"CZK\"", "currency = \"XQX\"", "row.currency: "),
            ("kind = \"asset\"", "", "account[2].kind: "),
            ("\"unlimited\"", "\"lots\"", "account[2].overdraft: "),
            ("match = \"customer:*\"", "match = \"*:*\"", "account[1].match: "),
            ("counter = \"bank:cash\"", "counter = \"bank:gold\"", "template[1].counter: "),
            ("counter = \"bank:cash\"", "", "template[1].counter: "),
            ("kind = \"entry\"", "kind = \"top_up\"", "template[1].counter: "),
            ("[[template]]", "[[skip]]\n[[template]]", "skip[1].when: "),
            ("kind = \"entry\"", "kind = \"entry\"\ncounterr = \"x\"", "counterr"),
            ("key = \"{id}\"", "", "missing field `key`"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = Rules::parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}

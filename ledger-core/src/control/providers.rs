//! Providers of bill payments: what is a provider that payments can be made to, and what is a payment that it takes.
//!
//! Patterns are regular expressions of the crate `regex`: they take time linear in the text, whatever the pattern. Their size is
//! bounded where they are set and where they are used.

use event_schemas::bounds::{
    AMOUNT_MAX_MINOR, CODE_MAX_BYTES, OWNER_MAX_BYTES, PROVIDER_FIELDS_MAX, PROVIDER_ID_MAX_BYTES, PROVIDER_TERMS_MAX,
    TEXT_MAX_BYTES,
};
use event_schemas::control::{FieldKind, PaymentDetail, ProviderField, ProviderSet, ProviderTerms};
use event_schemas::{CivilDate, ControlFact, Currency, Money};
use regex::{Regex, RegexBuilder};

use super::Decider;

/// The most bytes that a compiled pattern takes.
const PATTERN_MAX_BYTES: usize = 64 * 1024;

/// All of an amount, in basis points.
const WHOLE_BP: i128 = 10_000;

/// A provider was set up or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEvent(pub ProviderSet);

impl From<ProviderEvent> for ControlFact {
    fn from(event: ProviderEvent) -> Self {
        Self::ProviderSet(event.0)
    }
}

impl TryFrom<ControlFact> for ProviderEvent {
    type Error = &'static str;

    fn try_from(fact: ControlFact) -> Result<Self, Self::Error> {
        match fact {
            ControlFact::ProviderSet(set) => Ok(Self(set)),
            ControlFact::ApiKeyIssued(_)
            | ControlFact::ApiKeyRevoked(_)
            | ControlFact::ApiKeyScopesSet(_)
            | ControlFact::PaymentRequested(_)
            | ControlFact::PaymentStepped(_) => Err("not about a provider"),
        }
    }
}

/// Why a provider can't be set up so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderRejection {
    /// The id.
    #[error("a provider's id has 1 to {PROVIDER_ID_MAX_BYTES} lower-case letters, digits and hyphens")]
    Id,
    /// A name is empty, too long, or has control characters.
    #[error("{0} must have 1 to {OWNER_MAX_BYTES} bytes without control characters")]
    Name(&'static str),
    /// A free text is too long.
    #[error("the reason must have at most {TEXT_MAX_BYTES} bytes")]
    Text,
    /// The code of its accounts.
    #[error(
        "payable must be a code that leaves room for a colon and a currency: letters, digits and : . _ -; not sys:"
    )]
    Payable,
    /// No terms, or too many.
    #[error("a provider has 1 to {PROVIDER_TERMS_MAX} currencies, each once")]
    Terms,
    /// Terms that contradict themselves.
    #[error("{0}: fees are zero or above, and the amounts are above zero, the least not above the greatest")]
    TermsOf(Currency),
    /// Too many fields.
    #[error("a provider has at most {PROVIDER_FIELDS_MAX} fields, each name once")]
    Fields,
    /// A field that can't be used.
    #[error("field {name}: {what}")]
    Field {
        /// Which.
        name: Box<str>,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// The aggregate is that of another provider.
    #[error("this is another provider")]
    Other,
}

/// A provider; none as long as nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider(pub Option<ProviderSet>);

impl Decider for Provider {
    const TYPE: &'static str = ProviderSet::AGGREGATE_TYPE;
    type Command = ProviderSet;
    type Event = ProviderEvent;
    type Rejection = ProviderRejection;

    fn decide(&self, command: &ProviderSet) -> Result<Vec<ProviderEvent>, ProviderRejection> {
        check(command)?;
        if let Some(known) = &self.0 {
            if known.provider != command.provider {
                return Err(ProviderRejection::Other);
            }
            let act = ProviderSet {
                set_at: known.set_at,
                actor: known.actor.clone(),
                reason: known.reason.clone(),
                ..command.clone()
            };
            if act == *known {
                return Ok(Vec::new());
            }
        }
        Ok(vec![ProviderEvent(command.clone())])
    }

    fn apply(&mut self, event: &ProviderEvent) {
        self.0 = Some(event.0.clone());
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= OWNER_MAX_BYTES && !text.chars().any(char::is_control)
}

/// Whether a text can be the id of a provider.
pub fn is_provider_id(text: &str) -> bool {
    (1..=PROVIDER_ID_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn check(set: &ProviderSet) -> Result<(), ProviderRejection> {
    if !is_provider_id(&set.provider) {
        return Err(ProviderRejection::Id);
    }
    for (what, text) in [("the name", &set.name), ("the actor", &set.actor)] {
        if !is_name(text) {
            return Err(ProviderRejection::Name(what));
        }
    }
    if set.reason.len() > TEXT_MAX_BYTES {
        return Err(ProviderRejection::Text);
    }
    let fits = !set.payable.is_empty()
        && set.payable.len().saturating_add(4) <= CODE_MAX_BYTES
        && !set.payable.starts_with("sys:")
        && set.payable.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'_' | b'-'));
    if !fits {
        return Err(ProviderRejection::Payable);
    }
    if !(1..=PROVIDER_TERMS_MAX).contains(&set.terms.len()) {
        return Err(ProviderRejection::Terms);
    }
    for (at, terms) in set.terms.iter().enumerate() {
        if set.terms.iter().take(at).any(|before| before.currency == terms.currency) {
            return Err(ProviderRejection::Terms);
        }
        let fits = (0..=AMOUNT_MAX_MINOR).contains(&terms.fee_fixed_minor)
            && i128::from(terms.fee_rate_bp) <= WHOLE_BP
            && terms.amount_min_minor >= 1
            && terms.amount_min_minor <= terms.amount_max_minor
            && terms.amount_max_minor <= AMOUNT_MAX_MINOR;
        if !fits {
            return Err(ProviderRejection::TermsOf(terms.currency));
        }
    }
    if set.fields.len() > PROVIDER_FIELDS_MAX {
        return Err(ProviderRejection::Fields);
    }
    for (at, field) in set.fields.iter().enumerate() {
        if set.fields.iter().take(at).any(|before| before.name == field.name) {
            return Err(ProviderRejection::Fields);
        }
        check_field(field)?;
    }
    Ok(())
}

fn check_field(field: &ProviderField) -> Result<(), ProviderRejection> {
    let wrong = |what: String| Err(ProviderRejection::Field { name: field.name.clone(), what: what.into() });
    let named = (1..=64).contains(&field.name.len())
        && field.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !named {
        return wrong("a name has 1 to 64 lower-case letters, digits and underscores".into());
    }
    if !is_name(&field.label) {
        return wrong("it needs a label".into());
    }
    if field.length_min > field.length_max || field.length_max == 0 || usize::from(field.length_max) > TEXT_MAX_BYTES {
        return wrong(format!("its lengths must be in order and at most {TEXT_MAX_BYTES}"));
    }
    match field.pattern.as_deref().map(compiled) {
        Some(Err(error)) => wrong(format!("its pattern can't be used: {error}")),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// A pattern that must match the whole of a text.
fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(PATTERN_MAX_BYTES).nest_limit(16).build()
}

/// Why a provider does not take a payment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The provider takes none at present.
    #[error("the provider takes no payments at present")]
    Disabled,
    /// It does not take this currency.
    #[error("the provider takes no {0}")]
    Currency(Currency),
    /// The amount is below its least or above its greatest.
    #[error("the provider takes {} to {} {}", .least.amount(), .greatest.amount(), .least.currency)]
    Amount {
        /// The least.
        least: Money,
        /// The greatest.
        greatest: Money,
    },
    /// A field that must be there is not.
    #[error("the provider needs {label} ({name})")]
    Missing {
        /// Which field.
        name: Box<str>,
        /// How people know it.
        label: Box<str>,
    },
    /// A field that the provider does not ask for.
    #[error("the provider does not ask for {0}")]
    Unknown(Box<str>),
    /// A field that is not as it must be.
    #[error("{name} {what}")]
    Malformed {
        /// Which field.
        name: Box<str>,
        /// How it must be.
        what: Box<str>,
    },
}

/// What a payment is made on: what follows from the provider's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The fee, in minor units.
    pub fee_minor: i128,
    /// The code of the account of what the provider is owed.
    pub payable: Box<str>,
    /// What the payer said, in the order of the provider's fields.
    pub details: Vec<PaymentDetail>,
}

/// Whether a provider takes a payment of this amount with these details, each name once.
pub fn take(set: &ProviderSet, amount: Money, details: &[PaymentDetail]) -> Result<Taken, NotTaken> {
    if !set.enabled {
        return Err(NotTaken::Disabled);
    }
    let terms = set.terms.iter().find(|terms| terms.currency == amount.currency);
    let terms = terms.ok_or(NotTaken::Currency(amount.currency))?;
    if !(terms.amount_min_minor..=terms.amount_max_minor).contains(&amount.amount_minor) {
        let money = |minor| Money::new(minor, amount.currency);
        return Err(NotTaken::Amount { least: money(terms.amount_min_minor), greatest: money(terms.amount_max_minor) });
    }
    if let Some(unknown) = details.iter().find(|detail| set.fields.iter().all(|field| field.name != detail.name)) {
        return Err(NotTaken::Unknown(unknown.name.clone()));
    }
    let mut taken = Vec::with_capacity(details.len());
    for field in &set.fields {
        match details.iter().find(|detail| detail.name == field.name) {
            Some(detail) => {
                check_value(field, &detail.value)?;
                taken.push(detail.clone());
            }
            None if field.required => {
                return Err(NotTaken::Missing { name: field.name.clone(), label: field.label.clone() });
            }
            None => {}
        }
    }
    Ok(Taken {
        fee_minor: fee(*terms, amount.amount_minor),
        payable: format!("{}:{}", set.payable, amount.currency).into(),
        details: taken,
    })
}

fn check_value(field: &ProviderField, value: &str) -> Result<(), NotTaken> {
    let malformed = |what: &str| Err(NotTaken::Malformed { name: field.name.clone(), what: what.into() });
    let length = value.chars().count();
    if value.len() > TEXT_MAX_BYTES || length < field.length_min.into() || length > field.length_max.into() {
        return malformed(&format!("must have {} to {} characters", field.length_min, field.length_max));
    }
    if value.chars().any(char::is_control) {
        return malformed("has control characters");
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match field.kind {
        FieldKind::Digits if !digits(value) => return malformed("must be digits"),
        FieldKind::Phone if !value.strip_prefix('+').is_some_and(|rest| digits(rest) && rest.len() <= 15) => {
            return malformed("must be a telephone number: + and at most 15 digits");
        }
        FieldKind::Date if value.parse::<CivilDate>().is_err() => return malformed("must be a date, YYYY-MM-DD"),
        FieldKind::Text | FieldKind::Digits | FieldKind::Phone | FieldKind::Date => {}
    }
    match field.pattern.as_deref().map(compiled) {
        None => Ok(()),
        Some(Ok(pattern)) if pattern.is_match(value) => Ok(()),
        Some(Ok(_)) => malformed("does not have the form that the provider asks for"),
        // It was looked at when it was set.
        Some(Err(_)) => malformed("can't be checked: the provider's pattern is of no use"),
    }
}

/// The fee of an amount within its bounds; halves go to the even minor unit.
fn fee(terms: ProviderTerms, amount_minor: i128) -> i128 {
    // At most 10^24 times 10^4: nothing here saturates.
    let parts = amount_minor.saturating_mul(i128::from(terms.fee_rate_bp));
    let (whole, rest) = (parts.checked_div(WHOLE_BP).unwrap_or(0), parts.checked_rem(WHOLE_BP).unwrap_or(0));
    let up = match rest.saturating_mul(2).cmp(&WHOLE_BP) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => whole & 1 == 1,
        std::cmp::Ordering::Less => false,
    };
    terms.fee_fixed_minor.saturating_add(whole).saturating_add(i128::from(up))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use event_schemas::Timestamp;
    use event_schemas::control::ProviderCategory;

    use super::*;

    fn field(name: &str, kind: FieldKind, pattern: Option<&str>, required: bool) -> ProviderField {
        let pattern = pattern.map(Into::into);
        ProviderField { name: name.into(), label: name.into(), required, kind, pattern, length_min: 1, length_max: 20 }
    }

    fn waterworks() -> ProviderSet {
        ProviderSet {
            provider: "waterworks".into(),
            name: "Wasserwerke".into(),
            category: ProviderCategory::Utilities,
            enabled: true,
            partial: false,
            payable: "payable:waterworks".into(),
            terms: vec![ProviderTerms {
                currency: "EUR".parse().unwrap(),
                fee_fixed_minor: 100,
                fee_rate_bp: 50,
                amount_min_minor: 100,
                amount_max_minor: 1_000_000,
            }],
            fields: vec![
                field("customer", FieldKind::Text, Some("[A-Z]{2}[0-9]{6}"), true),
                field("meter", FieldKind::Digits, None, false),
                field("phone", FieldKind::Phone, None, false),
                field("due", FieldKind::Date, None, false),
            ],
            set_at: Timestamp(0),
            actor: "anna".into(),
            reason: "".into(),
        }
    }

    #[test]
    fn setting_the_same_twice_records_nothing_and_what_is_no_provider_is_refused() {
        type Change = fn(&mut ProviderSet);
        let mut provider = Provider::default();
        for event in provider.decide(&waterworks()).unwrap() {
            provider.apply(&event);
        }
        let later = ProviderSet { set_at: Timestamp(7), actor: "ben".into(), ..waterworks() };
        assert_eq!(provider.decide(&later).unwrap(), []);
        assert_eq!(provider.decide(&ProviderSet { enabled: false, ..later }).unwrap().len(), 1);
        let wrong: [(Change, &str); 14] = [
            (|set| set.provider = "Water".into(), "id"),
            (|set| set.provider = "other".into(), "another provider"),
            (|set| set.name = "".into(), "the name"),
            (|set| set.actor = "a\u{7}".into(), "the actor"),
            (|set| set.payable = "sys:payable".into(), "payable"),
            (|set| set.payable = "x".repeat(61).into(), "payable"),
            (|set| set.terms.clear(), "currencies"),
            (|set| set.terms = vec![set.terms[0]; 2], "currencies"),
            (|set| set.terms[0].fee_fixed_minor = -1, "EUR: fees"),
            (|set| set.terms[0].amount_min_minor = 1_000_001, "EUR: fees"),
            (|set| set.fields[0].name = "Customer".into(), "field Customer: a name"),
            (|set| set.fields[1].name = "customer".into(), "each name once"),
            (|set| set.fields[0].pattern = Some("(".into()), "its pattern"),
            (|set| set.fields[0].pattern = Some(r"(\w{50}){50}{50}".into()), "its pattern"),
        ];
        for (change, expected) in wrong {
            let mut set = waterworks();
            change(&mut set);
            let told = provider.decide(&set).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}: {expected}");
        }
    }

    #[test]
    fn payments_are_taken_by_the_terms_and_fields() {
        let money = |minor, currency: &str| Money::new(minor, currency.parse().unwrap());
        let says = |details: &[(&str, &str)]| -> Vec<PaymentDetail> {
            details.iter().map(|(name, value)| PaymentDetail { name: (*name).into(), value: (*value).into() }).collect()
        };
        let good = says(&[("meter", "12"), ("customer", "AB123456")]);
        let taken = take(&waterworks(), money(12_050, "EUR"), &good).unwrap();
        // 60.25 of 12,050 at 50 basis points.
        assert_eq!((taken.fee_minor, &*taken.payable), (160, "payable:waterworks:EUR"));
        assert_eq!(taken.details, says(&[("customer", "AB123456"), ("meter", "12")]), "in the provider's order");
        for (amount_minor, fee_minor) in [(100, 100), (300, 102), (500, 102), (700, 104), (1_000_000, 5_100)] {
            assert_eq!(take(&waterworks(), money(amount_minor, "EUR"), &good).unwrap().fee_minor, fee_minor);
        }
        let refused = [
            (money(12_050, "CZK"), good.clone(), "takes no CZK"),
            (money(99, "EUR"), good.clone(), "takes 1.00 to 10000.00 EUR"),
            (money(1_000_001, "EUR"), good.clone(), "takes 1.00 to 10000.00 EUR"),
            (money(100, "EUR"), says(&[]), "needs customer"),
            (money(100, "EUR"), says(&[("customer", "AB12345")]), "does not have the form"),
            (money(100, "EUR"), says(&[("customer", "xAB123456")]), "does not have the form"),
            (money(100, "EUR"), says(&[("customer", "")]), "1 to 20 characters"),
            (money(100, "EUR"), says(&[("customer", "AB123456"), ("meter", "1a")]), "must be digits"),
            (money(100, "EUR"), says(&[("customer", "AB123456"), ("phone", "0049")]), "telephone"),
            (money(100, "EUR"), says(&[("customer", "AB123456"), ("due", "2026-02-30")]), "date"),
            (money(100, "EUR"), says(&[("customer", "AB123456"), ("colour", "red")]), "does not ask for colour"),
        ];
        for (amount, details, expected) in refused {
            let told = take(&waterworks(), amount, &details).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}: {expected}");
        }
        let disabled = ProviderSet { enabled: false, ..waterworks() };
        assert_eq!(take(&disabled, money(12_050, "EUR"), &good), Err(NotTaken::Disabled));
    }
}

//! Amounts, currencies, dates and account references as they come in: texts, each refused by a code of its own.

use event_schemas::bounds::OWNER_MAX_BYTES;
use event_schemas::command::BalancePolicy;
use event_schemas::money::MoneyError;
use event_schemas::{AccountId, BookId, CivilDate, Currency, Money, Timestamp};

use crate::problem::{Code, Problem};
use crate::text::free_text;

/// The longest text of an amount: a sign, 25 digits, a point and decimals leave room.
pub(crate) const AMOUNT_TEXT_MAX_BYTES: usize = 64;

/// A currency of ISO 4217 by its code.
pub(crate) fn currency(text: &str, pointer: &str) -> Result<Currency, Problem> {
    text.parse().map_err(|_| {
        Problem::field(Code::CurrencyUnknown, pointer, "a code of ISO 4217 with a minor unit is expected, such as EUR")
    })
}

/// An amount above zero.
pub(crate) fn positive(text: &str, currency: Currency, pointer: &str) -> Result<Money, Problem> {
    let money = amount(text, currency, pointer)?;
    if money.amount_minor <= 0 {
        return Err(Problem::field(Code::AmountNotPositive, pointer, "the amount must be above zero"));
    }
    Ok(money)
}

/// Minor units of an amount of zero or above.
pub(crate) fn not_negative(text: &str, currency: Currency, pointer: &str) -> Result<i128, Problem> {
    let money = amount(text, currency, pointer)?;
    if money.amount_minor < 0 {
        return Err(Problem::field(Code::AmountNotPositive, pointer, "the amount must not be below zero"));
    }
    Ok(money.amount_minor)
}

/// An overdraft: an amount of zero or above, or `unlimited`.
pub(crate) fn overdraft(text: &str, currency: Currency, pointer: &str) -> Result<BalancePolicy, Problem> {
    match text {
        "unlimited" => Ok(BalancePolicy::Unlimited),
        _ => Ok(BalancePolicy::Limited { overdraft_minor: not_negative(text, currency, pointer)? }),
    }
}

/// A limit in minor units, above zero.
pub(crate) fn limit(text: &str, currency: Currency, pointer: &str) -> Result<i128, Problem> {
    let money = amount(text, currency, pointer)?;
    if money.amount_minor <= 0 {
        let detail = "a limit must be above zero; leave it out for no limit";
        return Err(Problem::field(Code::LimitNotPositive, pointer, detail));
    }
    Ok(money.amount_minor)
}

/// A customer: the owner of accounts.
pub(crate) fn customer(text: &str, pointer: &str) -> Result<Box<str>, Problem> {
    if text.is_empty() {
        return Err(Problem::field(Code::FieldInvalid, pointer, "a customer is expected: the owner of accounts"));
    }
    free_text(text, pointer, OWNER_MAX_BYTES)
}

/// A fee in minor units; `None` leaves it to the fee rule.
pub(crate) fn fee(text: Option<&str>, currency: Currency) -> Result<Option<i128>, Problem> {
    text.map(|text| not_negative(text, currency, "#/fee")).transpose()
}

/// The date a command counts for, if it names one.
pub(crate) fn effective_on(text: Option<&str>) -> Result<Option<CivilDate>, Problem> {
    text.map(|text| date(text, "#/effective_on")).transpose()
}

fn amount(text: &str, currency: Currency, pointer: &str) -> Result<Money, Problem> {
    if text.len() > AMOUNT_TEXT_MAX_BYTES {
        return Err(Problem::field(Code::AmountNotANumber, pointer, "the amount is too long to be one"));
    }
    Money::parse(text, currency).map_err(|error| {
        let code = match &error {
            MoneyError::TooPrecise { .. } => Code::AmountTooPrecise,
            MoneyError::TooLarge => Code::AmountTooLarge,
            MoneyError::Currency(_) => Code::CurrencyUnknown,
            // `MoneyError` may grow; what can't be read as an amount is not one.
            MoneyError::NotANumber(_) | _ => Code::AmountNotANumber,
        };
        Problem::field(code, pointer, error.to_string())
    })
}

/// A date, `YYYY-MM-DD`.
pub(crate) fn date(text: &str, pointer: &str) -> Result<CivilDate, Problem> {
    text.parse().map_err(|_| Problem::field(Code::DateInvalid, pointer, "a date as YYYY-MM-DD is expected"))
}

/// A point in time as in RFC 3339.
pub(crate) fn time(text: &str, pointer: &str) -> Result<Timestamp, Problem> {
    let detail = "a time as in RFC 3339 is expected, such as 2026-11-21T12:00:00Z";
    text.parse().map_err(|_| Problem::field(Code::TimeInvalid, pointer, detail))
}

/// An account by its UUID or by its code.
pub(crate) fn account(text: &str, book: BookId, pointer: &str) -> Result<AccountId, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    check_code(text, pointer)?;
    Ok(AccountId::from_code(book, text))
}

/// The code of an account to be opened. Whether it is reserved is for the book to say.
pub(crate) fn new_code(text: &str, pointer: &str) -> Result<Box<str>, Problem> {
    check_code(text, pointer)?;
    if text.parse::<AccountId>().is_ok() {
        return Err(Problem::field(
            Code::AccountCodeInvalid,
            pointer,
            "a code that reads as a UUID would be taken for an id",
        ));
    }
    free_text(text, pointer, event_schemas::bounds::CODE_MAX_BYTES)
}

fn check_code(text: &str, pointer: &str) -> Result<(), Problem> {
    let fits = !text.is_empty()
        && text.len() <= event_schemas::bounds::CODE_MAX_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'_' | b'-'));
    if fits {
        return Ok(());
    }
    Err(Problem::field(
        Code::AccountCodeInvalid,
        pointer,
        "a UUID or a code is expected: 1 to 64 letters, digits and the characters : . _ -",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn code<T>(result: Result<T, Problem>) -> Option<Code> {
        result.err().map(|problem| problem.code())
    }

    #[test]
    fn amounts_are_refused_by_code() {
        let eur: Currency = "EUR".parse().unwrap();
        let jpy: Currency = "JPY".parse().unwrap();
        for (text, currency, expected) in [
            ("12.34", eur, None),
            ("12.340", eur, None),
            ("0.01", eur, None),
            ("0", eur, Some(Code::AmountNotPositive)),
            ("-1", eur, Some(Code::AmountNotPositive)),
            ("0.001", eur, Some(Code::AmountTooPrecise)),
            ("1.5", jpy, Some(Code::AmountTooPrecise)),
            ("1e3", eur, Some(Code::AmountNotANumber)),
            ("1,50", eur, Some(Code::AmountNotANumber)),
            ("", eur, Some(Code::AmountNotANumber)),
            (" 1", eur, Some(Code::AmountNotANumber)),
            ("NaN", eur, Some(Code::AmountNotANumber)),
            ("--1", eur, Some(Code::AmountNotANumber)),
            ("1-1", eur, Some(Code::AmountNotANumber)),
            ("1.2.3", eur, Some(Code::AmountNotANumber)),
            ("99999999999999999999999999", eur, Some(Code::AmountTooLarge)),
        ] {
            assert_eq!(code(positive(text, currency, "#/amount")), expected, "{text:?}");
        }
        let long = "1".repeat(65);
        assert_eq!(code(positive(&long, eur, "#/amount")), Some(Code::AmountNotANumber));
        assert_eq!(not_negative("0", eur, "#/fee").unwrap(), 0);
        assert_eq!(code(not_negative("-0.01", eur, "#/fee")), Some(Code::AmountNotPositive));
        assert_eq!(overdraft("unlimited", eur, "#/overdraft").unwrap(), BalancePolicy::Unlimited);
        assert_eq!(
            overdraft("20000.00", eur, "#/overdraft").unwrap(),
            BalancePolicy::Limited { overdraft_minor: 2_000_000 }
        );
    }

    #[test]
    fn currencies_dates_and_accounts() {
        assert!(currency("EUR", "#/currency").is_ok());
        for text in ["eur", "EURO", "XXX", "ZZZ", ""] {
            assert_eq!(code(currency(text, "#/currency")), Some(Code::CurrencyUnknown), "{text:?}");
        }
        assert!(date("1993-01-05", "#/effective_on").is_ok());
        for text in ["1993-02-30", "93-01-05", "05.01.1993", "1993-01-05T00:00:00Z", ""] {
            assert_eq!(code(date(text, "#/effective_on")), Some(Code::DateInvalid), "{text:?}");
        }
        let book = BookId::FIRST;
        assert_eq!(account("berka:2378", book, "#/to").unwrap(), AccountId::from_code(book, "berka:2378"));
        let id = "0190a5d4-7c1e-7000-8000-000000000001";
        assert_eq!(account(id, book, "#/to").unwrap().to_string(), id);
        for text in ["", "a b", "a/b", "ž", &"x".repeat(65)] {
            assert_eq!(code(account(text, book, "#/to")), Some(Code::AccountCodeInvalid), "{text:?}");
        }
        assert_eq!(code(new_code(id, "#/code")), Some(Code::AccountCodeInvalid));
        assert_eq!(code(new_code("4111111111111111", "#/code")), Some(Code::CardNumberInText));
    }
}

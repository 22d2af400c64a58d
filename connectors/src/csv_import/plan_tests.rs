#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

const RULES: &str = r#"
source = "bank"
[row]
key = "{id}"
account = "c:{acc}"
date = { column = "date", format = "DD/MM/YYYY" }
amount = { column = "amount", thousands = "," }
side = { column = "type", credit = "IN", debit = "OUT" }
currency_column = "ccy"
reference = "no {id}"
[[account]]
match = "c:*"
kind = "liability"
overdraft = "5.00"
owner = "client:{acc}"
[[account]]
match = "bank:fees"
kind = "income"
currency = "EUR"
overdraft = "unlimited"
[[account]]
match = "old:*"
open = false
[[skip]]
when = { op = "NOTE" }
[[template]]
side = "credit"
when = { op = ["CASH", ""] }
kind = "top_up"
[[template]]
side = "debit"
when = { op = "CASH" }
kind = "withdrawal"
reference = ""
[[template]]
when = { op = "MOVE" }
kind = "transfer"
counter = "old:{other}"
[[template]]
when = { op = "FEE" }
kind = "entry"
counter = "bank:fees"
[[template]]
when = { op = "SPLIT" }
kind = "entry"
postings = [
  { account = "c:{acc}", side = "row" },
  { account = "bank:fees", side = "counter", amount_column = "part" },
  { account = "old:x", side = "debit", amount_column = "part" },
]
"#;

/// Path and body, or code and key.
type Made = Result<Option<(&'static str, Value)>, (&'static str, String)>;

fn plan(rows: &[&str]) -> Vec<Made> {
    let rules = Rules::parse(RULES).unwrap();
    let columns =
        Columns(["id", "acc", "date", "type", "amount", "ccy", "op", "other", "part"].map(String::from).into());
    let mut planner = Planner::new(&rules, &columns).unwrap();
    rows.iter()
        .map(|row| {
            let fields: csv::StringRecord = row.split(';').collect::<Vec<_>>().into();
            match planner.plan(&Row { line: 2, fields }) {
                Ok(None) => Ok(None),
                Ok(Some(request)) => {
                    assert!(request.idempotency_key.starts_with("bank:"));
                    Ok(Some((request.path, serde_json::from_slice(&request.body).unwrap())))
                }
                Err(fault) => Err((fault.code, fault.key)),
            }
        })
        .collect()
}

#[test]
fn each_template_makes_its_command() {
    let made = plan(&[
        "1;7;02/01/2024;IN;1,000.50;EUR;CASH;;",
        "2;7;02/01/2024;OUT;1;EUR;CASH;;",
        "3;7;02/01/2024;OUT;2;EUR;MOVE;9;",
        "4;7;02/01/2024;IN;2;EUR;MOVE;9;",
        "5;7;02/01/2024;OUT;3;EUR;FEE;;",
        "6;7;02/01/2024;IN;-3;EUR;FEE;;",
        "7;7;02/01/2024;IN;3;EUR;SPLIT;;1.50",
        "8;7;02/01/2024;IN;3;EUR;NOTE;;",
    ]);
    let day = "2024-01-02";
    let leg = |account: &str, side: &str, amount: &str| json!({ "account": account, "side": side, "amount": amount, "currency": "EUR" });
    let expected = [
        Some((
            "top-ups",
            json!({ "account": "c:7", "amount": "1000.50", "currency": "EUR", "fee": "0", "effective_on": day, "reference": "no 1" }),
        )),
        Some((
            "withdrawals",
            json!({ "account": "c:7", "amount": "1", "currency": "EUR", "fee": "0", "effective_on": day }),
        )),
        Some((
            "transfers",
            json!({ "from": "c:7", "to": "old:9", "amount": "2", "currency": "EUR", "fee": "0", "effective_on": day, "reference": "no 3" }),
        )),
        Some((
            "transfers",
            json!({ "from": "old:9", "to": "c:7", "amount": "2", "currency": "EUR", "fee": "0", "effective_on": day, "reference": "no 4" }),
        )),
        Some((
            "entries",
            json!({ "postings": [leg("bank:fees", "credit", "3"), leg("c:7", "debit", "3")], "effective_on": day, "reference": "no 5" }),
        )),
        // A negative amount turns the side: a fee given back is entered as it was taken.
        Some((
            "entries",
            json!({ "postings": [leg("bank:fees", "credit", "3"), leg("c:7", "debit", "3")], "effective_on": day, "reference": "no 6" }),
        )),
        Some((
            "entries",
            json!({ "postings": [leg("c:7", "credit", "3"), leg("bank:fees", "debit", "1.50"), leg("old:x", "debit", "1.50")],
                    "effective_on": day, "reference": "no 7" }),
        )),
        None,
    ];
    for (made, expected) in made.into_iter().zip(expected) {
        assert_eq!(made.unwrap(), expected);
    }
}

#[test]
fn rows_that_do_not_parse_are_refused_with_a_code() {
    for (row, code, key) in [
        (";7;02/01/2024;IN;1;EUR;CASH;;", "row_key_invalid", ""),
        ("1;7;31/02/2024;IN;1;EUR;CASH;;", "date_invalid", "1"),
        ("1;7;02/01/2024;IN;one;EUR;CASH;;", "amount_not_a_number", "1"),
        ("1;7;02/01/2024;INN;1;EUR;CASH;;", "side_unknown", "1"),
        ("1;7;02/01/2024;IN;1;EUR;GIFT;;", "no_template", "1"),
        ("1;7;02/01/2024;IN;1;EUR;SPLIT;;x", "amount_not_a_number", "1"),
    ] {
        assert_eq!(plan(&[row]), [Err((code, key.to_owned()))], "{row}");
    }
}

#[test]
fn an_account_is_opened_by_the_first_row_that_names_it() {
    let rules = Rules::parse(RULES).unwrap();
    let columns =
        Columns(["id", "acc", "date", "type", "amount", "ccy", "op", "other", "part"].map(String::from).into());
    let mut planner = Planner::new(&rules, &columns).unwrap();
    let mut slots = |row: &str| {
        let fields: csv::StringRecord = row.split(';').collect::<Vec<_>>().into();
        planner.plan(&Row { line: 2, fields }).unwrap().unwrap().accounts
    };
    let first = slots("1;7;02/01/2024;OUT;1;CZK;FEE;;");
    let second = slots("2;7;02/01/2024;OUT;1;EUR;MOVE;9;");
    assert!(Arc::ptr_eq(&first[0], &second[0]));
    let body = |slot: &AccountSlot| slot.open.as_deref().map(|body| serde_json::from_slice::<Value>(body).unwrap());
    assert_eq!(
        body(&first[0]),
        Some(
            json!({ "code": "c:7", "kind": "liability", "currency": "CZK", "overdraft": "5.00", "owner": "client:7" })
        )
    );
    assert_eq!(
        body(&first[1]),
        Some(json!({ "code": "bank:fees", "kind": "income", "currency": "EUR", "overdraft": "unlimited" }))
    );
    assert_eq!(body(&second[1]), None);
}

#[test]
fn a_missing_column_is_named_with_its_key() {
    let rules = Rules::parse(RULES).unwrap();
    let columns = Columns(["id", "acc", "date", "type", "amount", "ccy", "other", "part"].map(String::from).into());
    let Err(error) = Planner::new(&rules, &columns) else { panic!("bound without a column") };
    assert!(error.to_string().starts_with("skip[1].when.op: the file has no column \"op\""), "{error}");
}

#[test]
fn keys_of_any_text_fit_a_header() {
    assert_eq!(header_text("a:1/b"), "a:1/b");
    assert_eq!(header_text("ü 1%"), "%C3%BC%201%25");
}

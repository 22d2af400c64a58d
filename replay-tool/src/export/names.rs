//! Account names as plain-text ledgers can spell them. Each account gets a name of its own: where two would be spelled
//! alike, the later one carries the beginning of its id.

use std::collections::HashSet;

use event_schemas::AccountId;
use event_schemas::command::{AccountKind, OpenAccount};

/// Names in the order of the accounts, made by `spell` and kept apart.
pub(super) fn unique(accounts: &[OpenAccount], spell: impl Fn(&OpenAccount) -> String) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(accounts.len());
    for open in accounts {
        let plain = spell(open);
        // The id in full is unique, so this ends; eight digits nearly always do.
        let id = id_digits(open.account);
        let candidates = [0, 8, 32].into_iter().map(|digits| match id.get(..digits) {
            Some(part) if digits > 0 => format!("{plain}-{part}"),
            _ => plain.clone(),
        });
        let name =
            candidates.into_iter().find(|name| !taken.contains(name)).unwrap_or_else(|| format!("{plain}--{id}"));
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

fn id_digits(id: AccountId) -> String {
    format!("{:032x}", id.0)
}

/// `liabilities:berka:2378`. Anything but letters, digits and `:._-` becomes a dash, and no part is empty.
pub(super) fn hledger(open: &OpenAccount) -> String {
    let root = match open.kind {
        AccountKind::Asset => "assets",
        AccountKind::Liability => "liabilities",
        AccountKind::Equity => "equity",
        AccountKind::Income => "income",
        AccountKind::Expense => "expenses",
    };
    let mut name = root.to_owned();
    for part in crate::accounts::name_of(open).split(':').filter(|part| !part.is_empty()) {
        name.push(':');
        name.extend(part.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }));
    }
    name
}

/// `Liabilities:Berka-2378`: one part below the root, of letters, digits and dashes, beginning with a capital or a digit.
pub(super) fn beancount(open: &OpenAccount) -> String {
    let root = match open.kind {
        AccountKind::Asset => "Assets",
        AccountKind::Liability => "Liabilities",
        AccountKind::Equity => "Equity",
        AccountKind::Income => "Income",
        AccountKind::Expense => "Expenses",
    };
    let part: String = if open.code.is_empty() {
        format!("Id-{}", open.account)
    } else {
        open.code.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    };
    let mut characters = part.chars();
    let first = characters.next().map_or('X', |c| c.to_ascii_uppercase());
    let first = if first.is_ascii_alphanumeric() { first.to_string() } else { format!("X{first}") };
    format!("{root}:{first}{}", characters.as_str())
}

#[cfg(test)]
mod tests {
    use event_schemas::command::BalancePolicy;
    use event_schemas::{BookId, Currency};

    use super::*;

    fn account(kind: AccountKind, code: &str) -> OpenAccount {
        OpenAccount {
            account: if code.is_empty() { AccountId(7) } else { AccountId::from_code(BookId::FIRST, code) },
            code: code.into(),
            kind,
            currency: Currency::from_parts(*b"CZK", 2).expect("a currency"),
            owner: "".into(),
            policy: BalancePolicy::Unlimited,
        }
    }

    #[test]
    fn names_are_spelled_as_each_program_allows() {
        let rows = [
            (AccountKind::Liability, "berka:2378", "liabilities:berka:2378", "Liabilities:Berka-2378"),
            (AccountKind::Asset, "sys:psp-clearing:EUR", "assets:sys:psp-clearing:EUR", "Assets:Sys-psp-clearing-EUR"),
            (AccountKind::Income, "a::b_.c", "income:a:b_.c", "Income:A--b--c"),
            (AccountKind::Equity, "-own", "equity:-own", "Equity:X-own"),
            (AccountKind::Expense, "9", "expenses:9", "Expenses:9"),
            (
                AccountKind::Asset,
                "",
                "assets:00000000-0000-0000-0000-000000000007",
                "Assets:Id-00000000-0000-0000-0000-000000000007",
            ),
        ];
        for (kind, code, in_hledger, in_beancount) in rows {
            let open = account(kind, code);
            assert_eq!((hledger(&open).as_str(), beancount(&open).as_str()), (in_hledger, in_beancount));
        }
    }

    #[test]
    fn accounts_that_would_be_spelled_alike_are_kept_apart() {
        let accounts = [account(AccountKind::Asset, "a.b"), account(AccountKind::Asset, "a-b")];
        let names = unique(&accounts, beancount);
        let id = id_digits(accounts[1].account);
        assert_eq!(names, ["Assets:A-b".to_owned(), format!("Assets:A-b-{}", &id[..8])]);
        assert_eq!(unique(&accounts, hledger), ["assets:a.b", "assets:a-b"]);
    }
}

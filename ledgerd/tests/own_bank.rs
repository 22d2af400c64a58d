//! The example that readers copy for their own file does what its rules say, in a real book.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use connectors::csv_import::{ImportOptions, Rules, import};
use support::{Inside, root};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_for_your_own_bank_is_imported_as_its_rules_say() {
    let inside = Inside::start().await;
    let example = root().join("examples/own-bank");
    let options = ImportOptions {
        url: inside.client.url.clone(),
        key: inside.client.key.clone(),
        connections: 8,
        strict: true,
        refused: None,
        retry_for: Duration::from_secs(10),
    };
    let rules = Arc::new(Rules::load(&example.join("rules.toml")).unwrap());
    let file = example.join("transactions.csv");
    let first = import(Arc::clone(&rules), &file, &options, |_| ()).await.unwrap();
    assert_eq!((first.rows, first.posted, first.skipped, first.refused), (11, 10, 1, 0));
    assert_eq!(first.accounts_opened, 5);
    let again = import(rules, &file, &options, |_| ()).await.unwrap();
    assert_eq!((again.posted, again.already_there), (0, 10));
    for (account, balance) in [
        ("member:17", "1601.40"),
        ("member:21", "705.10"),
        ("shop:corner-book-shop", "48.60"),
        ("shop:mufcller-s-bakery", "12.40"),
        ("house:fees", "2.50"),
    ] {
        assert_eq!(inside.client.balance(account).await, balance, "{account}");
    }
    inside.end().await;
}

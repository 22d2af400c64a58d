//! Two customers convert money at the reference rates of a day of the past.

use std::path::Path;

use anyhow::{Context as _, ensure};
use connectors::fx::EcbHistory;
use event_schemas::Timestamp;
use serde_json::{Value, json};

use super::{Running, align_right, member, members};
use crate::cli;

const DAY: &str = "2026-10-16";

/// Publishes the rates of that day, converts, and shows what came of it.
pub(super) async fn show(server: &Running, examples: &Path) -> anyhow::Result<()> {
    let history = EcbHistory::read(&examples.join("ecb/eurofxref.csv"))?;
    let now = crate::serve::system_clock().wall;
    let now = now();
    let quoted = history.of(Some(DAY.parse().map_err(|_| anyhow::anyhow!("no date"))?), &[], now)?;
    let rates: Vec<Value> = quoted
        .rates
        .iter()
        .map(|rate| json!({ "currency": rate.currency.code(), "per_pivot": rate.per_pivot }))
        .collect();
    let sheet = json!({
        "version": 1, "pivot": "EUR", "source": "ecb", "quoted_on": quoted.quoted_on, "fetched_at": quoted.fetched_at,
        "valid_until": Timestamp(now.0 + 86_400_000_000), "quote_seconds": 60, "rates": rates,
        "margins": [{ "tier": "gold", "margin_ppm": 2_500 }, { "margin_ppm": 10_000 }],
    });
    let mut last = server.post("rate-sheets", "demo-sheet", &sheet).await?;
    for (customer, sold, bought, money) in [("eva", "CZK", "EUR", "10000.00"), ("jan", "EUR", "JPY", "500.00")] {
        for currency in [sold, bought] {
            let code = format!("demo:{customer}:{currency}");
            let owner = format!("demo:{customer}");
            let open = json!({ "code": code, "kind": "liability", "currency": currency, "owner": owner });
            server.post("accounts", &format!("open-{code}"), &open).await?;
        }
        let cash =
            json!({ "account": format!("demo:{customer}:{sold}"), "amount": money, "currency": sold, "fee": "0" });
        last = server.post("top-ups", &format!("fund-{customer}"), &cash).await?;
    }
    let sequence = member(&last, "sequence");
    // A query with the sequence waits for the read models, by which quotes are made.
    server.get(&format!("rates/latest?symbols=CZK&min_sequence={sequence}&timeout_ms=30000")).await?;
    let mut table = cli::table(&["customer", "sold", "bought", "mid", "customer's rate", "margin", "rounding"]);
    for (customer, sold, bought, amount, currency, tier) in
        [("eva", "CZK", "EUR", "5000.00", "CZK", None), ("jan", "EUR", "JPY", "25000", "JPY", Some("gold"))]
    {
        let mut ask = json!({
            "from": format!("demo:{customer}:{sold}"), "to": format!("demo:{customer}:{bought}"),
            "amount": amount, "currency": currency,
        });
        if let (Some(tier), Some(members)) = (tier, ask.as_object_mut()) {
            members.insert("tier".into(), tier.into());
        }
        let quote = server.post("quotes", "", &ask).await?;
        last = server.post("conversions", "", &json!({ "quote": member(&quote, "quote") })).await?;
        let money = |name: &str| {
            let of = quote.get(name).cloned().unwrap_or_default();
            format!("{} {}", member(&of, "amount"), member(&of, "currency"))
        };
        table.add_row([
            customer.to_owned(),
            money("sold"),
            money("bought"),
            member(&quote, "mid"),
            member(&quote, "rate"),
            money("margin"),
            money("rounding"),
        ]);
    }
    align_right(&mut table, &[1, 2, 3, 4, 5, 6]);
    println!("{table}");
    let exposure = server.get(&format!("exposure?min_sequence={}&timeout_ms=30000", member(&last, "sequence"))).await?;
    let mut shown = cli::table(&["the house's position", "at the mid, EUR"]);
    for position in members(&exposure, "positions") {
        let of = |name: &str| position.get(name).cloned().unwrap_or_default();
        let (held, value) = (of("position"), of("value"));
        shown.add_row([format!("{} {}", member(&held, "amount"), member(&held, "currency")), member(&value, "amount")]);
    }
    align_right(&mut shown, &[0, 1]);
    println!("{shown}");
    let trial = server.get("trial-balance").await.context("the trial balance")?;
    ensure!(trial.get("balanced") == Some(&Value::Bool(true)), "the trial balance is not zero");
    println!("debits equal credits in each of {} currencies", members(&trial, "currencies").len());
    Ok(())
}

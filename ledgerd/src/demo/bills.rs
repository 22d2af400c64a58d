//! Bills of the customer of the demo, with the sandbox as the provider.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{CUSTOMER, Running, member, members};
use crate::cli;
use crate::config::Config;
use crate::payments;

/// What is paid, and what comes of it by the sandbox's rule.
const BILLS: [(&str, &str, &str); 4] = [
    ("demo-bill-1", "250.00", "success"),
    ("demo-bill-2", "300.02", "success"),
    ("demo-bill-3", "250.01", "failed"),
    ("demo-bill-4", "400.00", "success"),
];

/// Pays bills, takes the last one back, and shows what came of them.
pub(super) async fn show(server: &Running, config: &Config, examples: &Path) -> anyhow::Result<()> {
    let (loading, file) = (config.clone(), examples.join("providers.toml"));
    tokio::task::spawn_blocking(move || payments::load(&loading, &file, "demo", "the demo's providers")).await??;
    for _ in 0..100 {
        if !members(&server.get("providers").await?, "providers").is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut paid = Vec::new();
    for (key, amount, expected) in BILLS {
        let body = json!({
            "account": CUSTOMER, "provider": "chatter", "amount": amount, "currency": "CZK",
            "details": { "number": "+420601123456" },
        });
        let payment = server.post("payments", key, &body).await?;
        ensure!(member(&payment, "status") == expected, "the payment of {amount} should be {expected}: {payment}");
        paid.push(member(&payment, "payment"));
    }
    let last = paid.last().context("a bill was paid")?;
    server.post(&format!("payments/{last}/reverse"), "", &json!({ "reason": "the demo takes it back" })).await?;
    let mut table = cli::table(&["payment", "amount, CZK", "fee", "status", "why", "receipt"]);
    for id in paid {
        let payment = server.get(&format!("payments/{id}")).await?;
        let receipt = payment.get("receipt").map(|receipt: &Value| member(receipt, "number")).unwrap_or_default();
        let [amount, fee, status, failure] = ["amount", "fee", "status", "failure"].map(|name| member(&payment, name));
        table.add_row([id, amount, fee, status, failure, receipt]);
    }
    super::align_right(&mut table, &[1, 2]);
    println!("{table}");
    Ok(())
}

//! `ledgerd provider` and `ledgerd payment`: what operators do with the catalogue and with payments, beside a running server or
//! without one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use connectors::bills::settlement::{Expected, Line, Outcome, reconcile};
use event_schemas::control::{PaymentStep, ProviderSet};
use event_schemas::{CommandId, Money, Timestamp};
use ledger_core::control::payments::{Payment, PaymentCommand, Status};
use ledger_core::control::providers::Provider;
use serde_json::{Value, json};
use stores::control::ControlStore;

use super::directory::Directory;
use super::file;
use crate::cli::{Output, table};
use crate::config::Config;

/// How reconciliation ends if not everything matches.
const DIFFERENCES: u8 = 3;

/// `ledgerd provider`.
#[derive(Debug, Args)]
#[command(
    after_help = "Setting a provider again changes it; what is so already is left as it is. A running server sees changes
within a second. How providers are reached (url, secret) is configuration: [payments.providers.<id>].

Examples:
  ledgerd provider load examples/providers.toml
  ledgerd provider list --output json
  ledgerd provider disable waterworks --reason \"they moved\""
)]
pub struct ProviderArgs {
    #[command(subcommand)]
    act: ProviderAct,
}

#[derive(Debug, Subcommand)]
enum ProviderAct {
    /// Sets up the providers of a file, TOML or JSON
    Load {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        who: Who,
    },
    /// Lists the providers
    List,
    /// Has payments to a provider taken
    Enable {
        /// The provider
        provider: String,
        #[command(flatten)]
        who: Who,
    },
    /// Has payments to a provider refused; those under way go on
    Disable {
        /// The provider
        provider: String,
        #[command(flatten)]
        who: Who,
    },
}

/// Who does it and why.
#[derive(Debug, Args)]
struct Who {
    /// Who does it, for the record [default: the user]
    #[arg(long)]
    actor: Option<String>,
    /// Why, for the record
    #[arg(long, default_value = "")]
    reason: String,
}

impl Who {
    fn actor(&self) -> String {
        self.actor
            .clone()
            .or_else(|| std::env::var("USER").ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "operator".into())
    }
}

/// `ledgerd payment`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ledgerd payment parked                      what somebody has to look at
  ledgerd payment retry 0190a5d4-… --reason \"the provider is up again\"
  ledgerd payment reconcile settlement.csv --provider waterworks --output json")]
pub struct PaymentArgs {
    #[command(subcommand)]
    act: PaymentAct,
}

#[derive(Debug, Subcommand)]
enum PaymentAct {
    /// Shows a payment with every step it took
    Show {
        /// The payment
        payment: CommandId,
    },
    /// Lists the payments that go no further by themselves
    Parked,
    /// Lets a parked payment go on: a running server tries again within a second
    Retry {
        /// The payment
        payment: CommandId,
        #[command(flatten)]
        who: Who,
    },
    /// Holds a provider's settlement file against the payments that succeeded. Exit status 3: not everything matches
    Reconcile {
        /// A CSV file with the columns payment, amount and currency, and perhaps reference
        file: PathBuf,
        /// Whose file it is
        #[arg(long)]
        provider: String,
        /// Leave out payments before this date (UTC)
        #[arg(long)]
        from: Option<event_schemas::CivilDate>,
        /// Leave out payments after this date (UTC)
        #[arg(long)]
        until: Option<event_schemas::CivilDate>,
    },
}

fn now() -> Timestamp {
    (crate::serve::system_clock().wall)()
}

fn set(store: &ControlStore, set: ProviderSet) -> anyhow::Result<()> {
    let id = set.provider.clone();
    store.execute_blocking::<Provider>(&id, set).with_context(|| format!("provider {id}"))
}

/// Sets up the providers of a file.
pub(crate) fn load(config: &Config, file: &Path, actor: &str, reason: &str) -> anyhow::Result<()> {
    let store = crate::keys::store(config)?;
    file::read(file, now(), actor, reason)?.into_iter().try_for_each(|provider| set(&store, provider))
}

/// `ledgerd provider`.
pub fn run_provider(args: &ProviderArgs, config: &Config, output: Output) -> anyhow::Result<()> {
    let store = crate::keys::store(config)?;
    let switch = |provider: &str, enabled: bool, who: &Who| -> anyhow::Result<()> {
        let known = Directory::read(&store)?.provider(provider);
        let known = known.with_context(|| format!("there is no provider {provider}"))?;
        let (actor, reason) = (who.actor().into(), who.reason.as_str().into());
        set(&store, ProviderSet { enabled, set_at: now(), actor, reason, ..(*known).clone() })
    };
    match &args.act {
        ProviderAct::Load { file, who } => {
            for provider in file::read(file, now(), &who.actor(), &who.reason)? {
                set(&store, provider)?;
            }
        }
        ProviderAct::List => {}
        ProviderAct::Enable { provider, who } => switch(provider, true, who)?,
        ProviderAct::Disable { provider, who } => switch(provider, false, who)?,
    }
    let providers = Directory::read(&store)?.providers();
    match output {
        Output::Json => println!("{}", serde_json::to_string(&providers.iter().map(|set| &**set).collect::<Vec<_>>())?),
        Output::Text if providers.is_empty() => println!("no providers: load some with `ledgerd provider load FILE`"),
        Output::Text => {
            let mut rows = table(&["provider", "name", "category", "taken", "currencies", "fields"]);
            for provider in providers {
                let currencies: Vec<_> = provider.terms.iter().map(|terms| terms.currency.to_string()).collect();
                let fields: Vec<_> = provider.fields.iter().map(|field| field.name.to_string()).collect();
                rows.add_row([
                    provider.provider.to_string(),
                    provider.name.to_string(),
                    provider.category.name().to_owned(),
                    if provider.enabled { "yes" } else { "no" }.to_owned(),
                    currencies.join(" "),
                    fields.join(" "),
                ]);
            }
            println!("{rows}");
        }
    }
    Ok(())
}

fn payment_json(payment: &Payment) -> Value {
    let request = payment.request.as_ref();
    json!({
        "payment": payment.id(),
        "status": payment.status().name(),
        "provider": request.map(|request| &request.provider),
        "account": request.map(|request| request.account),
        "amount": request.map(|request| request.amount.amount().to_string()),
        "currency": request.map(|request| request.amount.currency.to_string()),
        "parked": payment.parked.as_ref().map(|parked| {
            json!({ "code": parked.code, "detail": parked.detail, "since": parked.at })
        }),
        "steps": payment.steps.iter().map(|(at, attempt, step)| json!({ "at": at, "step": step, "attempt": attempt }))
            .collect::<Vec<_>>(),
    })
}

/// `ledgerd payment`.
pub fn run_payment(args: PaymentArgs, config: &Config, output: Output) -> anyhow::Result<ExitCode> {
    let store = crate::keys::store(config)?;
    match args.act {
        PaymentAct::Show { payment } => {
            let found = Directory::read(&store)?.payment(payment).context("there is no such payment")?;
            show(&found, output);
        }
        PaymentAct::Parked => {
            let parked = Directory::read(&store)?.parked();
            match output {
                Output::Json => println!("{}", parked.iter().map(|payment| payment_json(payment)).collect::<Value>()),
                Output::Text if parked.is_empty() => println!("no payment is parked"),
                Output::Text => {
                    let mut rows = table(&["payment", "provider", "amount", "since", "code", "detail"]);
                    for payment in parked {
                        let (Some(request), Some(why)) = (&payment.request, &payment.parked) else { continue };
                        rows.add_row([
                            request.payment.to_string(),
                            request.provider.to_string(),
                            format!("{} {}", request.amount.amount(), request.amount.currency),
                            why.at.to_string(),
                            why.code.to_string(),
                            why.detail.to_string(),
                        ]);
                    }
                    println!("{rows}");
                }
            }
        }
        PaymentAct::Retry { payment, who } => {
            let (actor, reason) = (who.actor().into(), who.reason.as_str().into());
            let command = PaymentCommand::Step { at: now(), what: PaymentStep::Resumed { actor, reason } };
            store.execute_blocking::<Payment>(&payment.to_string(), command)?;
            let found = Directory::read(&store)?.payment(payment).context("there is no such payment")?;
            show(&found, output);
        }
        PaymentAct::Reconcile { file, provider, from, until } => {
            let directory = Directory::read(&store)?;
            if directory.provider(&provider).is_none() {
                bail!("there is no provider {provider}");
            }
            let expected = directory.all().into_iter().filter_map(|payment| {
                let request = payment.request.as_ref().filter(|request| *request.provider == *provider)?;
                let paid = payment.captured.filter(|_| payment.status() == Status::Success)?;
                let day = paid.at.date_utc();
                let within = from.is_none_or(|from| day >= from) && until.is_none_or(|until| day <= until);
                within.then(|| Expected {
                    payment: request.payment,
                    amount: Money::new(paid.amount_minor, request.amount.currency),
                    reference: payment.answer.as_ref().map(|answer| answer.reference.clone()).unwrap_or_default(),
                })
            });
            let opened = File::open(&file).with_context(|| file.display().to_string())?;
            let lines = reconcile(opened, expected).with_context(|| file.display().to_string())?;
            report(&lines, output);
            if lines.iter().any(|line| line.outcome != Outcome::Matched) {
                return Ok(ExitCode::from(DIFFERENCES));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(payment: &Payment, output: Output) {
    match output {
        Output::Json => println!("{}", payment_json(payment)),
        Output::Text => {
            println!("payment {} is {}", payment.id(), payment.status().name());
            if let Some(parked) = &payment.parked {
                println!("parked since {}: {} ({})", parked.at, parked.code, parked.detail);
            }
            let mut rows = table(&["at", "step", "attempt"]);
            for (at, attempt, step) in &payment.steps {
                rows.add_row([at.to_string(), (*step).to_owned(), attempt.to_string()]);
            }
            println!("{rows}");
        }
    }
}

fn report(lines: &[Line], output: Output) {
    let mut counts: BTreeMap<Outcome, usize> = Outcome::ALL.into_iter().map(|outcome| (outcome, 0)).collect();
    for line in lines {
        *counts.entry(line.outcome).or_default() += 1;
    }
    let told = |money: Option<Money>| money.map(|money| format!("{} {}", money.amount(), money.currency));
    match output {
        Output::Json => {
            let counts: BTreeMap<_, _> = counts.iter().map(|(outcome, count)| (outcome.name(), count)).collect();
            let lines: Vec<_> = lines
                .iter()
                .map(|line| {
                    json!({
                        "outcome": line.outcome.name(),
                        "payment": line.payment,
                        "line": line.line,
                        "expected": told(line.expected),
                        "found": told(line.found),
                        "reference": line.reference,
                    })
                })
                .collect();
            println!("{}", json!({ "counts": counts, "lines": lines }));
        }
        Output::Text => {
            let mut rows = table(&["outcome", "payment", "line", "expected", "found"]);
            for line in lines.iter().filter(|line| line.outcome != Outcome::Matched) {
                rows.add_row([
                    line.outcome.name().to_owned(),
                    line.payment.to_string(),
                    line.line.map_or_else(String::new, |line| line.to_string()),
                    told(line.expected).unwrap_or_default(),
                    told(line.found).unwrap_or_default(),
                ]);
            }
            println!("{rows}");
            let counts: Vec<_> = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
            println!("{}", counts.join(", "));
        }
    }
}

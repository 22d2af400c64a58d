//! `ledgerd dlq`: what consumers could not handle, shown, asked for again, and given up.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use connectors::kafka::dead_letters::{Desk, Letter, Parked};
use serde_json::{Value, json};

use super::{Cluster, shown};
use crate::cli::{Output, table};

/// Dead letters of a topic.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic whose consumers parked something, such as transaction.completed
    #[arg(long, global = true, default_value = "")]
    topic: String,
    /// Only what this consumer group parked
    #[arg(long, global = true)]
    group: Option<String>,
    #[command(subcommand)]
    act: DlqAct,
}

#[derive(Debug, Subcommand)]
enum DlqAct {
    /// The keys that are parked, and why
    #[command(after_help = "Examples:
  ledgerd dlq list --topic transaction.completed
  ledgerd dlq list --topic transaction.completed --group mail --output json")]
    List,
    /// The events of a key, in order
    #[command(after_help = "Example:
  ledgerd dlq show --topic transaction.completed --key 01920000-0000-7000-8000-00000000000a")]
    Show {
        /// The key
        #[arg(long)]
        key: String,
    },
    /// Asks the group's consumer to handle the events of a key again, in order
    #[command(
        after_help = "It is done by the consumer, within a second of the time it runs. If all go well the key is free; at the first
that fails again it stays parked. Nothing is sent to the topic again, so no other group gets anything twice.

Example:
  ledgerd dlq retry --topic transaction.completed --key 01920000-0000-7000-8000-00000000000a --actor anna"
    )]
    Retry {
        /// The key; all that are parked without one
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Gives up one event of a key, or all that are parked of it
    #[command(
        after_help = "That goes on record in the dead-letter topic, with actor and reason; the events stay there. What is behind an event
that was given up waits for a retry.

Examples:
  ledgerd dlq discard --topic transaction.completed --key 01920000-0000-7000-8000-00000000000a --event 1/4711 \\
      --actor anna --reason \"sent by hand\"
  ledgerd dlq discard --topic transaction.completed --key 01920000-0000-7000-8000-00000000000a --all \\
      --actor anna --reason \"a test account\""
    )]
    Discard {
        /// The key
        #[arg(long)]
        key: String,
        /// The id of the event to give up
        #[arg(long, required_unless_present = "all", conflicts_with = "all")]
        event: Option<String>,
        /// All that are parked of the key
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        who: Who,
    },
}

/// Who acts.
#[derive(Debug, Args)]
struct Who {
    /// Who asks, for the record
    #[arg(long, value_parser = text)]
    actor: String,
    /// Why, for the record
    #[arg(long, value_parser = text, default_value = "")]
    reason: String,
}

fn text(text: &str) -> Result<String, String> {
    let fits = text.len() <= 256 && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("at most 256 bytes, without control characters".into()) }
}

/// Does what was asked.
pub fn run(args: &DlqArgs, output: Output) -> anyhow::Result<()> {
    if args.topic.is_empty() {
        bail!("of which topic? Name it with --topic, such as transaction.completed");
    }
    let (_, settings) = args.cluster.open()?;
    let desk = Desk::open(&settings, &settings.named(&args.topic))?;
    let letters = desk.read()?;
    let ours = |parked: &&Parked| args.group.as_ref().is_none_or(|group| *group == parked.group);
    let parked: Vec<&Parked> = letters.parked().filter(ours).collect();
    match &args.act {
        DlqAct::List => list(&desk, &parked, output),
        DlqAct::Show { key } => show(&desk, &of_key(&parked, key, &desk)?, output)?,
        DlqAct::Retry { key, who } => {
            let chosen = key.as_ref().map_or_else(|| Ok(parked.clone()), |key| of_key(&parked, key, &desk))?;
            for one in &chosen {
                desk.ask_retry(one, &who.actor, &who.reason)?;
            }
            done("asked the consumer for a retry of", &chosen, output);
        }
        DlqAct::Discard { key, event, who, all: _ } => {
            if who.reason.is_empty() {
                bail!("why is it given up? Say so with --reason, for the record");
            }
            let chosen = of_key(&parked, key, &desk)?;
            let holds =
                |one: &&Parked| event.as_ref().is_none_or(|id| one.letters.iter().any(|letter| letter.id == *id));
            let chosen: Vec<_> = chosen.into_iter().filter(holds).collect();
            if chosen.is_empty() {
                let id = event.as_deref().unwrap_or_default();
                bail!(
                    "event {id} of key {key} is not parked in {}; `ledgerd dlq show` has those that are",
                    desk.topic()
                );
            }
            for one in &chosen {
                desk.discard(one, event.as_deref(), &who.actor, &who.reason)?;
            }
            done("gave up", &chosen, output);
        }
    }
    Ok(())
}

fn of_key<'a>(parked: &[&'a Parked], key: &str, desk: &Desk) -> anyhow::Result<Vec<&'a Parked>> {
    let chosen: Vec<_> = parked.iter().filter(|one| one.key == key).copied().collect();
    let none = || format!("key {key} is not parked in {}; `ledgerd dlq list` has those that are", desk.topic());
    (!chosen.is_empty()).then_some(chosen).with_context(none)
}

fn told(parked: &Parked) -> Value {
    let first = parked.letters.first();
    json!({
        "group": parked.group, "key": parked.key, "partition": parked.partition, "events": parked.letters.len(),
        "retry_asked": parked.retry_asked, "first": first.map(told_letter),
    })
}

fn told_letter(letter: &Letter) -> Value {
    let failure = &letter.failure;
    json!({
        "event": letter.id, "error_class": failure.class, "error": failure.error, "attempts": failure.attempts,
        "first_failure": failure.first,
    })
}

fn list(desk: &Desk, parked: &[&Parked], output: Output) {
    match output {
        Output::Json => {
            let keys: Vec<_> = parked.iter().map(|one| told(one)).collect();
            println!("{}", json!({ "topic": desk.topic(), "keys": keys }));
        }
        Output::Text if parked.is_empty() => println!("nothing is parked in {}", desk.topic()),
        Output::Text => {
            let mut rows = table(&["group", "key", "events", "first event", "error", "attempts", "since", ""]);
            for one in parked {
                let Some(first) = one.letters.first() else { continue };
                let failure = &first.failure;
                rows.add_row([
                    one.group.clone(),
                    one.key.clone(),
                    one.letters.len().to_string(),
                    first.id.clone(),
                    format!("{}: {}", failure.class, failure.error),
                    failure.attempts.to_string(),
                    failure.first.to_string(),
                    if one.retry_asked { "retry asked".into() } else { String::new() },
                ]);
            }
            println!("{rows}");
        }
    }
}

fn show(desk: &Desk, parked: &[&Parked], output: Output) -> anyhow::Result<()> {
    for one in parked {
        let mut events = Vec::new().into_iter();
        for (at, letter) in one.letters.iter().enumerate() {
            if events.len() == 0 {
                events = desk.events(one.partition, one.letters.get(at..).unwrap_or_default())?.into_iter();
            }
            let Some(event) = events.next() else { break };
            match output {
                Output::Json => {
                    let mut told = told_letter(letter);
                    if let Some(fields) = told.as_object_mut() {
                        fields.insert("group".into(), one.group.clone().into());
                        fields.insert("record".into(), shown(&event));
                    }
                    println!("{told}");
                }
                Output::Text => {
                    let failure = &letter.failure;
                    println!("{}  {}: {} ({} attempts)", letter.id, failure.class, failure.error, failure.attempts);
                    println!("    {}", String::from_utf8_lossy(&event.value));
                }
            }
        }
    }
    Ok(())
}

fn done(what: &str, parked: &[&Parked], output: Output) {
    match output {
        Output::Json => println!("{}", json!({ "keys": parked.iter().map(|one| told(one)).collect::<Vec<_>>() })),
        Output::Text if parked.is_empty() => println!("nothing is parked"),
        Output::Text => {
            for one in parked {
                println!("{what} key {} of group {} ({} events parked)", one.key, one.group, one.letters.len());
            }
        }
    }
}

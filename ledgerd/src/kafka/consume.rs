//! `ledgerd kafka consume`: runs a program for each event of a topic, as a member of a consumer group. What a program of any
//! language gets this way: one event at a time, in the order of its key, tried again, and parked if it can't be handled.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use connectors::kafka::{Consumer, ConsumerOptions, ConsumerStatus, Handler, HandlerFault, Received};
use tokio::signal::unix::{SignalKind, signal};

use super::Cluster;
use crate::telemetry;

/// The longest that a program may take for one event.
const PROGRAM_MAX: Duration = Duration::from_mins(1);

/// How much of what a program says on its standard error is kept.
const SAID_MAX_BYTES: usize = 1_000;

/// How a consumer runs.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic, such as transaction.completed
    #[arg(long)]
    topic: String,
    /// The consumer group: all members of a service
    #[arg(long)]
    group: String,
    /// How often an event is tried before its key is parked
    #[arg(long, default_value_t = 5)]
    attempts: u32,
    /// An address to serve figures at, such as 127.0.0.1:9108: GET /metrics
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    program: Vec<String>,
}

/// Runs a program for each event: the value on its standard input, the headers in its environment.
struct Program(Vec<String>);

fn fault(class: impl Into<String>, error: impl std::fmt::Display) -> HandlerFault {
    HandlerFault { class: class.into(), error: error.to_string() }
}

impl Handler for Program {
    fn handle(&mut self, event: &Received) -> Result<(), HandlerFault> {
        let [name, arguments @ ..] = &self.0[..] else { return Err(fault("no_program", "no program is named")) };
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::inherit()).stderr(Stdio::piped());
        command.env("DOPPIA_KEY", event.key_text()).env("DOPPIA_TOPIC", &event.topic);
        for (header, value) in &event.headers {
            // ce_id becomes DOPPIA_CE_ID. A value with a zero byte can't stand in an environment.
            if let Ok(value) = std::str::from_utf8(value)
                && !value.contains('\0')
            {
                command.env(format!("DOPPIA_{}", header.to_uppercase().replace('-', "_")), value);
            }
        }
        let mut child = command.spawn().map_err(|error| fault("not_started", format!("{name}: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read all of it has its reasons.
            let _ = stdin.write_all(&event.value);
        }
        let stderr = child.stderr.take();
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = std::io::copy(&mut stderr, &mut said);
            }
            said
        });
        let until = Instant::now() + PROGRAM_MAX;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() > until => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(fault("late", format!("{name} took longer than {PROGRAM_MAX:?}")));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => return Err(fault("not_waited_for", error)),
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut said = said.join().unwrap_or_default();
        said.truncate(SAID_MAX_BYTES);
        let class = status.code().map_or_else(|| "killed".to_owned(), |code| format!("exit_{code}"));
        Err(fault(class, String::from_utf8_lossy(&said).trim()))
    }
}

/// Consumes until SIGTERM or SIGINT.
pub(super) fn run(cluster: &Cluster, args: &ConsumeArgs) -> anyhow::Result<()> {
    let (config, settings) = cluster.open()?;
    telemetry::start_logging(&config.log);
    let mut options = ConsumerOptions::new(&args.group, &settings.named(&args.topic));
    options.attempts = args.attempts;
    let consumer = Consumer::new(settings, options)?;
    let stop = Arc::new(AtomicBool::new(false));
    let watch = Arc::new(consumer.watch());
    beside(args.metrics, Arc::clone(&watch), Arc::clone(&stop))?;
    let ended = consumer.run(&mut Program(args.program.clone()), &stop);
    let status = watch();
    tracing::info!(
        handled = status.handled_total,
        duplicates = status.duplicates_total,
        parked = status.parked_total,
        parked_keys = status.parked_keys,
        "stopped"
    );
    Ok(ended?)
}

/// What stands beside the consumer, in a thread of its own: the flag that is set once SIGTERM or SIGINT has come, and figures for
/// whoever asks.
fn beside(
    metrics: Option<SocketAddr>,
    watch: Arc<impl Fn() -> ConsumerStatus + Send + Sync + 'static>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (mut terminate, mut interrupt, served) = {
        let _inside = runtime.enter();
        let served = metrics.map(|address| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        });
        let served = served.transpose().with_context(|| format!("--metrics {metrics:?} can't be listened on"))?;
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, served)
    };
    std::thread::Builder::new().name("beside".into()).spawn(move || {
        runtime.block_on(async {
            if let Some(listener) = served {
                let figures = move || std::future::ready(figures(&watch()));
                let router = axum::Router::new().route("/metrics", axum::routing::get(figures));
                tokio::spawn(async move { axum::serve(listener, router).await });
            }
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        stop.store(true, Ordering::Relaxed);
    })?;
    Ok(())
}

/// The figures in the format of Prometheus.
fn figures(status: &ConsumerStatus) -> String {
    let ConsumerStatus { handled_total, duplicates_total, parked_total, failures_total, parked_keys, partitions } =
        *status;
    [
        ("doppia_consumer_parked_keys", "gauge", "Keys that are parked; above 0 somebody has to look", parked_keys),
        ("doppia_consumer_partitions", "gauge", "Partitions of this member", partitions),
        ("doppia_consumer_handled_total", "counter", "Events handled since the start", handled_total),
        (
            "doppia_consumer_duplicates_total",
            "counter",
            "Events passed over, since they were handled",
            duplicates_total,
        ),
        ("doppia_consumer_parked_total", "counter", "Events parked since the start", parked_total),
        ("doppia_consumer_failures_total", "counter", "Attempts that failed since the start", failures_total),
    ]
    .map(|(name, kind, help, value)| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"))
    .concat()
}

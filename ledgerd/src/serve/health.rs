//! `/livez`, `/readyz`, `/metrics`: for whoever runs the server. They need no key and tell nothing of the book but how far
//! it is.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use commands_api::grpc::SeenWriter;
use connectors::kafka::{RelayState, RelayStatus};
use event_schemas::Sequence;
use ledger_core::ports::{CommandSink, EngineStatus, WriterState};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use stores::access_log::AccessJournal;
use stores::scrub::ScrubStatus;
use tokio::sync::watch;

use crate::roles::Roles;

/// Asks the relay how far it is.
pub(crate) type RelayWatch = Box<dyn Fn() -> RelayStatus + Send + Sync>;

/// Tells how the writers are that a gateway was told of.
pub(crate) type WritersWatch = Box<dyn Fn() -> Vec<SeenWriter> + Send + Sync>;

/// Tells what a process waits for.
pub(crate) type Waits = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Counts something.
pub(crate) type Count = Box<dyn Fn() -> usize + Send + Sync>;

/// What health is judged by.
pub(crate) struct Health {
    /// The engine.
    pub(crate) sink: Arc<dyn CommandSink>,
    /// The moment that a server of the past shows; it is read-only by its nature.
    pub(crate) past: Option<Sequence>,
    /// The sequence that the read models have applied; `None` if they are off.
    pub(crate) read_models: Option<watch::Receiver<Sequence>>,
    /// Why the read-model runner stopped, if it did.
    pub(crate) runner_fault: Arc<Mutex<Option<String>>>,
    /// How many events the read models may lie behind.
    pub(crate) max_lag_events: u64,
    /// Whether the server is about to end.
    pub(crate) draining: watch::Receiver<bool>,
    /// The metrics.
    pub(crate) metrics: PrometheusHandle,
    /// The figures of the scrub, if it is on.
    pub(crate) scrub: Option<Arc<Mutex<ScrubStatus>>>,
    /// The access log, if the server keeps one.
    pub(crate) access: Option<Arc<AccessJournal>>,
    /// Tells how far the relay to Kafka is, if there is one.
    pub(crate) relay: Option<RelayWatch>,
    /// The roles of this process.
    pub(crate) roles: Vec<&'static str>,
    /// Tells what it waits for, by role: its turn as the writer, say.
    pub(crate) waits: Waits,
    /// Of a gateway: the writers.
    pub(crate) writers: Option<WritersWatch>,
    /// Of a writer that takes gateways in: how many there are.
    pub(crate) gateways: Option<Count>,
}

/// The operational routes.
pub(crate) fn router(health: Arc<Health>) -> Router {
    describe();
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(health)
}

impl Health {
    /// That of a process with all roles, before more is known of it.
    pub(crate) fn of_one_process(metrics: PrometheusHandle, sink: Arc<dyn CommandSink>) -> Self {
        Self {
            sink,
            past: None,
            read_models: None,
            runner_fault: Arc::default(),
            max_lag_events: u64::MAX,
            draining: watch::channel(false).1,
            metrics,
            scrub: None,
            access: None,
            relay: None,
            roles: Roles::default().names(),
            waits: Box::new(Vec::new),
            writers: None,
            gateways: None,
        }
    }

    fn runner_fault(&self) -> Option<String> {
        self.runner_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lag(&self, status: &EngineStatus) -> Option<u64> {
        self.read_models.as_ref().map(|applied| status.durable.0.saturating_sub(applied.borrow().0))
    }

    fn scrub(&self) -> Option<ScrubStatus> {
        self.scrub.as_ref().map(|status| status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn relay(&self) -> Option<RelayStatus> {
        self.relay.as_ref().map(|relay| relay())
    }

    /// What somebody must look at although the server is ready: damage of what is kept but not needed to go on, and events that are no
    /// longer published.
    fn alarms(&self) -> Vec<String> {
        let mut alarms = self.scrub().map(|scrub| scrub.damage).unwrap_or_default();
        if let Some(RelayState::Stopped(reason)) = self.relay().map(|relay| relay.state)
            && !reason.is_empty()
        {
            alarms.push(format!("the relay to Kafka has stopped: {reason}"));
        }
        // Queries are answered all the same: taking every gateway out of service would make it worse.
        if self.writers.is_some() && self.sink.status().writer == WriterState::Stopped {
            alarms.push("no writer serves now: commands are answered with no_writer".into());
        }
        alarms
    }

    /// Why the server is not ready; empty if it is.
    fn reasons(&self, status: &EngineStatus) -> Vec<String> {
        let mut reasons = Vec::new();
        if *self.draining.borrow() {
            reasons.push("the server is stopping".to_owned());
        }
        match status.writer {
            WriterState::Serving => {}
            WriterState::ReadOnly if self.past.is_some() => {}
            WriterState::Stopped if self.writers.is_some() => {}
            WriterState::ReadOnly => reasons.push(format!("the writer is read-only: {}", status.reason)),
            WriterState::Stopped => reasons.push(format!("the writer has stopped: {}", status.reason)),
        }
        let access = self.access.as_ref().map(|access| access.status().reason).filter(|reason| !reason.is_empty());
        if let Some(reason) = access {
            reasons.push(format!("the access log takes no records, so what goes on it is not shown: {reason}"));
        }
        if let Some(fault) = self.runner_fault() {
            reasons.push(format!("the read models have stopped: {fault}"));
        }
        if let Some(lag) = self.lag(status).filter(|&lag| lag > self.max_lag_events) {
            reasons.push(format!("the read models are {lag} events behind"));
        }
        reasons
    }
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let status = health.sink.status();
    let reasons = health.reasons(&status);
    let applied = health.read_models.as_ref().map(|applied| *applied.borrow());
    let waits = (health.waits)();
    let (code, word) = match (reasons.is_empty(), waits.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "standby"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let writers = health.writers.as_ref().map(|writers| {
        let told = |writer: SeenWriter| {
            let SeenWriter { address, state, epoch, problem } = writer;
            json!({ "address": address, "state": state, "epoch": epoch, "problem": problem })
        };
        writers().into_iter().map(told).collect::<Vec<_>>()
    });
    let relay = health.relay().map(|relay| {
        json!({
            "state": relay.state.name(), "reason": relay.state.reason(), "sequence": relay.position,
            "lag_events": lag_of(&status, &relay),
        })
    });
    let body = json!({
        "status": word, "reasons": reasons, "alarms": health.alarms(), "sequence": status.durable,
        "read_models_sequence": applied, "read_only": health.past.is_some(), "relay": relay,
        "roles": health.roles, "waits_for": waits, "writers": writers,
    });
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

const fn lag_of(status: &EngineStatus, relay: &RelayStatus) -> u64 {
    status.durable.0.saturating_sub(relay.position.0)
}

fn describe() {
    describe_gauge!("doppia_durable_sequence", "The durable sequence of the journal");
    describe_gauge!("doppia_checkpoint_sequence", "The sequence of the newest state checkpoint");
    describe_gauge!("doppia_queued_commands", "Commands that wait for the engine");
    describe_gauge!("doppia_writer_serving", "1 while the writer takes commands, else 0");
    describe_gauge!("doppia_read_models_sequence", "The sequence that the read models have applied");
    describe_gauge!("doppia_read_models_lag_events", "Events that the read models lie behind the journal");
    describe_gauge!("doppia_read_models_running", "1 while the read-model runner works, 0 once a fault has stopped it");
    describe_counter!("doppia_scrub_bytes_total", "Bytes that the scrub has read and checked since the start");
    describe_counter!("doppia_scrub_passes_total", "Passes of the scrub that are finished since the start");
    describe_gauge!("doppia_scrub_last_pass_age_seconds", "How long ago the last finished pass of the scrub ended");
    describe_gauge!("doppia_scrub_last_pass_sequence", "Where in the book the last finished pass of the scrub ended");
    describe_gauge!("doppia_scrub_damage", "Places of damage that the scrub found; 0 is what it should be");
    describe_gauge!("doppia_access_log_sequence", "The durable sequence of the access log");
    describe_counter!("doppia_access_recorded_total", "Reads put on record in the access log since the start");
    describe_counter!(
        "doppia_access_refused_total",
        "Reads refused since the start because the access log took no records"
    );
    describe_gauge!("doppia_relay_position", "The sequence up to which events are published to Kafka");
    describe_gauge!("doppia_relay_lag_events", "Events that the relay to Kafka lies behind the journal");
    describe_gauge!("doppia_relay_running", "1 while the relay to Kafka publishes or waits to, 0 once it has stopped");
    describe_counter!("doppia_relay_records_total", "Records published to Kafka since the start");
    describe_counter!("doppia_relay_retries_total", "How often the relay to Kafka had to begin again since the start");
    describe_gauge!("doppia_role", "1 for each role of this process");
    describe_gauge!("doppia_standing_by", "How many roles of this process wait for their turn or for something else");
    describe_gauge!("doppia_gateways", "Gateways that this writer has let in");
    describe_gauge!("doppia_writers_serving", "Of a gateway: writers that serve; 1 is what it should be");
    describe_counter!("doppia_verdicts_total", "Verdicts recorded since the start");
    describe_counter!("doppia_rejections_total", "Of these, rejections");
    describe_counter!("doppia_replayed_total", "Verdicts answered again since the start");
    describe_counter!("doppia_flushes_total", "Flushes of the journal since the start");
    describe_counter!("doppia_appended_bytes_total", "Bytes of blocks appended since the start");
}

/// Puts the engine's figures into the metrics: read when somebody asks, so they are never older than the answer.
fn sample(health: &Health) {
    // A gauge is a float; figures above 2^53 would lose their last digits, which no chart shows.
    #[allow(clippy::cast_precision_loss)]
    let float = |number: u64| number as f64;
    let status = health.sink.status();
    gauge!("doppia_durable_sequence").set(float(status.durable.0));
    gauge!("doppia_checkpoint_sequence").set(float(status.checkpoint.0));
    gauge!("doppia_queued_commands").set(float(status.queued));
    gauge!("doppia_writer_serving").set(float(u64::from(status.writer == WriterState::Serving)));
    counter!("doppia_verdicts_total").absolute(status.accepted_total);
    counter!("doppia_rejections_total").absolute(status.rejected_total);
    counter!("doppia_replayed_total").absolute(status.replayed_total);
    counter!("doppia_flushes_total").absolute(status.flushes_total);
    counter!("doppia_appended_bytes_total").absolute(status.appended_bytes_total);
    for role in &health.roles {
        gauge!("doppia_role", "role" => *role).set(1.0);
    }
    gauge!("doppia_standing_by").set(float((health.waits)().len() as u64));
    if let Some(gateways) = &health.gateways {
        gauge!("doppia_gateways").set(float(gateways() as u64));
    }
    if let Some(writers) = &health.writers {
        let serving = writers().iter().filter(|writer| writer.state == "serving").count();
        gauge!("doppia_writers_serving").set(float(serving as u64));
    }
    if let Some(access) = health.access.as_ref().map(|access| access.status()) {
        gauge!("doppia_access_log_sequence").set(float(access.durable.0));
        counter!("doppia_access_recorded_total").absolute(access.recorded_total);
        counter!("doppia_access_refused_total").absolute(access.refused_total);
    }
    if let Some(scrub) = health.scrub() {
        counter!("doppia_scrub_bytes_total").absolute(scrub.bytes_total);
        counter!("doppia_scrub_passes_total").absolute(scrub.passes_total);
        gauge!("doppia_scrub_damage").set(float(scrub.damage.len() as u64));
        if let Some(ended) = scrub.last_pass_ended {
            gauge!("doppia_scrub_last_pass_age_seconds").set(ended.elapsed().as_secs_f64());
            gauge!("doppia_scrub_last_pass_sequence").set(float(scrub.through.0));
        }
    }
    if let Some(relay) = health.relay() {
        gauge!("doppia_relay_position").set(float(relay.position.0));
        gauge!("doppia_relay_lag_events").set(float(lag_of(&status, &relay)));
        gauge!("doppia_relay_running").set(float(u64::from(!matches!(relay.state, RelayState::Stopped(_)))));
        counter!("doppia_relay_records_total").absolute(relay.records_total);
        counter!("doppia_relay_retries_total").absolute(relay.retries_total);
    }
    if let Some(lag) = health.lag(&status) {
        gauge!("doppia_read_models_sequence").set(float(status.durable.0.saturating_sub(lag)));
        gauge!("doppia_read_models_lag_events").set(float(lag));
        gauge!("doppia_read_models_running").set(float(u64::from(health.runner_fault().is_none())));
    }
}

async fn render(State(health): State<Arc<Health>>) -> Response {
    sample(&health);
    health.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use event_schemas::{Command, CommandId};
    use ledger_core::ports::{LookupReply, PreviewReply, Reply, SubmitError};

    use super::*;

    /// An engine that is as it is told to be.
    struct Told(WriterState, u64);

    impl CommandSink for Told {
        fn try_submit(&self, _: Vec<Command>, _: Reply) -> Result<(), SubmitError> {
            Err(SubmitError::Stopped)
        }

        fn try_submit_linked(&self, _: Vec<Command>, _: Reply) -> Result<(), SubmitError> {
            Err(SubmitError::Stopped)
        }

        fn try_preview(&self, _: Vec<Command>, _: PreviewReply) -> Result<(), SubmitError> {
            Err(SubmitError::Stopped)
        }

        fn try_preview_each(&self, _: Vec<Command>, _: PreviewReply) -> Result<(), SubmitError> {
            Err(SubmitError::Stopped)
        }

        fn try_lookup(&self, _: CommandId, _: LookupReply) -> Result<(), SubmitError> {
            Err(SubmitError::Stopped)
        }

        fn status(&self) -> EngineStatus {
            EngineStatus {
                writer: self.0,
                reason: "no space".into(),
                durable: Sequence(self.1),
                queued: 0,
                accepted_total: 0,
                rejected_total: 0,
                replayed_total: 0,
                flushes_total: 0,
                appended_bytes_total: 0,
                checkpoint: Sequence::ZERO,
            }
        }
    }

    #[test]
    fn the_server_is_ready_while_writer_and_read_models_are() {
        use WriterState::{ReadOnly, Serving, Stopped};
        for (writer, durable, applied, fault, draining, past, expected) in [
            (Serving, 10, Some(10), None, false, false, &[][..]),
            (Serving, 10, None, None, false, false, &[]),
            (Serving, 110, Some(10), None, false, false, &[]),
            (Serving, 111, Some(10), None, false, false, &["the read models are 101 events behind"]),
            (ReadOnly, 10, Some(10), None, false, false, &["the writer is read-only: no space"]),
            (Stopped, 10, None, None, false, false, &["the writer has stopped: no space"]),
            (Serving, 10, Some(9), Some("event 10"), false, false, &["the read models have stopped: event 10"]),
            (Stopped, 10, None, None, true, false, &["the server is stopping", "the writer has stopped: no space"]),
            (ReadOnly, 10, Some(10), None, false, true, &[]),
        ] {
            let told = Arc::new(Told(writer, durable));
            let health = Health {
                past: past.then_some(Sequence(durable)),
                read_models: applied.map(|applied| watch::channel(Sequence(applied)).1),
                runner_fault: Arc::new(Mutex::new(fault.map(str::to_owned))),
                max_lag_events: 100,
                draining: watch::channel(draining).1,
                ..Health::of_one_process(
                    metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle(),
                    told,
                )
            };
            assert_eq!(health.reasons(&health.sink.status()), expected);
        }
    }

    /// Events that are not published are an alarm, and the ledger goes on.
    #[test]
    fn a_relay_that_has_stopped_is_an_alarm_and_the_server_stays_ready() {
        for (state, alarms) in [
            (RelayState::Publishing, &[][..]),
            (RelayState::Waiting("no broker answers".into()), &[]),
            (RelayState::Stopped(String::new()), &[]),
            (RelayState::Stopped("they have parted".into()), &["the relay to Kafka has stopped: they have parted"]),
        ] {
            let health = Health {
                relay: Some(Box::new(move || RelayStatus { state: state.clone(), ..RelayStatus::default() })),
                ..Health::of_one_process(
                    metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle(),
                    Arc::new(Told(WriterState::Serving, 10)),
                )
            };
            assert_eq!(health.reasons(&health.sink.status()), Vec::<String>::new());
            assert_eq!(health.alarms(), alarms);
        }
    }
}

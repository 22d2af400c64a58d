//! Metrics name the route, never the path: whatever is asked for, the number of series is bounded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{ADMIN, ask, scripted};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

#[derive(Default)]
struct Counted(AtomicU64);

impl HistogramFn for Counted {
    fn record(&self, seconds: f64) {
        assert!(seconds >= 0.0);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Remembers counters and how often each histogram was recorded to, by name and labels.
#[derive(Default)]
struct Remembered {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Counted>>>,
}

fn text(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(metrics::Label::value).collect();
    format!("{} {}", key.name(), labels.join(" "))
}

impl Recorder for Remembered {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(text(key)).or_default()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::clone(self.histograms.lock().unwrap().entry(text(key)).or_default()))
    }
}

#[test]
fn requests_are_counted_by_route() {
    let recorder = Remembered::default();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (router, _) = scripted(Vec::new());
            let transfer = r#"{"from":"a:1","to":"b:1","amount":"1.00","currency":"EUR"}"#;
            for number in 0..3 {
                ask(&router, "GET", &format!("/v1/books/1/accounts/a:{number}")).key(ADMIN).send().await;
                ask(&router, "GET", &format!("/v1/{number}")).send().await;
                let asked = ask(&router, "POST", "/v1/books/1/transfers").key(ADMIN).idempotent("k");
                asked.body(transfer).send().await.expect(201, "");
            }
            ask(&router, "POST", "/v1/books/1/transfers").body(transfer).send().await.expect(401, "unauthorized");
            ask(&router, "DELETE", "/v1/books/1/transfers").send().await.expect(405, "method_not_allowed");
        });
    });
    let counters: Vec<_> =
        recorder.counters.into_inner().unwrap().into_iter().map(|(key, n)| (key, n.load(Ordering::Relaxed))).collect();
    let name = "doppia_http_requests_total";
    assert_eq!(
        counters,
        [
            (format!("{name} /v1/books/{{book}}/accounts/{{account}} GET 404"), 3),
            (format!("{name} /v1/books/{{book}}/transfers POST 201"), 3),
            (format!("{name} /v1/books/{{book}}/transfers POST 401"), 1),
            (format!("{name} unmatched any 404"), 3),
            (format!("{name} unmatched any 405"), 1),
        ]
    );
    let histograms = recorder.histograms.into_inner().unwrap();
    let transfers = &histograms["doppia_http_request_duration_seconds /v1/books/{book}/transfers POST"];
    assert_eq!(transfers.0.load(Ordering::Relaxed), 4);
}

//! Metrics of requests: a counter by route, method and status, and a histogram of durations by route and method.
//!
//! The route is the pattern, never the path, so the number of series is bounded. Handles are registered at first use and
//! kept beside the route: counting a request is two atomic operations. A recorder that is to see them must be installed
//! before the first request.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Histogram};

/// Every status this API answers with; another one would be counted as 500.
const STATUSES: [u16; 19] =
    [201, 200, 202, 422, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 503, 504, 507, 204, 500];

/// The metrics of one route and method.
pub(crate) struct RouteMetrics {
    route: String,
    method: &'static str,
    by_status: [OnceLock<Counter>; STATUSES.len()],
    duration: OnceLock<Histogram>,
}

impl RouteMetrics {
    pub(crate) fn new(route: impl Into<String>, method: &'static str) -> Self {
        Self {
            route: route.into(),
            method,
            by_status: [const { OnceLock::new() }; STATUSES.len()],
            duration: OnceLock::new(),
        }
    }

    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    pub(crate) fn record(&self, status: StatusCode, took: Duration) {
        let at = STATUSES.iter().position(|&known| known == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        if let (Some(slot), Some(&status)) = (self.by_status.get(at), STATUSES.get(at)) {
            slot.get_or_init(|| {
                metrics::counter!(
                    "doppia_http_requests_total",
                    "route" => self.route.clone(),
                    "method" => self.method,
                    "status" => status.to_string()
                )
            })
            .increment(1);
        }
        self.duration
            .get_or_init(|| {
                metrics::histogram!(
                    "doppia_http_request_duration_seconds",
                    "route" => self.route.clone(),
                    "method" => self.method
                )
            })
            .record(took.as_secs_f64());
    }
}

/// Tells the installed recorder what the metrics mean.
pub(crate) fn describe() {
    metrics::describe_counter!("doppia_http_requests_total", "HTTP requests by route, method and status");
    metrics::describe_histogram!(
        "doppia_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "Time from the head of a request to its answer"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn every_status_of_a_problem_is_counted_as_itself() {
        for code in Code::ALL {
            assert!(STATUSES.contains(&code.status().as_u16()), "{}", code.code());
        }
    }
}

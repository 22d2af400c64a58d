//! The outside world. For now: [`csv_import`], which turns a bank's CSV files into commands over the HTTP API. Mail, webhooks,
//! bill providers and the relay come to live here too, one folder each.

pub mod csv_import;

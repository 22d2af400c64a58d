//! The outside world: [`csv_import`] turns a bank's CSV files into commands over the HTTP API; [`fx`] asks for rates; [`kafka`]
//! publishes the journal to a bus and reads it there; [`process`] carries workflows on, and [`bills`] is the one that pays
//! providers. Mail and webhooks come to live here too, one folder each.

pub mod bills;
pub mod csv_import;
pub mod fx;
pub mod kafka;
pub mod process;

//! The tables of read models as SQL, made from what the projections declare.
//!
//! ```text
//! read_model.<table>   book, row_key, row_value, then a column for each that is declared; primary key (book, row_key)
//! analyst.<table>      a view of it for people: without the row's own bytes, amounts in units of the currency
//! ```
//!
//! `row_key` and `row_value` are what the projection wrote, byte by byte; the other columns are read from them and are there
//! for SQL. Keys sort as their bytes, which a text of SQL would not do, and a text of the book may hold a zero byte, which
//! a text of SQL can't.

use std::fmt::Write as _;

use projections::ports::{ColumnType, Table};
use projections::table::ROW_VERSION;

/// What stands beside the tables: how they look, how far they are, and which journal they were made from.
pub(super) const COMMON: [&str; 6] = [
    "CREATE SCHEMA IF NOT EXISTS read_model",
    "CREATE SCHEMA IF NOT EXISTS analyst",
    "CREATE TABLE IF NOT EXISTS read_model.shapes (table_name text PRIMARY KEY, shape text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS read_model.checkpoints \
     (book bigint, projection text, sequence bigint NOT NULL, PRIMARY KEY (book, projection))",
    "CREATE TABLE IF NOT EXISTS read_model.origins (book bigint PRIMARY KEY, first_hash bytea NOT NULL)",
    "COMMENT ON TABLE read_model.checkpoints IS \
     'The sequence of the journal that each read model has applied; written in the same transaction as its rows.'",
];

const fn sql_type(column: ColumnType) -> &'static str {
    match column {
        ColumnType::Id => "uuid",
        ColumnType::Number => "bigint",
        ColumnType::Minor => "numeric",
        ColumnType::Text => "text",
        ColumnType::Date => "date",
        ColumnType::Time => "timestamptz",
        ColumnType::Flag => "boolean",
    }
}

/// The statements that make a table, where there is none.
pub(super) fn create(table: &Table) -> Vec<String> {
    let name = table.name;
    let mut columns = String::new();
    for (column, kind) in table.columns {
        let _ = write!(columns, ", \"{column}\" {} NOT NULL", sql_type(*kind));
    }
    let key = table.columns.iter().take(table.key_columns).map(|(column, _)| format!("\"{column}\""));
    let key = key.collect::<Vec<_>>().join(", ");
    let mut statements = vec![
        format!(
            "CREATE TABLE read_model.\"{name}\" (book bigint NOT NULL, row_key bytea NOT NULL, row_value bytea NOT NULL\
             {columns}, PRIMARY KEY (book, row_key))"
        ),
        format!("CREATE INDEX ON read_model.\"{name}\" (book, {key})"),
        format!(
            "COMMENT ON TABLE read_model.\"{name}\" IS \
             'A table of the read model {}, made from the journal by ledgerd: look, and never edit. The view analyst.{name} shows it for \
             people.'",
            table.projection
        ),
    ];
    for (column, kind) in table.columns {
        if *kind == ColumnType::Minor {
            let what = "In minor units of the currency, such as cents.";
            statements.push(format!("COMMENT ON COLUMN read_model.\"{name}\".\"{column}\" IS '{what}'"));
        }
    }
    statements
}

fn has(table: &Table, name: &str) -> bool {
    table.columns.iter().any(|(column, _)| *column == name)
}

/// The statements that make its view anew. Amounts become those of the currency: by the row's own exponent, or by that of the
/// account it is about.
pub(super) fn view(table: &Table) -> [String; 2] {
    let amounts = table.columns.iter().any(|(_, kind)| *kind == ColumnType::Minor);
    let own = has(table, "exponent");
    let joined = amounts && !own && has(table, "account");
    let exponent = match (own, joined) {
        (true, _) => "r.exponent",
        (false, true) => "a.exponent",
        (false, false) => "0",
    };
    let mut columns = vec!["r.book".to_owned()];
    for (column, kind) in table.columns {
        columns.push(match kind {
            // Exact: the text of the minor units with an exponent behind it.
            ColumnType::Minor => {
                let plain = column.strip_suffix("_minor").unwrap_or(column);
                format!("(r.\"{column}\"::text || 'e-' || {exponent}::text)::numeric AS \"{plain}\"")
            }
            ColumnType::Number if *column == "exponent" => continue,
            ColumnType::Id
            | ColumnType::Number
            | ColumnType::Text
            | ColumnType::Date
            | ColumnType::Time
            | ColumnType::Flag => format!("r.\"{column}\""),
        });
    }
    let mut from = format!("read_model.\"{}\" AS r", table.name);
    if joined {
        columns.push("a.currency".into());
        from.push_str(" JOIN read_model.balances_accounts AS a ON a.book = r.book AND a.account = r.account");
    }
    [
        format!("DROP VIEW IF EXISTS analyst.\"{}\"", table.name),
        format!("CREATE VIEW analyst.\"{}\" AS SELECT {} FROM {from}", table.name, columns.join(", ")),
    ]
}

/// What a table looks like, to tell one of another release: its statements, and the version of the rows' own bytes.
pub(super) fn shape(table: &Table) -> String {
    let statements = [create(table), view(table).to_vec()].concat().join(";");
    blake3::hash(format!("{ROW_VERSION} {statements}").as_bytes()).to_hex().to_string()
}

/// Puts rows: `$1` the book, `$2` keys, `$3` values, then the texts of each column.
pub(super) fn upsert(table: &Table) -> String {
    let name = table.name;
    let [mut columns, mut parts, mut names, mut arrays, mut changes] = [const { String::new() }; 5];
    for (place, (column, kind)) in table.columns.iter().enumerate() {
        let _ = write!(columns, ", \"{column}\"");
        let _ = write!(names, ", c{place}");
        let _ = write!(parts, ", n.c{place}::{}", sql_type(*kind));
        let _ = write!(arrays, ", ${}::text[]", place.saturating_add(4));
        if place >= table.key_columns {
            let _ = write!(changes, ", \"{column}\" = excluded.\"{column}\"");
        }
    }
    format!(
        "INSERT INTO read_model.\"{name}\" (book, row_key, row_value{columns}) SELECT $1, n.row_key, n.row_value{parts} FROM \
         UNNEST($2::bytea[], $3::bytea[]{arrays}) AS n (row_key, row_value{names}) ON CONFLICT (book, row_key) DO UPDATE \
         SET row_value = excluded.row_value{changes}"
    )
}

/// Deletes rows: `$1` the book, `$2` keys.
pub(super) fn delete(table: &Table) -> String {
    format!("DELETE FROM read_model.\"{}\" WHERE book = $1 AND row_key = ANY($2::bytea[])", table.name)
}

/// A page of rows: `$1` the book, `$2` the first key, `$3` the key behind the last one or null, `$4` how many.
pub(super) fn page(table: &Table, backwards: bool) -> String {
    let order = if backwards { "DESC" } else { "ASC" };
    format!(
        "SELECT row_key, row_value FROM read_model.\"{}\" WHERE book = $1 AND row_key >= $2 AND ($3::bytea IS NULL OR \
         row_key < $3) ORDER BY row_key {order} LIMIT $4",
        table.name
    )
}

/// One row: `$1` the book, `$2` the key.
pub(super) fn get(table: &Table) -> String {
    format!("SELECT row_value FROM read_model.\"{}\" WHERE book = $1 AND row_key = $2", table.name)
}

//! Writing: rows and checkpoints in one transaction.

use std::collections::{BTreeMap, HashMap};

use event_schemas::Sequence;
use projections::ports::{RowChanges, RowsFault, Table};
use projections::table::columns;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::{COMMIT_WITHIN, PostgresRows, bigint, lock, shape};

/// How many rows one statement carries.
const ROWS_MAX: usize = 5_000;

/// Rows of one table to be put, column by column.
struct Put {
    statement: String,
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    columns: Vec<Vec<String>>,
}

impl Put {
    fn new(table: &'static Table) -> Self {
        let columns = table.columns.iter().map(|_| Vec::new()).collect();
        Self { statement: shape::upsert(table), keys: Vec::new(), values: Vec::new(), columns }
    }

    fn push(&mut self, table: &'static Table, key: Vec<u8>, value: Vec<u8>) -> Result<(), RowsFault> {
        for (column, (_, text)) in self.columns.iter_mut().zip(columns(table, &key, &value)?) {
            // SQL knows no text with a zero byte in it. The row's own bytes keep it.
            column.push(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text });
        }
        self.keys.push(key);
        self.values.push(value);
        Ok(())
    }
}

/// What one transaction does, in order.
enum Step {
    Put(Put),
    Delete(String, Vec<Vec<u8>>),
}

/// The changes as statements: by table, the later of two changes of a key alone.
fn steps(changes: RowChanges) -> Result<Vec<Step>, RowsFault> {
    type Of = (&'static Table, HashMap<Vec<u8>, Option<Vec<u8>>>);
    let mut tables: BTreeMap<&'static str, Of> = BTreeMap::new();
    for (table, key, value) in changes.rows {
        tables.entry(table.name).or_insert_with(|| (table, HashMap::new())).1.insert(key, value);
    }
    let mut steps = Vec::new();
    for (_, (table, rows)) in tables {
        let (mut put, mut gone) = (Put::new(table), Vec::new());
        let mut sorted: Vec<_> = rows.into_iter().collect();
        // In the order of the keys, so that two transactions never wait for each other crosswise.
        sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (key, value) in sorted {
            match value {
                None => gone.push(key),
                Some(value) => {
                    put.push(table, key, value)?;
                    if put.keys.len() >= ROWS_MAX {
                        steps.push(Step::Put(std::mem::replace(&mut put, Put::new(table))));
                    }
                }
            }
        }
        if !put.keys.is_empty() {
            steps.push(Step::Put(put));
        }
        if !gone.is_empty() {
            steps.push(Step::Delete(shape::delete(table), gone));
        }
    }
    Ok(steps)
}

/// Moves a checkpoint from where it was left: `$1` the book, `$2` the projection, `$3` to, `$4` from.
const MOVE: &str = "\
UPDATE read_model.checkpoints SET sequence = $3 WHERE book = $1 AND projection = $2 AND sequence = $4";

/// The same from nothing, where `$4` is zero.
const BEGIN: &str = "\
INSERT INTO read_model.checkpoints AS c (book, projection, sequence) VALUES ($1, $2, $3)
ON CONFLICT (book, projection) DO UPDATE SET sequence = excluded.sequence WHERE c.sequence = $4";

pub(super) fn commit(rows: &PostgresRows, changes: RowChanges) -> Result<(), RowsFault> {
    let moves: Vec<(&'static str, Sequence, Sequence)> =
        changes.checkpoints.iter().map(|(name, to)| (*name, *to, rows.left_at(name))).collect();
    let steps = steps(changes)?;
    let book = rows.0.number();
    let (steps, moving) = (&steps, &moves);
    let moved = rows.0.lend()?.ask(COMMIT_WITHIN, async |connection: &mut PgConnection| {
        let mut transaction = connection.begin().await?;
        // What a crash of the server loses is made again from the journal, rows and checkpoint alike.
        transaction.execute("SET LOCAL synchronous_commit = off").await?;
        // First, so that one of two who are at it waits for the other here, and changes nothing.
        for (name, to, from) in moving {
            let done = sqlx::query(if *from == Sequence::ZERO { BEGIN } else { MOVE })
                .bind(book)
                .bind(*name)
                .bind(bigint(to.0))
                .bind(bigint(from.0))
                .execute(&mut *transaction)
                .await?;
            if done.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(Err(*name));
            }
        }
        for step in steps {
            match step {
                Step::Put(put) => {
                    let mut query = sqlx::query(&put.statement).bind(book).bind(&put.keys).bind(&put.values);
                    for column in &put.columns {
                        query = query.bind(column);
                    }
                    query.execute(&mut *transaction).await?;
                }
                Step::Delete(statement, keys) => {
                    sqlx::query(statement).bind(book).bind(keys).execute(&mut *transaction).await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(Ok(()))
    })?;
    if let Err(name) = moved {
        return Err(RowsFault::Io(format!(
            "the read model {name} in PostgreSQL was changed by another process: two servers keep the same read models"
        )));
    }
    let mut left_at = lock(&rows.0.left_at);
    for (name, to, _) in moves {
        left_at.insert(name, to);
    }
    Ok(())
}

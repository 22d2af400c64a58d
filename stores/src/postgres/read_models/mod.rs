//! Read models in PostgreSQL: the port [`Rows`] over real tables, which analysts query (docs/analysts.md).
//!
//! Rows and checkpoint change in one transaction. A checkpoint moves on only from where this process left it: of two processes
//! that keep the same read models, the one that comes late changes nothing.

mod audit;
mod commit;
mod lead;
mod moment;
mod shape;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_schemas::{BlockHash, BookId, Sequence};
use projections::Projection;
use projections::ports::{ReadRows, RowChanges, Rows, RowsFault, Table};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::client::{Client, Trouble};
use super::{PostgresFault, PostgresUrl, bigint, server};
pub use lead::Lead;
use moment::Moment;

/// How long a query, and how long a commit of hundreds of thousands of rows may take.
const QUERY_WITHIN: Duration = Duration::from_secs(20);
const COMMIT_WITHIN: Duration = Duration::from_mins(5);

/// The most connections at once, and how long somebody waits for one.
const CONNECTIONS_MAX: usize = 12;
const CONNECTION_WITHIN: Duration = Duration::from_secs(10);

/// Connections that nobody uses just now.
#[derive(Default)]
struct Pool {
    idle: Vec<Client>,
    out: usize,
}

struct Inner {
    url: PostgresUrl,
    book: BookId,
    pool: Mutex<Pool>,
    returned: Condvar,
    /// Where this process left each checkpoint.
    left_at: Mutex<HashMap<&'static str, Sequence>>,
}

/// The read models of a book in PostgreSQL. Clones share their connections.
#[derive(Clone)]
pub struct PostgresRows(Arc<Inner>);

impl std::fmt::Debug for PostgresRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresRows({}, book {})", self.0.url, self.0.book)
    }
}

/// A connection of the pool, given back when dropped.
struct Lent<'a> {
    inner: &'a Inner,
    client: Option<Client>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.inner.pool);
        pool.out = pool.out.saturating_sub(1);
        pool.idle.extend(self.client.take());
        drop(pool);
        self.inner.returned.notify_one();
    }
}

impl Lent<'_> {
    /// Does some work on the connection, on a thread that may wait: inside a runtime, its other tasks go on elsewhere.
    fn run<T: Send>(
        &mut self,
        within: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, Trouble> {
        let url = &self.inner.url;
        let client = self.client.get_or_insert_with(|| Client::new(url.clone()));
        match tokio::runtime::Handle::try_current() {
            Err(_) => client.run(within, work),
            Ok(runtime) if runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread => {
                tokio::task::block_in_place(|| client.run(within, work))
            }
            Ok(_) => std::thread::scope(|scope| {
                let done = scope.spawn(|| client.run(within, work)).join();
                done.unwrap_or_else(|_| Err(Trouble::Lost("a thread of a query panicked".into())))
            }),
        }
    }

    /// The same where trouble is a fault of the rows.
    fn ask<T: Send>(
        &mut self,
        within: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, RowsFault> {
        let outcome = self.run(within, work);
        outcome.map_err(|trouble| RowsFault::Io(trouble.fault(&self.inner.url).to_string()))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn lend(&self) -> Result<Lent<'_>, RowsFault> {
        let until = Instant::now() + CONNECTION_WITHIN;
        let mut pool = lock(&self.pool);
        while pool.out >= CONNECTIONS_MAX {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RowsFault::Io(format!("all {CONNECTIONS_MAX} connections to PostgreSQL are in use")));
            }
            pool = self.returned.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        pool.out += 1;
        let client = pool.idle.pop();
        Ok(Lent { inner: self, client })
    }

    fn number(&self) -> i64 {
        i64::from(self.book.get())
    }
}

impl PostgresRows {
    /// Opens the read models of a book, and makes their tables where they are missing or those of another release: such a read
    /// model is empty then, and is made anew from the journal. Says in sentences what was done.
    pub fn open(url: &PostgresUrl, book: BookId) -> Result<(Self, Vec<String>), PostgresFault> {
        let rows = Self::beside(url, book);
        let mut client = Client::new(url.clone());
        server::check_version(&mut client)?;
        let made = client.ask(COMMIT_WITHIN, async |connection: &mut PgConnection| make(connection).await)?;
        let notices = made
            .into_iter()
            .map(|projection| {
                format!("the tables of the read model {projection} were those of another release: it is rebuilt")
            })
            .collect();
        Ok((rows, notices))
    }

    /// The read models of a book as they are, to be read; `None` if there are none.
    pub fn find(url: &PostgresUrl, book: BookId) -> Result<Option<Self>, PostgresFault> {
        let mut client = Client::new(url.clone());
        let there = client.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
            sqlx::query_scalar::<_, bool>("SELECT to_regclass('read_model.checkpoints') IS NOT NULL")
                .fetch_one(connection)
                .await
        })?;
        if !there {
            return Ok(None);
        }
        let number = i64::from(book.get());
        let begun = client.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
            sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM read_model.checkpoints WHERE book = $1)")
                .bind(number)
                .fetch_one(connection)
                .await
        })?;
        Ok(begun.then(|| Self::beside(url, book)))
    }

    /// The read models of a book as another process keeps them, to be read: those that are there are never changed. Where there are
    /// none yet, their tables are made, empty. Those of another release are refused.
    pub fn join(url: &PostgresUrl, book: BookId) -> Result<Self, PostgresFault> {
        let rows = Self::beside(url, book);
        let mut client = Client::new(url.clone());
        server::check_version(&mut client)?;
        let strange = client.ask(COMMIT_WITHIN, async |connection: &mut PgConnection| join(connection).await)?;
        match strange {
            None => Ok(rows),
            Some(projection) => Err(PostgresFault::Schema(format!(
                "the tables of the read model {projection} in PostgreSQL are those of another release: the projector and the                  gateways must be of the same one"
            ))),
        }
    }

    /// The read models of a book, whether they are there or not: for who waits for the lead.
    pub fn unopened(url: &PostgresUrl, book: BookId) -> Self {
        Self::beside(url, book)
    }

    /// The sequence that all read models have applied; zero if one of them has not begun.
    pub fn applied_through(&self) -> Result<Sequence, RowsFault> {
        let (book, names) = (self.0.number(), projections::NAMES.to_vec());
        let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
        let found: Option<i64> = self.0.lend()?.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
            sqlx::query_scalar(
                "SELECT CASE WHEN count(*) = $3 THEN min(sequence) END FROM read_model.checkpoints \
                 WHERE book = $1 AND projection = ANY($2)",
            )
            .bind(book)
            .bind(&names)
            .bind(count)
            .fetch_one(connection)
            .await
        })?;
        Ok(Sequence(found.and_then(|found| u64::try_from(found).ok()).unwrap_or(0)))
    }

    fn beside(url: &PostgresUrl, book: BookId) -> Self {
        let (pool, returned, left_at) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self(Arc::new(Inner { url: url.clone(), book, pool, returned, left_at }))
    }

    /// The hash of the first block of the journal that the rows were made from, if it was noted.
    pub fn origin(&self) -> Result<Option<BlockHash>, RowsFault> {
        let book = self.0.number();
        let found: Option<Vec<u8>> = self.0.lend()?.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
            sqlx::query_scalar("SELECT first_hash FROM read_model.origins WHERE book = $1")
                .bind(book)
                .fetch_optional(connection)
                .await
        })?;
        Ok(found.map(|hash| event_schemas::Digest(hash.try_into().unwrap_or([0; 32]))))
    }

    /// Sees to it that nothing is of another journal than the one with this first block, or ahead of its head. Says in
    /// sentences what was emptied.
    pub fn fit(&self, first: Option<BlockHash>, head: Sequence) -> Result<Vec<String>, RowsFault> {
        let origin = self.origin()?;
        let mut notices = Vec::new();
        for projection in projections::all() {
            let (name, applied) = (projection.name(), self.applied(projection.name())?);
            let strange = applied > Sequence::ZERO && origin != first;
            if strange || applied > head {
                self.reset(name, projection.tables())?;
                let why = if strange { "was that of another journal" } else { "was ahead of the journal" };
                notices.push(format!("the read model {name} in PostgreSQL {why}: it is rebuilt"));
            }
        }
        if let Some(first) = first.filter(|first| origin != Some(*first)) {
            let book = self.0.number();
            self.0.lend()?.ask(QUERY_WITHIN, async |connection: &mut PgConnection| {
                sqlx::query(
                    "INSERT INTO read_model.origins (book, first_hash) VALUES ($1, $2) \
                     ON CONFLICT (book) DO UPDATE SET first_hash = excluded.first_hash",
                )
                .bind(book)
                .bind(&first.0[..])
                .execute(connection)
                .await
            })?;
        }
        Ok(notices)
    }

    fn applied(&self, projection: &str) -> Result<Sequence, RowsFault> {
        moment::checkpoint(&mut self.0.lend()?, projection)
    }

    /// Where the checkpoint was left, as this process knows it.
    fn left_at(&self, projection: &'static str) -> Sequence {
        lock(&self.0.left_at).get(projection).copied().unwrap_or_default()
    }
}

/// Makes what is missing, and makes anew what is of another release; the names of those read models.
async fn make(connection: &mut PgConnection) -> Result<Vec<&'static str>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Two processes may start at once.
    transaction.execute("SELECT pg_advisory_xact_lock(hashtext('doppia read models'))").await?;
    for statement in shape::COMMON {
        transaction.execute(statement).await?;
    }
    let known: HashMap<String, String> = sqlx::query_as("SELECT table_name, shape FROM read_model.shapes")
        .fetch_all(&mut *transaction)
        .await?
        .into_iter()
        .collect();
    let (mut anew, mut remade) = (Vec::new(), false);
    let all = projections::all();
    for projection in &all {
        let same = projection.tables().iter().all(|table| known.get(table.name) == Some(&shape::shape(table)));
        if same {
            continue;
        }
        if projection.tables().iter().any(|table| known.contains_key(table.name)) {
            anew.push(projection.name());
        }
        remake(&mut transaction, projection.as_ref()).await?;
        remade = true;
    }
    if remade {
        // Dropping a table took the views with it that look at it, whoever's they were.
        for table in all.iter().flat_map(|projection| projection.tables()) {
            for statement in shape::view(table) {
                transaction.execute(&*statement).await?;
            }
        }
    }
    transaction.commit().await?;
    Ok(anew)
}

/// Makes the tables where there are none at all; gives the first read model whose tables are of another release.
async fn join(connection: &mut PgConnection) -> Result<Option<&'static str>, sqlx::Error> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('read_model.shapes') IS NOT NULL").fetch_one(&mut *connection).await?;
    let known: HashMap<String, String> = if there {
        sqlx::query_as("SELECT table_name, shape FROM read_model.shapes")
            .fetch_all(&mut *connection)
            .await?
            .into_iter()
            .collect()
    } else {
        HashMap::new()
    };
    if known.is_empty() {
        make(connection).await?;
        return Ok(None);
    }
    let fits = |table: &&'static Table| known.get(table.name) == Some(&shape::shape(table));
    Ok(projections::all().iter().find(|projection| !projection.tables().iter().all(&fits)).map(|one| one.name()))
}

async fn remake(connection: &mut PgConnection, projection: &dyn Projection) -> Result<(), sqlx::Error> {
    for table in projection.tables() {
        connection.execute(&*format!("DROP TABLE IF EXISTS read_model.\"{}\" CASCADE", table.name)).await?;
        for statement in shape::create(table) {
            connection.execute(&*statement).await?;
        }
        sqlx::query(
            "INSERT INTO read_model.shapes (table_name, shape) VALUES ($1, $2) \
             ON CONFLICT (table_name) DO UPDATE SET shape = excluded.shape",
        )
        .bind(table.name)
        .bind(shape::shape(table))
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query("DELETE FROM read_model.checkpoints WHERE projection = $1")
        .bind(projection.name())
        .execute(connection)
        .await?;
    Ok(())
}

impl ReadRows for PostgresRows {
    fn get(&self, table: &'static Table, key: &[u8]) -> Result<Option<Vec<u8>>, RowsFault> {
        moment::get(&mut self.0.lend()?, table, key)
    }

    fn range(
        &self,
        table: &'static Table,
        from: &[u8],
        to: Option<&[u8]>,
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>,
    ) -> Result<(), RowsFault> {
        Moment::begin(self.0.lend()?)?.range(table, from, to, backwards, visit)
    }

    fn checkpoint(&self, projection: &'static str) -> Result<Sequence, RowsFault> {
        let found = self.applied(projection)?;
        lock(&self.0.left_at).entry(projection).or_insert(found);
        Ok(found)
    }
}

impl Rows for PostgresRows {
    fn commit(&self, changes: RowChanges) -> Result<(), RowsFault> {
        let done = commit::commit(self, changes);
        if done.is_err() {
            // Whoever goes on from here looks first at what is there.
            lock(&self.0.left_at).clear();
        }
        done
    }

    fn reset(&self, projection: &'static str, tables: &[&'static Table]) -> Result<(), RowsFault> {
        let (book, names) = (self.0.number(), tables.iter().map(|table| table.name).collect::<Vec<_>>());
        lock(&self.0.left_at).remove(projection);
        self.0.lend()?.ask(COMMIT_WITHIN, async |connection: &mut PgConnection| {
            let mut transaction = connection.begin().await?;
            for name in &names {
                let delete = format!("DELETE FROM read_model.\"{name}\" WHERE book = $1");
                sqlx::query(&delete).bind(book).execute(&mut *transaction).await?;
            }
            sqlx::query("DELETE FROM read_model.checkpoints WHERE book = $1 AND projection = $2")
                .bind(book)
                .bind(projection)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        })
    }

    fn snapshot(&self, read: &mut dyn FnMut(&dyn ReadRows)) -> Result<(), RowsFault> {
        let moment = Moment::begin(self.0.lend()?)?;
        read(&moment);
        Ok(())
    }
}

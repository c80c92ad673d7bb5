//! The views in the journal's schema of a PostgreSQL server.

use annals::actors::plain::BoxError;
use annals::journal::JournalError;
use annals::journal::postgres::sqlx::postgres::PgConnection;
use annals::journal::postgres::sqlx::{self, Row as _};
use annals::journal::postgres::{Database, read_failure};
use annals::projections::{Gone, Missed, PostgresView, Projected};

use super::{AccountViews, Balance, Changes, Day};
use crate::account::AccountEvent;

impl PostgresView for AccountViews {
    type Event = AccountEvent;

    async fn prepare(&self, view: &mut PgConnection) -> Result<(), BoxError> {
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS bank_balances (account text COLLATE \"C\" PRIMARY KEY, cents int8 NOT NULL);
             CREATE INDEX IF NOT EXISTS bank_balances_by_cents ON bank_balances (cents DESC, account);
             CREATE TABLE IF NOT EXISTS bank_turnover (day int8 PRIMARY KEY, deposited int8 NOT NULL, withdrawn int8 NOT NULL);",
        )
        .execute(view)
        .await?;
        Ok(())
    }

    async fn apply(&self, view: &mut PgConnection, event: &Projected<AccountEvent>) -> Result<(), BoxError> {
        self.apply_all(view, std::slice::from_ref(event)).await
    }

    /// Two statements, however many events there are.
    async fn apply_all(
        &self,
        view: &mut PgConnection,
        events: &[Projected<AccountEvent>],
    ) -> Result<(), BoxError> {
        let changes = Changes::of(events);
        let (accounts, cents): (Vec<_>, Vec<_>) = changes.balances.into_iter().unzip();
        sqlx::query(
            "INSERT INTO bank_balances AS b SELECT * FROM unnest($1::text[], $2::int8[])
             ON CONFLICT (account) DO UPDATE SET cents = b.cents + excluded.cents",
        )
        .bind(accounts)
        .bind(cents)
        .execute(&mut *view)
        .await?;
        let (days, sums): (Vec<_>, Vec<_>) = changes.days.into_iter().unzip();
        let (deposited, withdrawn): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
        sqlx::query(
            "INSERT INTO bank_turnover AS t SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[])
             ON CONFLICT (day) DO UPDATE
             SET deposited = t.deposited + excluded.deposited, withdrawn = t.withdrawn + excluded.withdrawn",
        )
        .bind(days)
        .bind(deposited)
        .bind(withdrawn)
        .execute(view)
        .await?;
        Ok(())
    }

    /// Who was erased is forgotten here, too; the turnover names nobody.
    async fn gone(&self, view: &mut PgConnection, gone: &Gone) -> Result<(), BoxError> {
        if !gone.erased {
            return Err(Missed::from(gone).into());
        }
        let delete = sqlx::query("DELETE FROM bank_balances WHERE account = $1");
        delete.bind(gone.persistence_id.entity_id()).execute(view).await?;
        Ok(())
    }

    async fn clear(&self, view: &mut PgConnection) -> Result<(), BoxError> {
        sqlx::raw_sql("DELETE FROM bank_balances; DELETE FROM bank_turnover;").execute(view).await?;
        Ok(())
    }
}

pub(super) async fn top(database: &Database, most: u32) -> Result<Vec<Balance>, JournalError> {
    let mut connection = database.reader().await?;
    let rows = sqlx::query("SELECT account, cents FROM bank_balances ORDER BY cents DESC, account LIMIT $1")
        .bind(i64::from(most))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| read_failure(database.server(), error))?;
    connection.done();
    let balances = rows.iter().map(|row| Ok(Balance { id: row.try_get(0)?, cents: row.try_get(1)? }));
    balances.collect::<sqlx::Result<_>>().map_err(|error| read_failure(database.server(), error))
}

pub(super) async fn turnover(database: &Database, days: u32) -> Result<Vec<Day>, JournalError> {
    let mut connection = database.reader().await?;
    let rows = sqlx::query(
        "SELECT to_char(to_timestamp(day * 86400) AT TIME ZONE 'UTC', 'YYYY-MM-DD'), deposited, withdrawn
         FROM bank_turnover ORDER BY day DESC LIMIT $1",
    )
    .bind(i64::from(days))
    .fetch_all(&mut *connection)
    .await
    .map_err(|error| read_failure(database.server(), error))?;
    connection.done();
    let day = |row: &sqlx::postgres::PgRow| {
        Ok(Day { day: row.try_get(0)?, deposited: row.try_get(1)?, withdrawn: row.try_get(2)? })
    };
    rows.iter().map(day).collect::<sqlx::Result<_>>().map_err(|error| read_failure(database.server(), error))
}

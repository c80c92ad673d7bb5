//! The views in the journal's SQLite file.

use annals::actors::plain::BoxError;
use annals::journal::JournalError;
use annals::journal::sqlite::Database;
use annals::journal::sqlite::rusqlite::{Connection, params};
use annals::projections::{Gone, Missed, Projected, SqliteView};

use super::{AccountViews, Balance, Changes, Day};
use crate::account::AccountEvent;

impl SqliteView for AccountViews {
    type Event = AccountEvent;

    fn prepare(&self, view: &Connection) -> Result<(), BoxError> {
        Ok(view.execute_batch(
            "CREATE TABLE IF NOT EXISTS bank_balances (account TEXT PRIMARY KEY, cents INTEGER NOT NULL) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS bank_balances_by_cents ON bank_balances (cents DESC, account);
             CREATE TABLE IF NOT EXISTS bank_turnover (day INTEGER PRIMARY KEY, deposited INTEGER NOT NULL, withdrawn INTEGER NOT NULL);",
        )?)
    }

    fn apply(&self, view: &Connection, event: &Projected<AccountEvent>) -> Result<(), BoxError> {
        self.apply_all(view, std::slice::from_ref(event))
    }

    fn apply_all(&self, view: &Connection, events: &[Projected<AccountEvent>]) -> Result<(), BoxError> {
        let changes = Changes::of(events);
        let mut balance = view.prepare_cached(
            "INSERT INTO bank_balances VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET cents = cents + ?2",
        )?;
        for (account, cents) in changes.balances {
            balance.execute(params![account, cents])?;
        }
        let mut turnover = view.prepare_cached(
            "INSERT INTO bank_turnover VALUES (?1, ?2, ?3)
             ON CONFLICT (day) DO UPDATE SET deposited = deposited + ?2, withdrawn = withdrawn + ?3",
        )?;
        for (day, (deposited, withdrawn)) in changes.days {
            turnover.execute(params![day, deposited, withdrawn])?;
        }
        Ok(())
    }

    /// Who was erased is forgotten here, too; the turnover names nobody.
    fn gone(&self, view: &Connection, gone: &Gone) -> Result<(), BoxError> {
        if !gone.erased {
            return Err(Missed::from(gone).into());
        }
        view.execute("DELETE FROM bank_balances WHERE account = ?", [gone.persistence_id.entity_id()])?;
        Ok(())
    }

    fn clear(&self, view: &Connection) -> Result<(), BoxError> {
        Ok(view.execute_batch("DELETE FROM bank_balances; DELETE FROM bank_turnover;")?)
    }
}

pub(super) async fn top(database: &Database, most: u32) -> Result<Vec<Balance>, JournalError> {
    let read = database.read(move |conn| {
        let mut select = conn.prepare_cached(
            "SELECT account, cents FROM bank_balances ORDER BY cents DESC, account LIMIT ?",
        )?;
        select.query_map([most], |row| Ok(Balance { id: row.get(0)?, cents: row.get(1)? }))?.collect()
    });
    read.await
}

pub(super) async fn turnover(database: &Database, days: u32) -> Result<Vec<Day>, JournalError> {
    let read = database.read(move |conn| {
        let mut select = conn.prepare_cached(
            "SELECT date(day * 86400, 'unixepoch'), deposited, withdrawn FROM bank_turnover ORDER BY day DESC LIMIT ?",
        )?;
        let days = select.query_map([days], |row| {
            Ok(Day { day: row.get(0)?, deposited: row.get(1)?, withdrawn: row.get(2)? })
        })?;
        days.collect()
    });
    read.await
}

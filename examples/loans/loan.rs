//! A loan application as a persistent actor.

use std::collections::BTreeMap;
use std::fmt;

use annals::migrations::{self, Migrations};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::event::{CaseFile, LoanEvent};
use crate::money::Money;
use crate::offers::{Offers, Stage};
use crate::work_item::WorkItem;
use crate::xes::Row;

/// The state of one case: what its rows have led to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loan {
    /// How many rows of the log it has; the next one has the next number.
    pub(crate) rows: u64,
    /// Whether the log has the case, which it may have without rows.
    pub(crate) known: bool,
    pub(crate) case: CaseFile,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<Money>,
    pub(crate) step: Option<Step>,
    pub(crate) outcome: Outcome,
    pub(crate) offers: Offers,
    pub(crate) work: BTreeMap<WorkItem, Work>,
    /// Rows that the model does not understand.
    pub(crate) other: u64,
    pub(crate) first_at: Option<String>,
    pub(crate) last_at: Option<String>,
}

/// How an application ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It has not ended.
    #[default]
    Open,
    Approved,
    Declined,
    Cancelled,
}

/// The last step of the application itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    Submitted,
    PartlySubmitted,
    PreAccepted,
    Accepted,
    Finalized,
    Approved,
    Registered,
    Activated,
    Declined,
    Cancelled,
}

/// The work of one sort that was done on an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) scheduled: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
}

impl PersistentActor for Loan {
    const KIND: &'static str = "loan";
    // 2: the amount.
    const STATE_VERSION: u32 = 2;
    type Event = LoanEvent;
    type Commands = (Record, Open, Show);

    fn apply(&mut self, event: &LoanEvent) {
        self.known = true;
        if let Some(fact) = event.fact() {
            self.rows += 1;
            if let Some(case) = &fact.case {
                self.open(case);
            }
            if self.first_at.is_none() {
                self.first_at.clone_from(&fact.at);
            }
            if fact.at.is_some() {
                self.last_at.clone_from(&fact.at);
            }
        }
        match event {
            LoanEvent::Opened { case } => self.open(case),
            LoanEvent::Submitted { amount, .. } => {
                self.step = Some(Step::Submitted);
                if amount.is_some() {
                    self.amount.clone_from(amount);
                }
            }
            LoanEvent::PartlySubmitted(_) => self.step = Some(Step::PartlySubmitted),
            LoanEvent::PreAccepted(_) => self.step = Some(Step::PreAccepted),
            LoanEvent::Accepted(_) => self.step = Some(Step::Accepted),
            LoanEvent::Finalized(_) => self.step = Some(Step::Finalized),
            LoanEvent::Registered(_) => self.step = Some(Step::Registered),
            LoanEvent::Activated(_) => self.step = Some(Step::Activated),
            LoanEvent::Approved(_) => self.end(Step::Approved, Outcome::Approved),
            LoanEvent::Declined(_) => self.end(Step::Declined, Outcome::Declined),
            LoanEvent::Cancelled(_) => self.end(Step::Cancelled, Outcome::Cancelled),
            LoanEvent::Offer { stage: Stage::Selected, .. } => self.offers.select(),
            LoanEvent::Offer { stage, .. } => self.offers.advance(*stage),
            LoanEvent::WorkScheduled { item, .. } => self.work.entry(*item).or_default().scheduled += 1,
            LoanEvent::WorkStarted { item, .. } => self.work.entry(*item).or_default().started += 1,
            LoanEvent::WorkCompleted { item, .. } => self.work.entry(*item).or_default().completed += 1,
            LoanEvent::Recorded { .. } => self.other += 1,
        }
    }

    fn state_migrations() -> Migrations<Self> {
        let amount = migrations::Step::fields(|fields| {
            let case = fields.get("case").cloned().unwrap_or_default();
            if let Some(amount) = serde_json::from_value::<CaseFile>(case)?.amount() {
                fields.insert("amount".into(), serde_json::to_value(amount)?);
            }
            Ok::<_, serde_json::Error>(())
        });
        let without = migrations::Step::remove_field("amount");
        Migrations::new().up("state", 1, amount).down("state", 1, without)
    }
}

impl Loan {
    fn open(&mut self, case: &CaseFile) {
        self.case = case.clone();
        self.amount = case.amount();
    }

    fn end(&mut self, step: Step, outcome: Outcome) {
        self.step = Some(step);
        self.outcome = outcome;
    }

    fn progress(&self, recorded: bool) -> Progress {
        Progress { recorded, rows: self.rows, outcome: self.outcome }
    }
}

/// Records one row of the log. Rows that the case has are not recorded again, so it may be sent any number of times.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Record {
    /// The row's number within its case, from 1.
    pub(crate) number: u64,
    pub(crate) row: Row,
    /// What the log says about the case as a whole; with the first row.
    pub(crate) case: Option<CaseFile>,
}

/// How far a case is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Whether the command was new; otherwise the journal had it already.
    pub(crate) recorded: bool,
    pub(crate) rows: u64,
    pub(crate) outcome: Outcome,
}

/// A row came before the one that it follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("row {number} cannot follow row {rows}: rows are recorded in their order")]
pub(crate) struct RowsMissing {
    number: u64,
    rows: u64,
}

impl Handle<Record> for Loan {
    type Reply = Progress;
    type Rejection = RowsMissing;

    fn handle(&self, command: &Record, ctx: &mut Context<Self, Record>) -> Effect<Self, Record> {
        let Record { number, row, case } = command;
        if *number <= self.rows {
            return ctx.reply(self.progress(false));
        }
        if *number > self.rows + 1 {
            return ctx.reject(RowsMissing { number: *number, rows: self.rows });
        }
        ctx.persist(LoanEvent::of(row.clone(), case.clone())).reply(|loan| loan.progress(true))
    }
}

/// Takes a case that has no rows into the books.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Open {
    pub(crate) case: CaseFile,
}

impl Handle<Open> for Loan {
    type Reply = Progress;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Open, ctx: &mut Context<Self, Open>) -> Effect<Self, Open> {
        if self.known {
            return ctx.reply(self.progress(false));
        }
        ctx.persist(LoanEvent::Opened { case: command.case.clone() }).reply(|loan| loan.progress(true))
    }
}

/// Asks for the whole state.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Show;

impl Handle<Show> for Loan {
    type Reply = Self;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Show, ctx: &mut Context<Self, Show>) -> Effect<Self, Show> {
        ctx.reply(self.clone())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Submitted => "submitted",
            Self::PartlySubmitted => "partly submitted",
            Self::PreAccepted => "pre-accepted",
            Self::Accepted => "accepted",
            Self::Finalized => "finalized",
            Self::Approved => "approved",
            Self::Registered => "registered",
            Self::Activated => "activated",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loan(activities: &[(&str, &str)]) -> Loan {
        let mut loan = Loan::default();
        for (activity, transition) in activities {
            let row = Row {
                activity: Some((*activity).to_owned()),
                transition: Some((*transition).to_owned()),
                at: Some(format!("row {}", loan.rows + 1)),
                ..Row::default()
            };
            loan.apply(&LoanEvent::of(row, None));
        }
        loan
    }

    #[test]
    fn a_case_is_what_its_rows_say() {
        let loan = loan(&[
            ("A_SUBMITTED", "COMPLETE"),
            ("W_Valideren aanvraag", "SCHEDULE"),
            ("W_Valideren aanvraag", "START"),
            ("O_SELECTED", "COMPLETE"),
            ("O_CREATED", "COMPLETE"),
            ("Coffee", "COMPLETE"),
            ("A_APPROVED", "COMPLETE"),
            ("A_ACTIVATED", "COMPLETE"),
        ]);
        assert_eq!((loan.rows, loan.other, loan.outcome), (8, 1, Outcome::Approved));
        assert_eq!(loan.step, Some(Step::Activated));
        assert_eq!(loan.offers.stages(), [Stage::Created]);
        let work = Work { scheduled: 1, started: 1, completed: 0 };
        assert_eq!(loan.work, BTreeMap::from([(WorkItem::ValidateApplication, work)]));
        assert_eq!((loan.first_at.as_deref(), loan.last_at.as_deref()), (Some("row 1"), Some("row 8")));
    }

    #[test]
    fn a_snapshot_gives_the_state_back() {
        let loan =
            loan(&[("W_Beoordelen fraude", "COMPLETE"), ("O_SENT", "COMPLETE"), ("A_DECLINED", "COMPLETE")]);
        let snapshot = serde_json::to_string(&loan).unwrap();
        assert_eq!(serde_json::from_str::<Loan>(&snapshot).unwrap(), loan);
    }
}

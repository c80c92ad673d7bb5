//! What can happen to a loan application, and how a row of a log says it.
//!
//! The first version had an event for each stage of an offer, and an application's amount was an attribute of its case, as the log has it.
//! What it stored is read by the steps below; `v1.jsonl` is a journal of it.

use std::fmt;

use annals::migrations::{Event, SchemaName};
use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::offers::Stage;
use crate::work_item::WorkItem;
use crate::xes::{Attributes, Row};

/// One row of the log, as the model understands it. What it does not know is [`Recorded`](Self::Recorded) as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub(crate) enum LoanEvent {
    /// The case has no rows; only what is said about it is known.
    Opened {
        case: CaseFile,
    },

    // The application.
    #[event(version = 2, from(1 => Submission::of), to(1 => |new: Submission| new.fact))]
    Submitted {
        /// What is asked for, when the log says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<Money>,
        fact: Fact,
    },
    PartlySubmitted(Fact),
    PreAccepted(Fact),
    Accepted(Fact),
    Finalized(Fact),
    Approved(Fact),
    Registered(Fact),
    Activated(Fact),
    Declined(Fact),
    Cancelled(Fact),

    /// One of its offers has come to a stage. The log does not say which one.
    #[event(from(
        ("loan.offer-selected", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::Selected, fact },
        ("loan.offer-created", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::Created, fact },
        ("loan.offer-sent", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::Sent, fact },
        ("loan.offer-sent-back", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::SentBack, fact },
        ("loan.offer-accepted", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::Accepted, fact },
        ("loan.offer-declined", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::Declined, fact },
        ("loan.offer-cancelled", 1) => |fact: Fact| LoanEvent::Offer { stage: Stage::Cancelled, fact },
    ))]
    Offer {
        stage: Stage,
        fact: Fact,
    },

    // The work on it.
    WorkScheduled {
        item: WorkItem,
        fact: Fact,
    },
    WorkStarted {
        item: WorkItem,
        fact: Fact,
    },
    WorkCompleted {
        item: WorkItem,
        fact: Fact,
    },

    /// Anything else.
    Recorded {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        activity: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transition: Option<String>,
        fact: Fact,
    },
}

/// When, by whom, and what else the log says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// The time as the log writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub(crate) attributes: Attributes,
    /// What the log says about the case as a whole; with its first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) case: Option<CaseFile>,
}

/// What is stored of [`LoanEvent::Submitted`], for the steps from and to its first version, which was the fact alone.
#[derive(Debug, Serialize, Deserialize)]
struct Submission {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
    fact: Fact,
}

impl Submission {
    fn of(fact: Fact) -> Self {
        Self { amount: fact.case.as_ref().and_then(CaseFile::amount), fact }
    }
}

/// What a log says about a case as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub(crate) attributes: Attributes,
}

impl CaseFile {
    /// What is asked for: the log has it in whole euros, or with cents.
    pub(crate) fn amount(&self) -> Option<Money> {
        Money::euros(self.attributes.get("AMOUNT_REQ")?)
    }
}

impl LoanEvent {
    fn submitted(fact: Fact) -> Self {
        let Submission { amount, fact } = Submission::of(fact);
        Self::Submitted { amount, fact }
    }

    /// What a row says.
    pub(crate) fn of(row: Row, case: Option<CaseFile>) -> Self {
        let Row { activity, transition, at, by, attributes } = row;
        let fact = Fact { at, by, attributes, case };
        let known = Known::of(activity.as_deref(), transition.as_deref());
        match known {
            Some(Known::Step(event)) => event(fact),
            Some(Known::Work(item, Transition::Scheduled)) => Self::WorkScheduled { item, fact },
            Some(Known::Work(item, Transition::Started)) => Self::WorkStarted { item, fact },
            Some(Known::Work(item, Transition::Completed)) => Self::WorkCompleted { item, fact },
            None => Self::Recorded { activity, transition, fact },
        }
    }

    /// When, by whom, and what else; `None` for a case without rows.
    pub(crate) fn fact(&self) -> Option<&Fact> {
        match self {
            Self::Opened { .. } => None,
            Self::Submitted { fact, .. }
            | Self::PartlySubmitted(fact)
            | Self::PreAccepted(fact)
            | Self::Accepted(fact)
            | Self::Finalized(fact)
            | Self::Approved(fact)
            | Self::Registered(fact)
            | Self::Activated(fact)
            | Self::Declined(fact)
            | Self::Cancelled(fact)
            | Self::Offer { fact, .. }
            | Self::WorkScheduled { fact, .. }
            | Self::WorkStarted { fact, .. }
            | Self::WorkCompleted { fact, .. }
            | Self::Recorded { fact, .. } => Some(fact),
        }
    }
}

impl fmt::Display for LoanEvent {
    /// The name under which it is stored, and what it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer { stage, .. } => write!(f, "offer {stage}"),
            Self::WorkScheduled { item, .. } => write!(f, "work scheduled: {item}"),
            Self::WorkStarted { item, .. } => write!(f, "work started: {item}"),
            Self::WorkCompleted { item, .. } => write!(f, "work completed: {item}"),
            Self::Recorded { activity, transition, .. } => {
                f.write_str(activity.as_deref().unwrap_or("(no activity)"))?;
                transition.as_ref().map_or(Ok(()), |transition| write!(f, " ({transition})"))
            }
            _ => match Self::SCHEMAS.get(self.schema()).map(|schema| schema.name) {
                Some(SchemaName::OfKind(name) | SchemaName::Whole(name)) => {
                    f.write_str(&name.replace('-', " "))
                }
                None => Ok(()),
            },
        }
    }
}

/// A row that the model understands.
enum Known {
    Step(fn(Fact) -> LoanEvent),
    Work(WorkItem, Transition),
}

enum Transition {
    Scheduled,
    Started,
    Completed,
}

impl Known {
    fn of(activity: Option<&str>, transition: Option<&str>) -> Option<Self> {
        let activity = activity?;
        let transition = match transition {
            // A log that has no life cycle says when something is done.
            None => Transition::Completed,
            Some(text) if text.eq_ignore_ascii_case("schedule") => Transition::Scheduled,
            Some(text) if text.eq_ignore_ascii_case("start") => Transition::Started,
            Some(text) if text.eq_ignore_ascii_case("complete") => Transition::Completed,
            Some(_) => return None,
        };
        if let Some(item) = WorkItem::of(activity) {
            return Some(Self::Work(item, transition));
        }
        let step: fn(Fact) -> LoanEvent = match activity {
            "A_SUBMITTED" => LoanEvent::submitted,
            "A_PARTLYSUBMITTED" => LoanEvent::PartlySubmitted,
            "A_PREACCEPTED" => LoanEvent::PreAccepted,
            "A_ACCEPTED" => LoanEvent::Accepted,
            "A_FINALIZED" => LoanEvent::Finalized,
            "A_APPROVED" => LoanEvent::Approved,
            "A_REGISTERED" => LoanEvent::Registered,
            "A_ACTIVATED" => LoanEvent::Activated,
            "A_DECLINED" => LoanEvent::Declined,
            "A_CANCELLED" => LoanEvent::Cancelled,
            "O_SELECTED" => |fact| LoanEvent::Offer { stage: Stage::Selected, fact },
            "O_CREATED" => |fact| LoanEvent::Offer { stage: Stage::Created, fact },
            "O_SENT" => |fact| LoanEvent::Offer { stage: Stage::Sent, fact },
            "O_SENT_BACK" => |fact| LoanEvent::Offer { stage: Stage::SentBack, fact },
            "O_ACCEPTED" => |fact| LoanEvent::Offer { stage: Stage::Accepted, fact },
            "O_DECLINED" => |fact| LoanEvent::Offer { stage: Stage::Declined, fact },
            "O_CANCELLED" => |fact| LoanEvent::Offer { stage: Stage::Cancelled, fact },
            _ => return None,
        };
        matches!(transition, Transition::Completed).then_some(Self::Step(step))
    }
}

#[cfg(test)]
mod tests {
    use annals::journal::Manifest;
    use annals::migrations::{EventAdapter as _, Form, KindAdapter};

    use super::*;

    fn row(activity: &str, transition: Option<&str>) -> LoanEvent {
        let row = Row {
            activity: Some(activity.into()),
            transition: transition.map(Into::into),
            at: Some("2011-10-01T00:38:44.546+02:00".into()),
            ..Row::default()
        };
        LoanEvent::of(row, None)
    }

    #[test]
    fn a_known_activity_becomes_its_event_and_its_payload_has_the_fields_only() {
        assert!(matches!(row("A_APPROVED", Some("COMPLETE")), LoanEvent::Approved(_)));
        assert!(matches!(row("A_APPROVED", None), LoanEvent::Approved(_)));
        let started = row("W_Valideren aanvraag", Some("start"));
        assert!(matches!(started, LoanEvent::WorkStarted { item: WorkItem::ValidateApplication, .. }));
        let payload = started.encode().unwrap();
        assert_eq!(
            std::str::from_utf8(&payload).unwrap(),
            r#"{"item":"validate-application","fact":{"at":"2011-10-01T00:38:44.546+02:00"}}"#
        );
        assert_eq!(LoanEvent::decode(started.schema(), &payload).unwrap(), started);
    }

    #[test]
    fn what_the_first_version_stored_is_read_and_written_for_it_as_it_was() {
        let adapter = KindAdapter::<LoanEvent>::new("loan").unwrap();
        let older = |manifest: &str| Form::new(Manifest::new(manifest).unwrap(), 1);
        let case = CaseFile { name: None, attributes: [("AMOUNT_REQ".to_owned(), "20000".into())].into() };
        let fact = Fact { case: Some(case), ..Fact::default() };
        let submitted = LoanEvent::submitted(fact.clone());
        let LoanEvent::Submitted { amount, .. } = &submitted else { panic!("{submitted:?}") };
        assert_eq!(amount.as_ref().unwrap().to_string(), "20000.00 EUR");
        let stored = adapter.to_journal_as(&submitted, &older("loan.submitted")).unwrap();
        let first: Fact = serde_json::from_slice(&stored.payload).unwrap();
        assert_eq!(first, fact, "the first version is the fact alone");
    }

    #[test]
    fn what_the_model_does_not_know_is_kept_as_such() {
        for (activity, transition) in [
            ("Register request", Some("complete")),
            ("A_APPROVED", Some("start")),
            ("W_Unknown", Some("START")),
        ] {
            let event = row(activity, transition);
            let LoanEvent::Recorded { activity: kept, transition: how, .. } = &event else {
                panic!("{event:?}");
            };
            assert_eq!((kept.as_deref(), how.as_deref()), (Some(activity), transition));
            assert_eq!(LoanEvent::decode(event.schema(), &event.encode().unwrap()).unwrap(), event);
        }
        assert!(matches!(LoanEvent::of(Row::default(), None), LoanEvent::Recorded { activity: None, .. }));
    }
}

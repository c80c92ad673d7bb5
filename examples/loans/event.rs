//! What can happen to a loan application, and how a row of a log says it.

use std::fmt;

use annals::migrations::{Event, SchemaName};
use serde::{Deserialize, Serialize};

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
    Submitted(Fact),
    PartlySubmitted(Fact),
    PreAccepted(Fact),
    Accepted(Fact),
    Finalized(Fact),
    Approved(Fact),
    Registered(Fact),
    Activated(Fact),
    Declined(Fact),
    Cancelled(Fact),

    // Its offers. The log does not say which one.
    OfferSelected(Fact),
    OfferCreated(Fact),
    OfferSent(Fact),
    OfferSentBack(Fact),
    OfferAccepted(Fact),
    OfferDeclined(Fact),
    OfferCancelled(Fact),

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

/// What a log says about a case as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub(crate) attributes: Attributes,
}

impl LoanEvent {
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
            Self::Submitted(fact)
            | Self::PartlySubmitted(fact)
            | Self::PreAccepted(fact)
            | Self::Accepted(fact)
            | Self::Finalized(fact)
            | Self::Approved(fact)
            | Self::Registered(fact)
            | Self::Activated(fact)
            | Self::Declined(fact)
            | Self::Cancelled(fact)
            | Self::OfferSelected(fact)
            | Self::OfferCreated(fact)
            | Self::OfferSent(fact)
            | Self::OfferSentBack(fact)
            | Self::OfferAccepted(fact)
            | Self::OfferDeclined(fact)
            | Self::OfferCancelled(fact)
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
            "A_SUBMITTED" => LoanEvent::Submitted,
            "A_PARTLYSUBMITTED" => LoanEvent::PartlySubmitted,
            "A_PREACCEPTED" => LoanEvent::PreAccepted,
            "A_ACCEPTED" => LoanEvent::Accepted,
            "A_FINALIZED" => LoanEvent::Finalized,
            "A_APPROVED" => LoanEvent::Approved,
            "A_REGISTERED" => LoanEvent::Registered,
            "A_ACTIVATED" => LoanEvent::Activated,
            "A_DECLINED" => LoanEvent::Declined,
            "A_CANCELLED" => LoanEvent::Cancelled,
            "O_SELECTED" => LoanEvent::OfferSelected,
            "O_CREATED" => LoanEvent::OfferCreated,
            "O_SENT" => LoanEvent::OfferSent,
            "O_SENT_BACK" => LoanEvent::OfferSentBack,
            "O_ACCEPTED" => LoanEvent::OfferAccepted,
            "O_DECLINED" => LoanEvent::OfferDeclined,
            "O_CANCELLED" => LoanEvent::OfferCancelled,
            _ => return None,
        };
        matches!(transition, Transition::Completed).then_some(Self::Step(step))
    }
}

#[cfg(test)]
mod tests {
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

use std::fmt;

use super::{Verdict, View};
use crate::{Incarnation, Moment, NodeId};

/// A decision about unreachable members, with all that it rests on. A node keeps its last ones.
#[derive(Debug, Clone)]
pub struct Decision {
    /// When, on the clock of who decided.
    pub at: Moment,
    /// Who decided.
    pub by: NodeId,
    /// Why now.
    pub cause: Cause,
    /// What was decided.
    pub verdict: Verdict,
    /// Whom it means.
    pub downed: Vec<NodeId>,
    /// Who saw what.
    pub view: View,
}

/// What made a node decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Members were unreachable, and nothing changed for the window.
    Stable,
    /// Changes did not end in time.
    Unstable,
    /// The lease was acquired, or refused.
    Lease {
        /// Which of both.
        acquired: bool,
    },
    /// An operator asked for it.
    Operator,
    /// Another incarnation joined from the same address.
    Displaced,
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |incarnation: &Incarnation| {
            let member = self.view.members.iter().find(|member| member.incarnation() == *incarnation);
            member.map_or_else(|| incarnation.to_string(), |member| member.identity.id.to_string())
        };
        write!(formatter, "{} decides ({:?}): {}: [", self.by, self.cause, self.verdict)?;
        for (index, id) in self.downed.iter().enumerate() {
            write!(formatter, "{}{id}", if index == 0 { "" } else { ", " })?;
        }
        write!(formatter, "]; members:")?;
        for member in &self.view.members {
            let mark = if self.view.is_unreachable(member) { " unreachable" } else { "" };
            write!(formatter, " {} {}{mark};", member.identity.id, member.status)?;
        }
        for (observer, subject) in &self.view.records {
            write!(formatter, " {} does not reach {};", name(observer), name(subject))?;
        }
        Ok(())
    }
}

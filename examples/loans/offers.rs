use std::fmt;

use serde::{Deserialize, Serialize};

/// The offers made for an application, in the order in which they were selected.
///
/// The log does not say which offer an event is about, so it is the oldest that can take the step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Offers(Vec<Stage>);

/// How far an offer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    Selected,
    Created,
    Sent,
    SentBack,
    Accepted,
    Declined,
    Cancelled,
}

impl Offers {
    /// A new offer is about to be made.
    pub(crate) fn select(&mut self) {
        self.0.push(Stage::Selected);
    }

    /// An offer comes to a stage. When none can, it was made before the log begins.
    pub(crate) fn advance(&mut self, to: Stage) {
        let usual = |stage: &Stage| match to {
            Stage::Selected => false,
            Stage::Created => *stage == Stage::Selected,
            Stage::Sent => *stage == Stage::Created,
            Stage::SentBack => *stage == Stage::Sent,
            Stage::Accepted | Stage::Declined => *stage == Stage::SentBack,
            Stage::Cancelled => !stage.is_final(),
        };
        let at = self.0.iter().position(usual).or_else(|| self.0.iter().position(|stage| !stage.is_final()));
        match at.and_then(|at| self.0.get_mut(at)) {
            Some(stage) => *stage = to,
            None => self.0.push(to),
        }
    }

    /// How far each offer is.
    pub(crate) fn stages(&self) -> &[Stage] {
        &self.0
    }
}

impl Stage {
    fn is_final(self) -> bool {
        self >= Self::Accepted
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Selected => "selected",
            Self::Created => "created",
            Self::Sent => "sent",
            Self::SentBack => "sent back",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_offer_goes_its_way() {
        let mut offers = Offers::default();
        offers.select();
        offers.select();
        for to in [Stage::Created, Stage::Created, Stage::Sent, Stage::Sent, Stage::SentBack] {
            offers.advance(to);
        }
        assert_eq!(offers.stages(), [Stage::SentBack, Stage::Sent]);
        offers.advance(Stage::Accepted);
        offers.advance(Stage::Cancelled);
        assert_eq!(offers.stages(), [Stage::Accepted, Stage::Cancelled]);
        offers.advance(Stage::SentBack);
        assert_eq!(offers.stages(), [Stage::Accepted, Stage::Cancelled, Stage::SentBack]);
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a person does for an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WorkItem {
    /// `W_Afhandelen leads`
    HandleLeads,
    /// `W_Completeren aanvraag`
    CompleteApplication,
    /// `W_Nabellen offertes`
    CallAfterOffers,
    /// `W_Valideren aanvraag`
    ValidateApplication,
    /// `W_Nabellen incomplete dossiers`
    CallAfterMissingDocuments,
    /// `W_Beoordelen fraude`
    AssessFraud,
    /// `W_Wijzigen contractgegevens`
    ChangeContract,
}

impl WorkItem {
    /// The item that the log calls so.
    pub(crate) fn of(activity: &str) -> Option<Self> {
        Some(match activity {
            "W_Afhandelen leads" => Self::HandleLeads,
            "W_Completeren aanvraag" => Self::CompleteApplication,
            "W_Nabellen offertes" => Self::CallAfterOffers,
            "W_Valideren aanvraag" => Self::ValidateApplication,
            "W_Nabellen incomplete dossiers" => Self::CallAfterMissingDocuments,
            "W_Beoordelen fraude" => Self::AssessFraud,
            "W_Wijzigen contractgegevens" => Self::ChangeContract,
            _ => return None,
        })
    }
}

impl fmt::Display for WorkItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HandleLeads => "handle leads",
            Self::CompleteApplication => "complete the application",
            Self::CallAfterOffers => "call after offers",
            Self::ValidateApplication => "validate the application",
            Self::CallAfterMissingDocuments => "call after missing documents",
            Self::AssessFraud => "assess fraud",
            Self::ChangeContract => "change the contract",
        })
    }
}

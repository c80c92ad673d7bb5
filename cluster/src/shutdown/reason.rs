use std::fmt;

use crate::StopReason;

/// Why a process shuts down. The first reason counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The operating system asked.
    Signal(Signal),
    /// The program, or somebody through it, asked.
    Requested(String),
    /// This member was asked to leave its cluster, and has.
    Left,
    /// This member was downed: others go on without it. A supervisor shall start it again.
    Downed,
    /// No cluster took this node in. A supervisor shall start it again.
    JoinFailed(String),
    /// This build or its settings do not fit the others, or what is stored: starting it again does not help.
    Incompatible(String),
    /// The process cannot go on.
    Failed(String),
}

impl Reason {
    /// With which code the process exits when everything has finished.
    ///
    /// | code | reason |
    /// |---|---|
    /// | 0 | asked for: a signal, the program, leaving |
    /// | 1 | [`Reason::Failed`] |
    /// | 69 | [`Reason::JoinFailed`]: start again |
    /// | 75 | [`Reason::Downed`]: start again |
    /// | 78 | [`Reason::Incompatible`]: starting again does not help |
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Signal(_) | Self::Requested(_) | Self::Left => 0,
            Self::Failed(_) => 1,
            // Of sysexits.h: EX_UNAVAILABLE, EX_TEMPFAIL, EX_CONFIG.
            Self::JoinFailed(_) => 69,
            Self::Downed => 75,
            Self::Incompatible(_) => 78,
        }
    }
}

impl From<StopReason> for Reason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Left => Self::Left,
            StopReason::Downed => Self::Downed,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(formatter),
            Self::Requested(why) => write!(formatter, "asked to: {why}"),
            Self::Left => formatter.write_str("left the cluster"),
            Self::Downed => formatter.write_str("downed by the cluster"),
            Self::JoinFailed(why) => write!(formatter, "could not join: {why}"),
            Self::Incompatible(why) => write!(formatter, "incompatible: {why}"),
            Self::Failed(why) => write!(formatter, "failed: {why}"),
        }
    }
}

/// A signal that ends a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, which supervisors send.
    Terminate,
    /// SIGINT, which Ctrl-C sends.
    Interrupt,
}

impl Signal {
    /// With which code a process exits that such a signal ends at once: 128 and the signal's number, as shells have it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

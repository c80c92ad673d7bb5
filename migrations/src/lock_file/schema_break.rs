use std::fmt;

use crate::Role;

/// What today's code does to what older code stored, or sends: the sentence says what is wrong, why it matters, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaBreak {
    /// Of which kind of entity.
    pub kind: String,
    /// Of its events, of its state, or of its commands.
    pub role: Role,
    /// Which manifest; empty: all of the kind.
    pub manifest: String,
    /// What is wrong.
    pub reason: BreakReason,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakReason {
    /// The test does not name the kind any more.
    KindGone,
    /// No version of the manifest is read any more.
    Removed {
        /// The newest version that was read.
        newest: u32,
    },
    /// Versions that were read are not any more.
    NoUpcaster {
        /// The oldest of them.
        from: u32,
        /// The newest of them.
        to: u32,
        /// What is written today.
        today: Option<u32>,
    },
    /// What is written has a lower version than what was locked.
    Lowered {
        /// Was locked.
        locked: u32,
        /// Is written today.
        today: u32,
    },
    /// The version is the same, what it reads is not.
    ShapeChanged {
        /// Of which version.
        version: u32,
        /// A sentence each.
        differences: Vec<String>,
    },
    /// The version is the same, the codec is not.
    CodecChanged {
        /// Of which version.
        version: u32,
        /// Was locked.
        locked: String,
        /// Is written today.
        today: String,
    },
    /// A step from an older version takes a type that cannot read it.
    StepReadsOther {
        /// From which version.
        version: u32,
        /// A sentence each.
        differences: Vec<String>,
    },
    /// A payload that was locked cannot be read.
    SampleUnread {
        /// Of which version.
        version: u32,
        /// The adapter's error.
        error: String,
    },
    /// A payload of today's version that was locked is read, and written otherwise.
    SampleChanged {
        /// Of which version.
        version: u32,
        /// What was locked.
        locked: String,
        /// What is written of it today.
        today: String,
    },
    /// Its shape cannot be seen, and no sample stands for it.
    Unseen {
        /// Of which version.
        version: u32,
        /// How it is stored.
        codec: Option<String>,
    },
}

impl fmt::Display for SchemaBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, role, manifest, reason } = self;
        let (who, have, made) = match role {
            Role::Event => ("journals have", "journals have it", "stored"),
            Role::State => ("snapshots have", "snapshots have it", "stored"),
            Role::Command => {
                ("nodes that run older builds send", "nodes that run older builds send it", "sent")
            }
        };
        let attribute = if *role == Role::Command { "command" } else { "event" };
        match reason {
            BreakReason::KindGone => write!(
                f,
                "kind {kind:?} is locked, and this test does not name it: its entities could not be recovered.\n  \
                 Name it with `.entity::<..>()`; when none of its entities is stored anywhere any more, {OVERWRITE} forgets it."
            ),
            BreakReason::Removed { newest } => {
                let way = match role {
                    Role::State => format!(
                        "keep `STATE_VERSION` and add `.up_to(\"{manifest}\", {newest}, ..)` to `state_migrations`"
                    ),
                    Role::Command => format!(
                        "keep it among the actor's `Commands`, with #[command(manifest = \"{manifest}\")] when the type has another name now; \
                         when no such node runs any more, {OVERWRITE} forgets it"
                    ),
                    Role::Event => format!(
                        "give the variant its old name with #[event(manifest = \"{manifest}\")], read it as another one with \
                         from((\"{manifest}\", {newest}) => step), or, when it does not matter any more, say \
                         #[event(retired(\"{manifest}\"))] on the type"
                    ),
                };
                let then = match role {
                    Role::Command => "such a command would be refused",
                    Role::Event | Role::State => "what holds one could not be recovered",
                };
                write!(f, "{manifest} is not read any more, and {have}: {then}.\n  {}.", capital(&way))
            }
            BreakReason::NoUpcaster { from, to, today } => {
                let which =
                    if from == to { format!("version {from}") } else { format!("versions {from} to {to}") };
                let today = today.map_or(String::new(), |today| format!(", today's is {today}"));
                let way = match role {
                    Role::State => format!("add `.up(\"state\", {from}, step)` to `state_migrations`"),
                    Role::Event | Role::Command => format!("add #[{attribute}(from({from} => step))]"),
                };
                write!(
                    f,
                    "{manifest} {which} cannot be read without an upcaster{today}, and {have}.\n  {}.",
                    capital(&way)
                )
            }
            BreakReason::Lowered { locked, today } => write!(
                f,
                "{manifest} is written as version {today}, and version {locked} is locked: what a newer build has {made} could not \
                 be read.\n  Merge the code that has version {locked}, or raise the version above it."
            ),
            BreakReason::ShapeChanged { version, differences } => {
                writeln!(f, "{manifest} has another shape and is still version {version}:")?;
                list(f, differences)?;
                let next = version.saturating_add(1);
                let way = match role {
                    Role::State => format!(
                        "set `STATE_VERSION = {next}` and add `.up(\"state\", {version}, step)` to `state_migrations`"
                    ),
                    Role::Event | Role::Command => {
                        format!("say #[{attribute}(version = {next}, from({version} => step))]")
                    }
                };
                write!(
                    f,
                    "  What {who} would be read wrong, or not at all. {}; when version {version} was {made} nowhere yet, \
                     {OVERWRITE} locks the new shape.",
                    capital(&way)
                )
            }
            BreakReason::CodecChanged { version, locked, today } => write!(
                f,
                "{manifest} version {version} was {made} as {locked}, and is {today} now: what {who} could not be read.\n  \
                 Say #[{attribute}(version = {}, from({version} => step))] with `Step::protobuf` and the like, or go back to {locked}.",
                version.saturating_add(1)
            ),
            BreakReason::StepReadsOther { version, differences } => {
                writeln!(
                    f,
                    "the step from {manifest} version {version} takes another shape than version {version} has:"
                )?;
                list(f, differences)?;
                write!(
                    f,
                    "  Let it take what the lock file has for version {version}; a field may be an `Option` or have #[serde(default)]."
                )
            }
            BreakReason::SampleUnread { version, error } => write!(
                f,
                "a sample of {manifest} version {version}, which was {made} by older code, cannot be read: {error}.\n  \
                 Give what changed a new version, and a step from version {version}."
            ),
            BreakReason::SampleChanged { version, locked, today } => write!(
                f,
                "a sample of {manifest} version {version} is read and written otherwise:\n    - {locked}\n    + {today}\n  \
                 Give what changed a new version; when version {version} was {made} nowhere yet, {OVERWRITE} locks the new form."
            ),
            BreakReason::Unseen { version, codec } => {
                let codec = codec.as_ref().map_or(String::new(), |codec| format!(", because it is {codec}"));
                let way = match role {
                    Role::Event => ".samples::<..>([..])",
                    Role::State => ".state_sample(&..)",
                    Role::Command => ".command_sample::<.., _>(&..)",
                };
                write!(
                    f,
                    "the shape of {manifest} version {version} cannot be seen{codec}: a change of it would go unnoticed.\n  \
                     Give an example with `{way}`, in which every field is set."
                )
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, sentences: &[String]) -> fmt::Result {
    sentences.iter().try_for_each(|sentence| writeln!(f, "    {sentence}"))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

const OVERWRITE: &str = "ANNALS_LOCK=overwrite";

//! Coordinated shutdown: one order in which a process stops, with a deadline for each phase. See
//! [`CoordinatedShutdown`] and `docs/shutdown.md`.
//!
//! A node takes part with [`Builder::shutdown`](crate::Builder::shutdown):
//!
//! | phase | what the node does |
//! |---|---|
//! | stop services | its plain actors, projections among them, handle what waits and stop |
//! | passivate | its entities carry out what waits, and leave memory |
//! | flush | all that was written is on disk; nothing can be written any more |
//! | leave | its registration is removed: others no longer count on what it reads |
//! | close | the stores that it has opened itself are closed |

use std::convert::Infallible;
use std::time::Duration;

use annals_actors::{Node, NodeBuilder, StopStage};
pub use annals_cluster::shutdown::{
    CoordinatedShutdown, DeadlinesTooLong, Phase, PhaseReport, Reason, Registration, Report,
    ShutdownSettings, Signal, StartError, TaskOutcome, TaskReport, TooLate,
};

/// Keeps the node's own limits within the phases'.
pub(crate) fn limited(node: NodeBuilder, shutdown: &CoordinatedShutdown) -> NodeBuilder {
    let settings = shutdown.settings();
    // What is aborted or refused at the limit still has to be told.
    let within = |phase| -> Duration { settings.deadline_of(phase).mul_f64(0.9) };
    node.stop_within_at_most(within(Phase::StopServices), within(Phase::Passivate))
}

/// Has the node stop stage by stage, and the process when the node cannot go on.
pub(crate) fn take_part(node: &Node, shutdown: &CoordinatedShutdown) -> Result<(), TooLate> {
    for (phase, stage, what) in [
        (Phase::StopServices, StopStage::Actors, "plain actors"),
        (Phase::Passivate, StopStage::Entities, "entities"),
        (Phase::Flush, StopStage::Flushed, "commits"),
        (Phase::Leave, StopStage::Left, "registration"),
        (Phase::Close, StopStage::Closed, "stores"),
    ] {
        let stopped = node.clone();
        shutdown.register(phase, format!("{what} of {}", node.name()), async move {
            stopped.stop_through(stage).await;
            Ok::<(), Infallible>(())
        })?;
    }
    let (node, shutdown) = (node.clone(), shutdown.clone());
    tokio::spawn(async move {
        if let Err(unreadable) = node.stopped().await {
            shutdown.begin(Reason::Incompatible(unreadable.to_string()));
        }
    });
    Ok(())
}

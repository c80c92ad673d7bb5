use std::fmt;

use annals_journal::Manifest;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

/// Where entities ask before something is written in a form for the first time.
#[derive(Clone)]
pub(crate) struct Clearance(mpsc::UnboundedSender<Ask>);

/// What the keeper is asked for.
pub(crate) enum Ask {
    /// To find out how a manifest may be written, and to say it in the written forms.
    Clear(Manifest, oneshot::Sender<Result<(), String>>),
    /// To give up the node's registration.
    Leave(oneshot::Sender<()>),
}

impl Clearance {
    /// The end that the keeper listens at. At most one question of each entity waits.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        (Self(asks), asked)
    }

    /// Asks how a manifest may be written; when it is answered, the written forms say it. The error says why nobody knows.
    pub(crate) fn ask(&self, manifest: Manifest) -> BoxFuture<'static, Result<(), String>> {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send(Ask::Clear(manifest, answer));
        async move {
            let gone = || "the node stops".to_owned();
            asked.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        }
        .boxed()
    }

    /// Gives up the node's registration; returns when that is done, or cannot be.
    pub(crate) async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.0.send(Ask::Leave(done)).is_ok() {
            let _ = left.await;
        }
    }
}

impl fmt::Debug for Clearance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clearance")
    }
}

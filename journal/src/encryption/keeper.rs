use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::data_keys::Shared;
use super::key_store::KeyStore;
use super::registration::Registration;
use super::{DataKeyOptions, KeysError, MasterKeyId};
use crate::telemetry::KEY_REFUSALS;

/// The task that looks for newer master keys, and says that the process is still there.
#[derive(Debug)]
pub(super) struct Keeper {
    task: AbortHandle,
    /// `None`: it was taken back.
    registration: Arc<Mutex<Option<Registration>>>,
}

impl Keeper {
    pub(super) fn start(shared: Weak<Shared>, registration: Registration, options: &DataKeyOptions) -> Self {
        let announced = registration.announced().to_vec();
        let registration = Arc::new(Mutex::new(Some(registration)));
        let (watch, renew) = (options.watch.max(SHORTEST), (options.lease / 3).max(SHORTEST));
        let task = tokio::spawn(keep(shared, registration.clone(), announced, (watch, renew))).abort_handle();
        Self { task, registration }
    }

    /// Looks for newer master keys now, and announces them.
    pub(super) async fn look(&self, shared: &Shared) -> Result<(), KeysError> {
        shared.store.reload(&shared.store.masters()).await?;
        renew(shared, &self.registration).await
    }

    pub(super) async fn stop(&self, store: &KeyStore) {
        self.task.abort();
        if let Some(mut registration) = self.registration.lock().await.take() {
            registration.end(store).await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    shared: Weak<Shared>,
    registration: Arc<Mutex<Option<Registration>>>,
    mut announced: Vec<MasterKeyId>,
    (watch, renew_every): (Duration, Duration),
) {
    let mut renewed = Instant::now();
    let (mut refused, mut erasures) = (Refused::default(), None);
    let refusals = metrics::counter!(KEY_REFUSALS);
    loop {
        tokio::time::sleep(watch.min(renew_every)).await;
        let Some(shared) = shared.upgrade() else { return };
        refused.say(NOT_FORGOTTEN, shared.forget_if_erased(&mut erasures).await);
        let looked = shared.store.reload(&shared.store.masters()).await;
        refusals.increment(u64::from(looked.is_err()));
        refused.say(NOT_USED, looked);
        let masters = shared.store.masters();
        // Somebody who missed a key may have taken them over before.
        let newer = announced != masters.ids();
        if newer {
            announced = masters.ids();
            tracing::info!(keys = ?masters.ids(), active = %masters.active(), "newer master keys are in use");
        }
        if newer || renewed.elapsed() >= renew_every {
            let done = renew(&shared, &registration).await;
            if done.is_ok() {
                renewed = Instant::now();
            }
            refused.say(NOT_ANNOUNCED, done);
        }
    }
}

async fn renew(shared: &Shared, registration: &Mutex<Option<Registration>>) -> Result<(), KeysError> {
    let mut registration = registration.lock().await;
    let Some(registration) = registration.as_mut() else { return Ok(()) };
    if let Some(active) = registration.renew(&shared.store).await? {
        shared.set_active(active);
    }
    Ok(())
}

/// Says what goes wrong when it begins, and again each minute.
#[derive(Debug, Default)]
struct Refused(Vec<(&'static str, String, Instant)>);

impl Refused {
    fn say<T>(&mut self, what: &'static str, done: Result<T, KeysError>) {
        let said = self.0.iter().position(|(said, ..)| *said == what).map(|n| self.0.swap_remove(n));
        let Err(error) = done else { return };
        let error = error.to_string();
        let at = match said {
            Some((_, text, at)) if text == error && at.elapsed() < SAY_AGAIN => at,
            _ => {
                tracing::error!(%error, "{what}");
                Instant::now()
            }
        };
        self.0.push((what, error, at));
    }
}

const NOT_FORGOTTEN: &str =
    "this process cannot see whether ids were erased: it may read them until it drops their keys";
const NOT_USED: &str = "the master keys that are there now cannot be used; those from before stay in use";
const NOT_ANNOUNCED: &str = "this process cannot say that it uses the keys: a rotation may not wait for it";
const SHORTEST: Duration = Duration::from_millis(10);
const SAY_AGAIN: Duration = Duration::from_secs(60);

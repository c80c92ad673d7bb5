//! Plain actors on other nodes: tell, ask and watch.
//!
//! Nothing can be addressed from outside but what [`Cluster::expose`](crate::Cluster::expose) names, with the messages that its
//! [`Exposure`] lists; everything else is [unknown](RemoteFailure::Unknown) there.
//!
//! A message arrives at most once, and those of one sender to one actor in the order in which they were sent.

mod message;
pub use message::{RemoteMessage, RemoteQuestion};
mod exposure;
pub(crate) use exposure::Exposures;
pub use exposure::{Exposure, NameExposed};
mod remote_ref;
pub use remote_ref::RemoteRef;
mod remote_watch;
pub use remote_watch::{RemoteEnd, RemoteWatch};
mod failure;
pub use failure::RemoteFailure;
mod questions;
pub(crate) use questions::Questions;

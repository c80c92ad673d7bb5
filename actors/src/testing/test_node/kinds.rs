use std::any::Any;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Kind, Node, NodeBuilder, PersistentActor};

/// A kind without its type: made anew for each node that starts.
pub(super) trait AnyKind: Any + Send + Sync {
    fn register(&self, node: NodeBuilder) -> NodeBuilder;
    fn crash<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, ()>;
    fn as_any(&self) -> &dyn Any;
}

/// How a kind is made.
pub(super) struct Maker<A: PersistentActor>(pub(super) Box<dyn Fn() -> Kind<A> + Send + Sync>);

impl<A: PersistentActor> AnyKind for Maker<A> {
    fn register(&self, node: NodeBuilder) -> NodeBuilder {
        node.kind((self.0)())
    }

    fn crash<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, ()> {
        async move {
            if let Some(entities) = node.entities::<A>() {
                entities.crash(None).await;
            }
        }
        .boxed()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

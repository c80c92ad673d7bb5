use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Clients and configuration that handlers take from their context, by type; given when a kind is registered.
#[derive(Default, Clone)]
pub(crate) struct Services(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Services {
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, service: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(service));
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).and_then(|service| service.clone().downcast().ok())
    }

    /// The names of the needed services that are not there.
    pub(crate) fn missing(&self, needs: &ServiceNeeds) -> Vec<&'static str> {
        needs.0.iter().filter(|(id, _)| !self.0.contains_key(id)).map(|(_, name)| *name).collect()
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} services", self.0.len())
    }
}

/// The services that an actor's handlers use, see [`PersistentActor::services`](crate::PersistentActor::services).
#[derive(Debug, Default)]
pub struct ServiceNeeds(Vec<(TypeId, &'static str)>);

impl ServiceNeeds {
    /// Declares that handlers call `ctx.service::<T>()`.
    pub fn service<T: Send + Sync + 'static>(&mut self) -> &mut Self {
        self.0.push((TypeId::of::<T>(), type_name::<T>()));
        self
    }

    pub(crate) fn declares<T: 'static>(&self) -> bool {
        self.0.iter().any(|(id, _)| *id == TypeId::of::<T>())
    }
}

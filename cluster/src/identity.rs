use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;
use crate::{Incarnation, NodeAddress, NodeId};

/// What a member is and stays: set when it starts, spread once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Address and incarnation.
    pub id: NodeId,
    /// What it is for; strategies and shards go by roles.
    pub roles: BTreeSet<String>,
    /// Version of the application, for rolling deploys; any text.
    pub app_version: String,
    /// Where it runs; strategies count members of their own data center only. Empty: the only one.
    pub data_center: String,
}

impl Identity {
    /// A node without roles.
    pub fn new(address: NodeAddress, incarnation: Incarnation) -> Self {
        Self {
            id: NodeId { address, incarnation },
            roles: BTreeSet::new(),
            app_version: String::new(),
            data_center: String::new(),
        }
    }

    /// Whether it has `role`; everybody has no role.
    pub fn has(&self, role: Option<&str>) -> bool {
        role.is_none_or(|role| self.roles.contains(role))
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut print = Fingerprint::new()
            .number(self.id.incarnation.0)
            .bytes(self.id.address.host().as_bytes())
            .number(u64::from(self.id.address.port()))
            .bytes(self.app_version.as_bytes())
            .bytes(self.data_center.as_bytes());
        for role in &self.roles {
            print = print.bytes(role.as_bytes());
        }
        print.finish()
    }

    /// The same node in its next life.
    pub(crate) fn reborn(&self, incarnation: Incarnation) -> Arc<Self> {
        let id = NodeId { address: self.id.address.clone(), incarnation };
        Arc::new(Self { id, ..self.clone() })
    }
}

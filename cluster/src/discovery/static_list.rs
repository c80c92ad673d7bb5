use async_trait::async_trait;

use super::{Discovery, DiscoveryError};
use crate::NodeAddress;

/// Contact points that are written down: the same list on all nodes.
#[derive(Debug, Clone)]
pub struct StaticList(Vec<NodeAddress>);

impl StaticList {
    /// These; the order and doubles do not matter.
    pub fn new(contact_points: impl IntoIterator<Item = NodeAddress>) -> Self {
        let mut list: Vec<_> = contact_points.into_iter().collect();
        list.sort();
        list.dedup();
        Self(list)
    }
}

#[async_trait]
impl Discovery for StaticList {
    async fn contact_points(&self) -> Result<Vec<NodeAddress>, DiscoveryError> {
        Ok(self.0.clone())
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_point_that_is_listed_twice_counts_once() {
        let address = |text: &str| text.parse::<NodeAddress>().unwrap();
        let list = StaticList::new([address("b:1"), address("a:1"), address("b:1")]);
        assert_eq!(list.count(), Some(2));
    }
}

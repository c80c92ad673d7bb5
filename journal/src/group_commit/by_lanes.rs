use futures::future::join_all;

use super::by_task::ByTask;
use super::sent::Answers;
use crate::{JournalError, PersistenceId, Write};

/// Several commits at a time, each in a lane of its own: an id is always in the same one, so that its writes stay in their order.
pub(super) struct ByLanes {
    lanes: Vec<ByTask>,
}

impl ByLanes {
    /// At least one lane.
    pub(super) fn new(lanes: u32, lane: impl FnMut(u32) -> ByTask) -> Self {
        Self { lanes: (0..lanes.max(1)).map(lane).collect() }
    }

    pub(super) async fn write(&self, writes: Vec<Write>) -> Answers {
        let Some(first) = writes.first().map(|write| self.lane_of(write.persistence_id())) else {
            return Vec::new();
        };
        if writes.iter().all(|write| self.lane_of(write.persistence_id()) == first) {
            return self.lanes[first].write(writes).await;
        }
        let mut answers: Vec<_> = writes.iter().map(|_| None).collect();
        let mut lists: Vec<(Vec<usize>, Vec<Write>)> =
            self.lanes.iter().map(|_| Default::default()).collect();
        for (place, write) in writes.into_iter().enumerate() {
            let list = &mut lists[self.lane_of(write.persistence_id())];
            list.0.push(place);
            list.1.push(write);
        }
        let lists = self.lanes.iter().zip(lists).filter(|(_, list)| !list.0.is_empty());
        let written = lists.map(async |(lane, (places, writes))| (places, lane.write(writes).await));
        for (places, given) in join_all(written).await {
            for (place, answer) in places.into_iter().zip(given) {
                answers[place] = Some(answer);
            }
        }
        let none =
            || Err(JournalError::Unknown { reason: "the journal gave no answer".into(), source: None });
        answers.into_iter().map(|answer| answer.unwrap_or_else(none)).collect()
    }

    pub(super) async fn shutdown(&self) {
        join_all(self.lanes.iter().map(ByTask::shutdown)).await;
    }

    fn lane_of(&self, id: &PersistenceId) -> usize {
        usize::from(id.slice().number()) % self.lanes.len()
    }
}

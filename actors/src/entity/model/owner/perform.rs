use annals_journal::{Head, Timestamp, Write};

use super::{Happened, Owner, Slot, Step};
use crate::entity::model::link::Ticket;
use crate::entity::model::store::Flaw;
use crate::entity::{Action, Input, Phase, Report};

impl Owner {
    /// As the driver's.
    pub(super) fn perform(&mut self, now: Timestamp) {
        let clock = self.clock(now);
        let Some(entity) = &mut self.entity else { return };
        let actions: Vec<_> = entity.take_actions();
        if matches!(entity.phase, Phase::Settling(_)) {
            self.seen.push(Happened::Settling);
        }
        let mut early = Vec::new();
        for action in actions {
            match action {
                Action::Write(write) => {
                    let events = match &write {
                        Write::Append(append) => append.events.len(),
                        _ => {
                            self.seen.push(Happened::Verify);
                            0
                        }
                    };
                    if self.flaw == Flaw::ReleasesEarly {
                        early.push(Head { token: write.token(), ..Head::EMPTY });
                    }
                    self.tickets += 1;
                    self.writes.push_back(Slot { ticket: self.tickets, events, answer: None });
                    self.link.push(Ticket::Write(self.tickets), write);
                }
                Action::Claim(token) => {
                    self.link.forget(true);
                    self.tickets += 1;
                    self.step = Step::Claim(self.tickets, None);
                    let persistence_id = self.identity.persistence_id.clone();
                    self.link.push(Ticket::Claim(self.tickets), Write::Claim { persistence_id, token });
                }
                Action::ForgetWrites => {
                    self.writes.clear();
                    self.link.forget(false);
                }
                Action::Load(at_most) => self.step = Step::Load(at_most),
                Action::Replay(from, to) => self.step = Step::Replay(from, to),
                Action::LeaveAlone(pause) => self.left_alone_until = Some(clock.plus(pause)),
                Action::Rest(_) if self.flaw == Flaw::NeverRests => self.step = Step::Rest(clock),
                Action::Rest(pause) => self.step = Step::Rest(clock.plus(pause)),
                Action::Work(work, _) => self.work = Some(work),
                Action::CancelWork => self.work = None,
                Action::ClearToolkit => {}
                Action::Save(snapshot) => {
                    self.seen.push(Happened::Save { number: snapshot.seq_nr.get() });
                    self.save = Some(*snapshot);
                }
                Action::Delete(_) => unreachable!("its events do not replace its state"),
                Action::Release(delivery, effects) => {
                    delivery.release();
                    self.side_effects.extend(effects);
                    self.seen.push(Happened::Released);
                }
                Action::Fail(delivery, failure) => {
                    delivery.fail(failure);
                    self.seen.push(Happened::Answered);
                }
                Action::Unknown(delivery) => {
                    delivery.unknown(&self.identity.persistence_id);
                    self.seen.push(Happened::Answered);
                    self.seen.push(Happened::Unknown);
                }
                Action::RefuseMailbox(failure) => {
                    for delivery in self.mailbox.drain(..) {
                        delivery.fail(failure.clone());
                    }
                    self.failure = Some(failure);
                    self.seen.push(Happened::Answered);
                }
                Action::Ready { snapshot, .. } => {
                    self.step = Step::None;
                    self.seen.push(Happened::Ready { snapshot });
                }
                Action::Report(report) => {
                    if let Report::Panicked { pause: Some(pause), .. } = report {
                        self.panics.push(clock);
                        self.pauses_until = Some(clock.plus(pause));
                    }
                    self.seen.push(Happened::Report(report));
                }
                Action::Stop(reason) => {
                    self.link.forget(true);
                    self.step = Step::None;
                    self.leaving = Some(reason);
                    self.seen.push(Happened::Stopped(reason));
                }
            }
        }
        for head in early {
            self.writes.pop_front();
            self.input(now, Input::Written(Ok(head)));
        }
    }
}

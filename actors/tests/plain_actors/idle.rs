//! What an actor costs that has nothing to do.

use annals_actors::plain::{ActorSystem, Mailbox};

use crate::probe::*;

#[test]
fn an_idle_actor_costs_little_whatever_its_mailbox_may_hold() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let system = ActorSystem::new("test");
    let log = Log::default();
    let mut actors = Vec::with_capacity(1_000);
    let used = allocation_counter::measure(|| {
        for n in 0..1_000 {
            let mailbox = Mailbox::bounded(1_000_000);
            actors.push(system.spawn(&n.to_string(), props(&log).mailbox(mailbox)).unwrap());
        }
        runtime.block_on(async { notes(&actors[999]).await });
    });
    let each = used.bytes_current / 1_000;
    println!("an idle actor costs {each} bytes");
    assert!(each < 1_280, "{each} bytes");
}

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;

struct Setup {
    readers: Arc<Readers>,
    /// Writes what is read.
    writer: Connection,
    runtime: Runtime,
    _directory: TempDir,
}

/// A table of notes with one row, and readers of it.
fn setup(readers: usize) -> Setup {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.db");
    let writer = Connection::open(&path).unwrap();
    let sql = "PRAGMA journal_mode = WAL; CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('first')";
    writer.execute_batch(sql).unwrap();
    let readers = Readers::new(path, Options::default().readers(readers), Closing::Checkpoints);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Setup { readers: Arc::new(readers), writer, runtime, _directory: directory }
}

type Answer<T> = oneshot::Receiver<Result<T, JournalError>>;

/// A read that goes on until it is let go.
struct Held {
    answer: Answer<i64>,
    begun: Receiver<()>,
    _let_go: Sender<()>,
}

impl Setup {
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<T> {
        let _entered = self.runtime.enter();
        self.readers.read(work)
    }

    /// How many notes there are for a read.
    fn count(&self) -> Answer<i64> {
        self.read(count)
    }

    fn hold(&self) -> Held {
        let ((begin, begun), (let_go, wait)) = (channel(), channel::<()>());
        let answer = self.read(move |conn| {
            let counted = count(conn)?;
            begin.send(()).unwrap();
            // Let go by dropping the other end; ends also when the test fails.
            let _ = wait.recv_timeout(PATIENCE);
            Ok(counted)
        });
        Held { answer, begun, _let_go: let_go }
    }

    fn held(&self) -> Held {
        let held = self.hold();
        held.begun.recv_timeout(PATIENCE).unwrap();
        held
    }

    fn write(&self) {
        self.writer.execute("INSERT INTO notes VALUES ('another')", ()).unwrap();
    }

    /// Those that are kept, once nothing is read any more.
    fn connections(&self) -> usize {
        while self.readers.queue().threads > 0 {
            std::thread::yield_now();
        }
        self.readers.queue().idle.len()
    }

    fn answer<T>(&self, answer: Answer<T>) -> Result<T, JournalError> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        answer.expect("a read that nothing holds up is answered").expect("the runtime is there")
    }
}

impl Held {
    fn let_go(self) -> Answer<i64> {
        self.answer
    }
}

fn count(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))
}

#[test]
fn those_that_wait_share_a_transaction_that_began_after_they_came() {
    let setup = setup(1);
    let held = setup.held();
    // Both come while another is read, and the second one after a write.
    let before = setup.count();
    setup.write();
    let after = setup.count();
    let first = held.let_go();
    assert_eq!([first, before, after].map(|answer| setup.answer(answer).unwrap()), [1, 2, 2]);
    assert_eq!(setup.connections(), 1);
}

#[test]
fn what_comes_after_a_transaction_began_is_not_read_in_it() {
    let setup = setup(1);
    let held = setup.held();
    let ((begin, begun), (let_go, wait)) = (channel(), channel::<()>());
    let twice = setup.read(move |conn| {
        let once = count(conn)?;
        begin.send(()).unwrap();
        let _ = wait.recv_timeout(PATIENCE);
        Ok([once, count(conn)?])
    });
    let shares = setup.count();
    assert_eq!(setup.answer(held.let_go()).unwrap(), 1);
    begun.recv_timeout(PATIENCE).unwrap();
    setup.write();
    let late = setup.count();
    drop(let_go);
    assert_eq!(setup.answer(twice).unwrap(), [1, 1]);
    assert_eq!(setup.answer(shares).unwrap(), 1);
    assert_eq!(setup.answer(late).unwrap(), 2);
}

#[test]
fn a_second_thread_helps_when_somebody_waits_long_and_no_third_one_when_two_are_the_most() {
    let setup = setup(2);
    let first = setup.held();
    let second = setup.hold();
    while second.begun.try_recv().is_err() {
        // Each that comes looks how long the oldest one waits.
        drop(setup.count());
        std::thread::yield_now();
    }
    let third = setup.count();
    std::thread::sleep(2 * LONG);
    let fourth = setup.count();
    assert_eq!(setup.readers.queue().threads, 2);
    let answers = [first.let_go(), second.let_go(), third, fourth];
    assert_eq!(answers.map(|answer| setup.answer(answer).unwrap()), [1; 4]);
}

#[test]
fn while_reads_are_quick_no_thread_takes_a_core_from_those_who_work_on_what_is_read() {
    let mut setup = setup(4);
    Arc::get_mut(&mut setup.readers).unwrap().while_quick = 1;
    let (_held, waits) = (setup.held(), setup.hold());
    let (readers, later) = (Arc::clone(&setup.readers), Instant::now() + 2 * LONG);
    // Somebody waits long, and the thread took a job a moment ago; then none for as long.
    let _entered = setup.runtime.enter();
    for (moved, threads) in [(later, 1), (later - 2 * LONG, 2)] {
        let mut queue = readers.queue();
        queue.moved = Some(moved);
        let held_up = queue.is_held_up(later);
        readers.start_thread_if_due(queue, later, held_up);
        assert_eq!(readers.queue().threads, threads);
    }
    waits.begun.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn one_that_fails_or_panics_does_so_alone_and_its_connection_is_not_used_again() {
    let setup = setup(1);
    let held = setup.held();
    let failing = setup.read(|conn| conn.query_row("SELECT nothing FROM nowhere", (), |_| Ok(())));
    let panicking = setup.read(|_| -> rusqlite::Result<()> { panic!("this panic is part of the test") });
    let writing = setup.read(|conn| conn.execute("DELETE FROM notes", ()));
    let counting = setup.count();
    assert_eq!(setup.answer(held.let_go()).unwrap(), 1);
    assert!(matches!(setup.answer(failing), Err(JournalError::Unavailable { .. })));
    assert!(setup.answer(panicking).unwrap_err().to_string().contains("panicked"));
    assert!(setup.answer(writing).is_err(), "a read cannot write");
    assert_eq!(setup.answer(counting).unwrap(), 1);
    assert_eq!(setup.connections(), 1);
}

#[test]
fn what_nobody_waits_for_is_not_run() {
    let setup = setup(1);
    let held = setup.held();
    let runs = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let runs = Arc::clone(&runs);
        drop(setup.read(move |_| Ok(runs.fetch_add(1, Ordering::SeqCst))));
    }
    let last = setup.count();
    drop(held.let_go());
    assert_eq!(setup.answer(last).unwrap(), 1);
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[test]
fn closing_fails_those_that_wait_and_waits_for_the_one_under_way() {
    let setup = setup(1);
    let held = setup.held();
    let waits = setup.count();
    let mut closing = Box::pin(setup.readers.close());
    let still = setup.runtime.block_on(async { futures::FutureExt::now_or_never(closing.as_mut()) });
    assert!(still.is_none(), "a read is under way");
    assert!(setup.answer(waits).unwrap_err().to_string().contains(CLOSED));
    let held = held.let_go();
    assert_eq!(setup.answer(held).unwrap(), 1);
    setup.runtime.block_on(async { tokio::time::timeout(PATIENCE, closing).await }).unwrap();
    assert!(setup.answer(setup.count()).unwrap_err().to_string().contains(CLOSED));
    let scan = setup.runtime.block_on(setup.readers.scan(count));
    assert!(scan.unwrap_err().to_string().contains(CLOSED));
    assert!(setup.readers.queue().idle.is_empty(), "each connection is closed");
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let setup = setup(1);
    let held = setup.held();
    let waits = setup.count();
    let Setup { readers, runtime, .. } = setup;
    // Does not wait for the thread, which ends when the read does.
    runtime.shutdown_background();
    drop(held.let_go());
    let answered = waits.blocking_recv();
    assert!(matches!(answered, Ok(Ok(1)) | Err(_)), "{answered:?}");
    while readers.queue().threads > 0 {
        std::thread::yield_now();
    }
    // On a runtime that has ended no thread starts.
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = other.handle().clone();
    other.shutdown_background();
    let _entered = handle.enter();
    assert!(readers.read(count).blocking_recv().is_err());
    assert_eq!(readers.queue().threads, 0);
}

#[test]
fn a_scan_waits_for_its_turn_and_not_for_the_queue() {
    let setup = setup(1);
    let held = setup.held();
    let scan = async { tokio::time::timeout(PATIENCE, setup.readers.scan(count)).await };
    assert_eq!(setup.runtime.block_on(scan).unwrap().unwrap(), 1);
    let ((begin, begun), (let_go, wait)) = (channel(), channel::<()>());
    let readers = Arc::clone(&setup.readers);
    let long = setup.runtime.spawn(async move {
        let scan = readers.scan(move |conn| {
            begin.send(()).unwrap();
            let _ = wait.recv_timeout(PATIENCE);
            count(conn)
        });
        scan.await
    });
    setup.runtime.block_on(async {
        // Lets the task begin.
        tokio::task::yield_now().await;
        spawn_blocking(move || begun.recv_timeout(PATIENCE)).await.unwrap().unwrap();
        let mut next = Box::pin(setup.readers.scan(count));
        assert!(futures::FutureExt::now_or_never(next.as_mut()).is_none());
        drop(let_go);
        assert_eq!(long.await.unwrap().unwrap(), 1);
        assert_eq!(tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap(), 1);
    });
    drop(held);
}

const PATIENCE: Duration = Duration::from_secs(60);

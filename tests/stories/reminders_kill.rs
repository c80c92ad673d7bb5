//! A process that reminds of invoices is killed again and again: each reminder comes, once, and not before its time.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use annals::journal::Timestamp;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::budget;
use crate::line_process::LineProcess;
use crate::stored;

#[test]
fn every_scheduled_command_is_carried_out_once_and_not_before_its_time() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("reminders_kill: ANNALS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invoices.db");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut debtors = Debtors::default();
    let (mut kills, mut killed_at) = (0, 0);
    // Never before something has become due while no process ran: that is what timers in memory would forget.
    while kills < KILLS && (kills < FEWEST_KILLS || debtors.due_while_down == 0 || Instant::now() < deadline)
    {
        if random.random_ratio(1, 10) {
            let process = LineProcess::spawn("reminders", &file, &[]);
            debtors.listen(process.kill_within(Duration::from_micros(random.random_range(0..60_000))));
        } else {
            let mut process = LineProcess::start("reminders", &file, &[]);
            debtors.note_what_became_due(killed_at..now());
            debtors.talk_a_while(&mut process, &mut random);
            killed_at = now();
            debtors.listen(process.kill());
        }
        kills += 1;
        debtors.look(&file);
    }
    let mut process = LineProcess::start("reminders", &file, &[]);
    debtors.talk_to_the_end(&mut process, &file);
    debtors.listen(process.finish());
    let reminded = debtors.look(&file);
    debtors.all_are_paid_or_reminded_of(&reminded);
    assert!(debtors.due_while_down > 0);
    eprintln!(
        "reminders_kill: ANNALS_SEED={seed}: {kills} kills, {} invoices, {} reminded of, {} of them became due while no \
         process ran, {} sent more than once, in {:?}",
        debtors.invoices.len(),
        reminded.values().filter(|reminded| **reminded).count(),
        debtors.due_while_down,
        debtors.invoices.values().filter(|invoice| invoice.sendings > 1).count(),
        began.elapsed()
    );
}

/// Enough for "at any moment"; the time budget may end it earlier.
const KILLS: u32 = 200;
const FEWEST_KILLS: u32 = 5;

/// All who owe something; they send every command until it is answered.
#[derive(Default)]
struct Debtors {
    invoices: BTreeMap<String, Invoice>,
    due_while_down: usize,
}

struct Invoice {
    due: u64,
    issued: bool,
    /// Whether paying was asked for, and then whether that was answered.
    pay: Option<bool>,
    sendings: u32,
}

impl Debtors {
    fn talk_a_while(&mut self, process: &mut LineProcess, random: &mut SmallRng) {
        let end = Instant::now() + Duration::from_micros(random.random_range(0..120_000));
        self.send_pending(process);
        for _ in 0..random.random_range(1..20) {
            let id = format!("i-{}", self.invoices.len());
            // Some are due at once, some after the next kill.
            let due = now() + random.random_range(0..150_000);
            self.invoices.insert(id.clone(), Invoice { due, issued: false, pay: None, sendings: 0 });
            process.send(&format!("issue {id} {due}"));
        }
        let payable = self.invoices.iter_mut().rev().take(60).filter(|(_, invoice)| invoice.issued);
        for (id, invoice) in payable.filter(|_| random.random_ratio(1, 10)) {
            invoice.pay = invoice.pay.or(Some(false));
            process.send(&format!("pay {id}"));
        }
        while let Some(line) = process.hear_until(end) {
            self.hear(&line);
        }
    }

    fn talk_to_the_end(&mut self, process: &mut LineProcess, file: &Path) {
        let latest = Instant::now() + Duration::from_secs(60);
        let unanswered = |invoice: &Invoice| !invoice.issued || invoice.pay == Some(false);
        while self.invoices.values().any(unanswered) || stored::records(file, "remind/*") > 0 {
            assert!(Instant::now() < latest, "a command is never answered, or a reminder never done with");
            self.send_pending(process);
            let end = Instant::now() + Duration::from_millis(200);
            while let Some(line) = process.hear_until(end) {
                self.hear(&line);
            }
        }
    }

    fn send_pending(&self, process: &mut LineProcess) {
        for (id, invoice) in &self.invoices {
            if !invoice.issued {
                process.send(&format!("issue {id} {}", invoice.due));
            }
            if invoice.pay == Some(false) {
                process.send(&format!("pay {id}"));
            }
        }
    }

    fn listen(&mut self, said: Vec<String>) {
        said.iter().for_each(|line| self.hear(line));
    }

    fn hear(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (what, id) = (words.next().unwrap(), words.next().unwrap_or_default());
        let Some(invoice) = self.invoices.get_mut(id) else {
            assert_eq!(what, "ready", "{line}");
            return;
        };
        match what {
            "issued" => invoice.issued = true,
            "paid" => invoice.pay = Some(true),
            "reminding" => invoice.sendings += 1,
            // Not answered: it is sent again.
            "failed" => {}
            _ => panic!("{line}"),
        }
    }

    fn note_what_became_due(&mut self, down: std::ops::Range<u64>) {
        let issued = self.invoices.values().filter(|invoice| invoice.issued);
        self.due_while_down += issued.filter(|invoice| down.contains(&invoice.due)).count();
    }

    /// Whatever is stored is right at this moment; answers which invoices are reminded of.
    fn look(&self, file: &Path) -> BTreeMap<String, bool> {
        let mut reminded = BTreeMap::new();
        let mut paid = BTreeMap::new();
        for event in stored::events(file) {
            let id = event.id.entity_id().to_owned();
            let invoice = &self.invoices[&id];
            match event.manifest.as_str() {
                "invoice.issued" => {
                    assert_eq!(event.event["due"].as_u64(), Some(invoice.due));
                    assert_eq!(reminded.insert(id.clone(), false), None, "{id} was issued twice");
                }
                "invoice.paid" => {
                    assert!(invoice.pay.is_some(), "nobody paid {id}");
                    assert_eq!(paid.insert(id.clone(), ()), None, "{id} was paid twice");
                }
                "invoice.reminded" => {
                    let due = invoice.due;
                    assert!(event.at >= due, "{id} was reminded of {} µs before its time", due - event.at);
                    assert!(!paid.contains_key(&id), "{id} was reminded of after it was paid");
                    assert!(invoice.sendings > 0, "{id} was reminded of and not sent");
                    assert_eq!(reminded.insert(id.clone(), true), Some(false), "{id} was reminded of twice");
                }
                other => panic!("what is {other}?"),
            }
        }
        for (id, invoice) in &self.invoices {
            assert!(!invoice.issued || reminded.contains_key(id), "{id} was answered and is not there");
            assert!(
                invoice.pay != Some(true) || paid.contains_key(id),
                "{id} was answered as paid and is not"
            );
        }
        reminded
    }

    fn all_are_paid_or_reminded_of(&self, reminded: &BTreeMap<String, bool>) {
        for (id, invoice) in &self.invoices {
            assert!(reminded[id] || invoice.pay.is_some(), "nobody was reminded of {id}");
        }
    }
}

fn now() -> u64 {
    Timestamp::now().as_micros()
}

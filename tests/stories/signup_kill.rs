//! Users who want the same addresses sign up while the process is killed again and again: no address has two users.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::budget;
use crate::line_process::LineProcess;
use crate::stored;

#[test]
fn no_address_ever_has_two_users() {
    let (seed, deadline, began) = (budget::seed(), budget::deadline(), Instant::now());
    eprintln!("signup_kill: ANNALS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut users = Users::default();
    let mut kills = 0;
    while kills < KILLS && (kills < FEWEST_KILLS || Instant::now() < deadline) {
        // Some reservations are over before the next start.
        let lasting = if random.random() { "20" } else { "100" };
        let flags = ["--reservation-ms", lasting];
        if random.random_ratio(1, 10) {
            let process = LineProcess::spawn("signup", &file, &flags);
            users.listen(process.kill_within(Duration::from_micros(random.random_range(0..60_000))));
        } else {
            let mut process = LineProcess::start("signup", &file, &flags);
            users.talk_a_while(&mut process, &mut random);
            users.listen(process.kill());
        }
        kills += 1;
        users.look(&file);
    }
    let mut process = LineProcess::start("signup", &file, &["--reservation-ms", "20"]);
    users.talk_to_the_end(&mut process);
    users.listen(process.finish());
    let seen = users.look(&file);
    users.each_wanted_address_has_a_user(&seen);
    eprintln!(
        "signup_kill: ANNALS_SEED={seed}: {kills} kills, {} users, {} welcome, {} taken, {} expired, {} reservations \
         given to the next, in {:?}",
        users.wanted.len(),
        users.count(Answer::Welcome),
        users.count(Answer::Taken),
        users.count(Answer::Expired),
        seen.abandoned,
        began.elapsed()
    );
}

/// Enough for "at any moment"; the time budget may end it earlier.
const KILLS: u32 = 200;
const FEWEST_KILLS: u32 = 5;

/// All who want an address; they ask until they have a final answer.
#[derive(Default)]
struct Users {
    wanted: BTreeMap<String, Wanted>,
}

struct Wanted {
    address: String,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Welcome,
    Taken,
    Expired,
}

impl Users {
    fn talk_a_while(&mut self, process: &mut LineProcess, random: &mut SmallRng) {
        let end = Instant::now() + Duration::from_micros(random.random_range(0..80_000));
        self.send_pending(process);
        for _ in 0..random.random_range(0..8) {
            let address = format!("a-{}@example.com", self.wanted.len() / 6);
            for _ in 0..random.random_range(1..4) {
                let user = format!("u-{}", self.wanted.len());
                // The same address, however it is written.
                let written = if random.random() { address.to_uppercase() } else { address.clone() };
                process.send(&format!("signup {user} {written}"));
                self.wanted.insert(user, Wanted { address: address.clone(), answer: None });
            }
        }
        while let Some(line) = process.hear_until(end) {
            self.hear(&line);
        }
    }

    fn talk_to_the_end(&mut self, process: &mut LineProcess) {
        let latest = Instant::now() + Duration::from_secs(60);
        while self.wanted.values().any(|wanted| wanted.answer.is_none()) {
            let mut unheard = self.send_pending(process);
            while unheard > 0 {
                assert!(Instant::now() < latest, "somebody never gets a final answer");
                let Some(line) = process.hear_until(latest) else { continue };
                self.hear(&line);
                unheard -= 1;
            }
        }
    }

    fn send_pending(&self, process: &mut LineProcess) -> usize {
        let pending: Vec<_> = self.wanted.iter().filter(|(_, wanted)| wanted.answer.is_none()).collect();
        for (user, wanted) in &pending {
            process.send(&format!("signup {user} {}", wanted.address));
        }
        pending.len()
    }

    fn listen(&mut self, said: Vec<String>) {
        said.iter().for_each(|line| self.hear(line));
    }

    fn hear(&mut self, line: &str) {
        if line == "ready" {
            return;
        }
        let mut words = line.splitn(3, ' ');
        let (what, user) = (words.next().unwrap(), words.next().unwrap());
        let answer = match what {
            "welcome" => Answer::Welcome,
            "taken" => Answer::Taken,
            "expired" => Answer::Expired,
            // Nobody knows, or not now: ask again, as the example says.
            "busy" | "failed" => return,
            _ => panic!("{line}"),
        };
        let wanted = self.wanted.get_mut(user).unwrap();
        assert!(wanted.answer.is_none_or(|before| before == answer), "{line} after {:?}", wanted.answer);
        wanted.answer = Some(answer);
    }

    /// Whatever is stored is right at this moment.
    fn look(&self, file: &Path) -> Seen {
        let mut seen = Seen::default();
        for event in stored::events(file) {
            let id = event.id.entity_id();
            let user = event.event["user"].as_str().unwrap_or_default().to_owned();
            match event.manifest.as_str() {
                "user.registered" => {
                    let address = event.event["address"].as_str().unwrap();
                    assert_eq!(address, self.wanted[id].address);
                    assert!(!seen.given_up.contains(id), "{id} was given up and registered after that");
                    let before = seen.registered.insert(address.to_owned(), id.to_owned());
                    assert_eq!(before, None, "{address} has two users: {id} too");
                }
                "user.abandoned" => {
                    seen.given_up.insert(id.to_owned());
                    seen.abandoned += 1;
                }
                "address.confirmed" => {
                    assert_eq!(seen.registered.get(id), Some(&user), "{id} is confirmed for somebody else");
                    assert!(seen.confirmed.insert(id.to_owned()), "{id} is confirmed twice");
                }
                "address.reserved" | "address.released" => {
                    assert!(!seen.confirmed.contains(id), "{id} was taken from its user");
                }
                other => panic!("what is {other}?"),
            }
        }
        for (user, Wanted { address, answer }) in &self.wanted {
            let has_it = seen.registered.get(address) == Some(user);
            match answer {
                Some(Answer::Welcome) => assert!(has_it && seen.confirmed.contains(address), "{user}"),
                Some(_) => assert!(!has_it, "{user} was refused and has {address}"),
                None => {}
            }
        }
        seen
    }

    fn each_wanted_address_has_a_user(&self, seen: &Seen) {
        for Wanted { address, .. } in self.wanted.values() {
            assert!(seen.confirmed.contains(address), "{address} was wanted and has nobody");
        }
    }

    fn count(&self, answer: Answer) -> usize {
        self.wanted.values().filter(|wanted| wanted.answer == Some(answer)).count()
    }
}

/// What the events say.
#[derive(Default)]
struct Seen {
    /// The user of each address.
    registered: BTreeMap<String, String>,
    confirmed: BTreeSet<String>,
    given_up: BTreeSet<String>,
    abandoned: u32,
}

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::busy::Ticks;
use crate::table::Row;
use crate::{
    actors, backends, fairness, growth, loans, many, measure, memory, migrations, scenario, sealed,
    slow_disk, snapshots,
};

/// Rows that are measured together.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(&Bench) -> Result<Vec<Row>>,
}

impl Suite {
    pub(crate) fn rows(&self, bench: &Bench) -> Result<Vec<Row>> {
        println!("{}: {}", self.name, self.about);
        let began = Ticks::now();
        let mut rows = (self.run)(bench).with_context(|| format!("measuring {}", self.name))?;
        let others = Ticks::now().zip(began).and_then(|(now, began)| now.since(began));
        for row in &mut rows {
            row.others = others.map(|others| others.processes);
        }
        Ok(rows)
    }
}

/// All of them, the main ones first.
pub(crate) const ALL: &[Suite] = &[
    Suite {
        name: "P1",
        about: "one entity, one command after the other",
        run: |bench| measure::rows(bench, &scenario::P1),
    },
    Suite {
        name: "P2",
        about: "1,000 entities, 256 commands in flight",
        run: |bench| measure::rows(bench, &scenario::P2),
    },
    Suite {
        name: "H",
        about: "one hot entity, 256 commands in flight",
        run: |bench| measure::rows(bench, &scenario::H),
    },
    Suite {
        name: "R",
        about: "recover one entity of many events, no snapshot",
        run: |bench| measure::rows(bench, &scenario::R),
    },
    Suite {
        name: "R2",
        about: "recover 1,000 entities, no snapshot",
        run: |bench| measure::rows(bench, &scenario::R2),
    },
    Suite { name: "R2-100k", about: "recover 100,000 entities of 20 events", run: many::rows },
    Suite { name: "loans", about: "a log of loan applications", run: loans::rows },
    Suite {
        name: "large",
        about: "events of 64 KiB, 256 in flight",
        run: |bench| measure::rows(bench, &scenario::LARGE),
    },
    Suite {
        name: "burst",
        about: "1,000 entities, 10,000 commands in flight",
        run: |bench| measure::rows(bench, &scenario::BURST),
    },
    Suite {
        name: "slow-fsync",
        about: "P2 and H on a disk whose fsync takes 5 ms longer",
        run: slow_disk::rows,
    },
    Suite {
        name: "snapshots",
        about: "1,000 entities, a snapshot every 100 events, beside none",
        run: snapshots::rows,
    },
    Suite {
        name: "growth",
        about: "journals of 10^4 to 10^6 entities, of ten events each",
        run: growth::rows,
    },
    Suite {
        name: "migrations",
        about: "events of version 1 of 4: recovered, rewritten, copied",
        run: migrations::rows,
    },
    Suite { name: "encryption", about: "P2, R and R2 with keys, beside without", run: sealed::rows },
    Suite { name: "backends", about: "P1, P2, H, R and R2 on PostgreSQL", run: backends::rows },
    Suite { name: "fairness", about: "100 entities beside one that is hot or recovers", run: fairness::rows },
    Suite {
        name: "tell",
        about: "plain actors: one sender tells one actor",
        run: |bench| actors::rows(bench, &actors::TELL),
    },
    Suite {
        name: "ask",
        about: "plain actors: one question after the other",
        run: |bench| actors::rows(bench, &actors::ASK),
    },
    Suite {
        name: "ask-100",
        about: "plain actors: 100 questions in flight",
        run: |bench| actors::rows(bench, &actors::ASK_100),
    },
    Suite {
        name: "spawn",
        about: "plain actors: spawned until all run",
        run: |bench| actors::rows(bench, &actors::SPAWN),
    },
    Suite { name: "memory", about: "idle actors and entities, seen from outside", run: memory::rows },
];

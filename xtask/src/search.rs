/// A test that finds more the longer it looks: a crash loop, a power loss, a model test.
///
/// It goes on until it has seen enough, or until the seconds in [`VARIABLE`](crate::budget::VARIABLE) are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) name: &'static str,
    /// The file that holds it, from the root of the workspace.
    file: &'static str,
    /// The function.
    test: &'static str,
}

/// All of them.
pub(crate) const ALL: &[Search] = &[
    Search {
        name: "actors: one entity against a sequential specification, whatever goes wrong",
        file: "actors/src/entity/model/mod.rs",
        test: "one_entity_is_linearizable_whatever_goes_wrong",
    },
    Search {
        name: "actors: whole nodes on faulty stores",
        file: "actors/tests/model/main.rs",
        test: "nodes_on_faulty_stores_answer_every_ask_with_the_truth",
    },
    Search {
        name: "journal: what a killed process acknowledged, on every backend (takes a quarter of its share)",
        file: "journal/src/conformance/crash.rs",
        test: "what_was_acknowledged_survives_a_kill",
    },
    Search {
        name: "journal: a process that is killed while it appends",
        file: "journal/tests/two_processes.rs",
        test: "what_was_answered_is_there_after_kill_9",
    },
    Search {
        name: "journal: a PostgreSQL that is killed under load (takes a quarter of its share)",
        file: "journal/tests/postgres_kill.rs",
        test: "a_server_that_is_killed_under_load_loses_nothing_acknowledged",
    },
    Search {
        name: "journal: a Cassandra that is killed under load (takes a quarter of its share)",
        file: "journal/tests/cassandra_kill.rs",
        test: "a_node_that_is_killed_under_load_loses_nothing_acknowledged",
    },
    Search {
        name: "journal: owners of Cassandra's ids without conditional writes, on three simulated replicas",
        file: "journal/src/cassandra/claimed/simulator.rs",
        test: "every_quorum_has_all_that_was_exposed",
    },
    Search {
        name: "journal: power cuts that keep only what was fsynced",
        file: "journal/tests/power_loss.rs",
        test: "every_answered_event_survives_a_power_cut",
    },
    Search {
        name: "journal: an fsync that fails",
        file: "journal/tests/power_loss.rs",
        test: "an_fsync_that_fails_is_unknown_and_loses_nothing_that_was_answered",
    },
    Search {
        name: "keys: a rotation and a process that makes data keys, killed at any moment",
        file: "cli/tests/rotation_kill/main.rs",
        test: "after_kills_of_rotations_and_writers_everything_opens_under_the_new_key",
    },
    Search {
        name: "keys: an erasure and the owners of what is erased, killed at any moment",
        file: "cli/tests/cli/erasing_kill.rs",
        test: "after_kills_of_erasures_and_owners_nothing_is_unreadable_but_what_was_erased",
    },
    Search {
        name: "keys: a rekeying and accounts that count, killed at any moment",
        file: "cli/tests/resealing_kill/main.rs",
        test: "after_kills_of_rekeyings_and_owners_nothing_is_under_the_old_key",
    },
    Search {
        name: "keys: an encrypting and accounts that count, killed at any moment",
        file: "cli/tests/resealing_kill/main.rs",
        test: "after_kills_of_encryptings_and_owners_nothing_is_in_the_clear",
    },
    Search {
        name: "cli: a copy of a journal that is killed while owners write",
        file: "cli/tests/cli/copying_kill.rs",
        test: "a_copy_that_is_killed_at_any_moment_hands_over_everything",
    },
    Search {
        name: "stories: a rewriting that is killed, up and down, while another process writes",
        file: "tests/stories/rewriting_kill.rs",
        test: "a_rewriting_that_is_killed_at_any_moment_is_done_in_the_end",
    },
    Search {
        name: "loans: killed while they are imported",
        file: "tests/stories/loans.rs",
        test: "an_import_that_is_killed_at_any_moment_ends_with_the_same_totals",
    },
    Search {
        name: "bank: killed while clients change accounts",
        file: "tests/stories/bank_kill.rs",
        test: "every_answered_change_survives_kill_9_exactly_once",
    },
    Search {
        name: "bank: the same with sealed events and snapshots",
        file: "tests/stories/bank_sealed.rs",
        test: "every_answered_change_survives_kill_9_exactly_once_when_sealed",
    },
    Search {
        name: "bank: killed while money moves between accounts",
        file: "tests/stories/transfers_kill.rs",
        test: "no_cent_comes_or_goes_under_kill_9",
    },
    Search {
        name: "bank: taken over by a second process while clients change accounts",
        file: "tests/stories/bank_takeover.rs",
        test: "two_banks_on_one_file_lose_and_double_nothing",
    },
    Search {
        name: "reminders: killed while invoices become due",
        file: "tests/stories/reminders_kill.rs",
        test: "every_scheduled_command_is_carried_out_once_and_not_before_its_time",
    },
    Search {
        name: "rolling deploys: three builds on one journal, forward and back",
        file: "tests/stories/rollout.rs",
        test: "in_any_order_of_upgrades_and_rollbacks_nobody_meets_what_it_cannot_read",
    },
    Search {
        name: "cluster: 21,000 short runs of the simulator",
        file: "cluster/tests/simulation.rs",
        test: "short_runs_hold_all_invariants",
    },
    Search {
        name: "cluster: bytes that make a decoder of the transport panic, reserve too much or accept too much",
        file: "cluster/src/transport/search.rs",
        test: "no_bytes_make_a_decoder_panic_or_reserve_too_much",
    },
    Search {
        name: "sign-ups: killed between the steps of those who want one address",
        file: "tests/stories/signup_kill.rs",
        test: "no_address_ever_has_two_users",
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn every_listed_search_is_there() {
        let workspace = Workspace::of_this_cargo().expect("cargo runs us");
        for search in ALL {
            let source = workspace.read(Path::new(search.file)).expect(search.name);
            assert!(
                source.contains(&format!("fn {}(", search.test)),
                "{} has no {}",
                search.file,
                search.test
            );
        }
    }

    #[test]
    fn whoever_asks_for_a_budget_is_listed() {
        let workspace = Workspace::of_this_cargo().expect("cargo runs us");
        for file in workspace.files_with_extension("rs").expect("git lists the files") {
            let listed = ALL.iter().any(|search| Path::new(search.file) == file);
            if !listed && !file.starts_with("xtask") {
                let asks = asks_for_its_budget(&workspace.read(&file).expect("a source file"));
                assert!(!asks, "list {} in xtask/src/search.rs", file.display());
            }
        }
    }

    #[test]
    fn who_asks_for_a_budget_is_told_from_who_declares_it() {
        assert!(asks_for_its_budget("let budget = number(\"ANNALS_TIME_BUDGET_SECS\");"));
        assert!(!asks_for_its_budget("pub(crate) fn deadline() { number(\"ANNALS_TIME_BUDGET_SECS\") }"));
        assert!(asks_for_its_budget("while begin.elapsed() < budget() {"));
        assert!(asks_for_its_budget("let deadline = budget::deadline();"));
        assert!(!asks_for_its_budget("pub(crate) fn budget() -> Duration {"));
    }

    /// Whether a source reads the variable for a test of its own, or calls a function that reads it; to declare that
    /// function for others does not count.
    fn asks_for_its_budget(source: &str) -> bool {
        let declares = source.contains("fn budget()") || source.contains("fn deadline()");
        source.replace("fn budget()", "").contains("budget()")
            || source.contains("budget::deadline()")
            || (source.contains(&format!("\"{}\"", crate::budget::VARIABLE)) && !declares)
    }
}

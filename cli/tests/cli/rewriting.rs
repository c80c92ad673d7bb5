use crate::bank::bank;
use crate::program::annals;

#[test]
fn a_rewriting_is_done_by_a_program_with_the_same_arguments() {
    let home = bank();
    let run = |args: &[&str]| {
        annals(home.path(), &[&["migrate", "rewrite", "--journal", "sqlite://bank.db"], args].concat())
    };
    run(&[]).exits(3).says(&["--program", "steps between versions are code"]);
    run(&["--program", "./none"]).exits(3).says(&["--program ./none"]);
    let said = run(&["--program", "echo", "--to", "old.lock", "--apply", "--rate", "7", "--json"]).exits(0);
    assert_eq!(
        said.out,
        "migrate rewrite --journal sqlite://bank.db --to old.lock --apply --json --rate 7 --wait 45\n"
    );
    run(&["--allow-loss"]).exits(2).says(&["--to"]);
    run(&["--rate", "0"]).exits(2);
}

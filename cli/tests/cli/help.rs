use crate::program::annals;

/// Every command with its help, found by asking.
fn commands() -> Vec<(Vec<String>, String)> {
    let directory = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = annals(directory.path(), &args).exits(0).out;
        for name in subcommands(&help) {
            open.push(path.iter().cloned().chain([name]).collect());
        }
        found.push((path, help));
    }
    found
}

fn subcommands(help: &str) -> Vec<String> {
    let listed =
        help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(rest));
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_says_what_it_does_with_an_example_and_its_exit_codes() {
    let commands = commands();
    let names: Vec<String> = commands.iter().map(|(path, _)| path.join(" ")).collect();
    for name in [
        "inspect",
        "events",
        "export",
        "import",
        "verify",
        "schema",
        "migrate legacy",
        "migrate copy",
        "migrate rewrite",
        "keys",
        "keys generate",
        "keys rotate",
        "keys rekey",
        "keys encrypt",
        "keys status",
        "keys erase",
        "keys allow",
        "schema",
        "schema hold",
        "schema release",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    for (path, help) in commands {
        let name = path.join(" ");
        let is_group = help.contains("\nCommands:\n");
        if !path.is_empty() {
            assert!(help.contains("Example"), "{name}: {help}");
            assert!(
                help.contains(&format!("annals {name}")),
                "{name}: the example is of another command\n{help}"
            );
        }
        if !is_group || path.is_empty() {
            assert!(help.contains("Exit codes:"), "{name}: {help}");
        }
    }
}

#[test]
fn a_part_of_a_command_line_is_told_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    annals(directory.path(), &[]).exits(2).says(&["Usage: annals <COMMAND>", "inspect", "verify"]);
    annals(directory.path(), &["inspect"]).exits(2).says(&["--journal <URL>"]);
    annals(directory.path(), &["inspct"]).exits(2).says(&["inspct", "inspect"]);
}

use std::path::Path;

use anyhow::{Context, Result};

use super::row::{Row, number, short};
use crate::machine;
use crate::workspace::Workspace;

/// Puts the rows in the place of the table of docs/performance.md.
pub(crate) fn write(workspace: &Workspace, rows: &[Row]) -> Result<()> {
    let page = workspace.read(Path::new(PAGE))?;
    let commit = workspace.git(&["log", "-1", "--format=%h of %cs"])?;
    let head = format!("Measured at {} on {}.", commit.trim(), machine::describe());
    let page = replaced(&page, &format!("{head}\n\n{}", table(rows)))?;
    std::fs::write(workspace.root().join(PAGE), page).with_context(|| format!("writing {PAGE}"))
}

fn replaced(page: &str, table: &str) -> Result<String> {
    let marks = "the page has lost the marks of its table";
    let (before, rest) = page.split_once(BEGIN).context(marks)?;
    let (_, after) = rest.split_once(END).context(marks)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| row | unit | median | min | max | limit | ratio | target | peers |\n|---|---|---:|---:|---:|---:|---:|---|---|\n",
    );
    for row in rows {
        let peers: Vec<String> =
            row.peers.iter().map(|(name, median)| format!("{name} {}", number(*median))).collect();
        let missed = if row.misses_target() { " **missed**" } else { "" };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {}{missed} | {} |\n",
            row.name,
            row.unit,
            number(row.median),
            number(row.min),
            number(row.max),
            row.limit.map_or_else(String::new, number),
            row.ratio.map_or_else(String::new, short),
            row.target_in_words().unwrap_or_default(),
            peers.join(", ")
        ));
    }
    text
}

const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- rows: written by `cargo xtask bench --page` -->";
const END: &str = "<!-- end of rows -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let row = Row {
            name: "P1".into(),
            unit: "events/s".into(),
            median: 5_400.0,
            ratio: Some(0.9),
            target: Some(0.85),
            ..Row::default()
        };
        let page = replaced(&page, &table(&[row])).expect("the marks are there");
        assert!(page.starts_with("before\n") && page.ends_with("\nafter\n") && !page.contains("old"));
        assert!(page.contains("| P1 | events/s | 5,400 |"), "{page}");
        assert!(page.contains("| 0.90 | at least 0.85 |"), "{page}");
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        assert!(replaced("nothing here", "").is_err());
    }
}

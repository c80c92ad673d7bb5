/// Targets of the links and images of a page, with the line that each stands in. Code is left out.
pub(crate) fn links(page: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(page) {
        let line = without_code_spans(line);
        for (before, _) in line.match_indices("](") {
            let target = &line[before + 2..];
            if let Some(end) = closing(target) {
                let target = target[..end].trim();
                let target = target.split_once(" \"").map_or(target, |(path, _title)| path);
                links.push((number, target.trim_matches(['<', '>']).to_owned()));
            }
        }
        // `[name]: target` at the start of a line
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.push((number, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
    }
    links
}

/// The names under which a page's headings can be linked to, made as code hosts make them.
pub(crate) fn anchors(page: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(page) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor: String = heading
            .trim()
            .chars()
            .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
            .flat_map(char::to_lowercase)
            .map(|character| if character == ' ' { '-' } else { character })
            .collect();
        let again = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(anchor.clone());
        if again > 0 {
            anchors.push(format!("{anchor}-{again}"));
        }
    }
    anchors
}

/// Lines outside fenced code, numbered from 1.
pub(crate) fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    page.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// Texts between backticks, with the line that each stands in.
pub(crate) fn code_spans(page: &str) -> Vec<(usize, &str)> {
    prose(page)
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |span| (number, span)))
        .collect()
}

fn without_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Where the parenthesis closes that was opened just before.
fn closing(target: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, character) in target.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(index),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_images_and_references_are_found() {
        let page =
            "see [a](docs/a.md) and ![b](b.png \"title\")\n\n[c]: ../c.md\n[d](<e f.md>) [g](h_(i).md)";
        let found: Vec<String> = links(page).into_iter().map(|(_, target)| target).collect();
        assert_eq!(found, ["docs/a.md", "b.png", "../c.md", "e f.md", "h_(i).md"]);
    }

    #[test]
    fn code_has_no_links() {
        let page = "`[a](b)` text\n```rust\nlet x = y[0](z);\n```\n[real](r.md)";
        assert_eq!(links(page), [(5, "r.md".to_owned())]);
    }

    #[test]
    fn headings_become_anchors_as_on_code_hosts() {
        let page =
            "# What works, today?\n```\n# not one\n```\n## `cargo xtask test`\n## Twice\n## Twice\n#tag";
        assert_eq!(anchors(page), ["what-works-today", "cargo-xtask-test", "twice", "twice", "twice-1"]);
    }

    #[test]
    fn code_spans_are_what_stands_between_backticks() {
        assert_eq!(code_spans("| `a_total` | counts `b` |\n```\n`c`\n```"), [(1, "a_total"), (1, "b")]);
    }
}

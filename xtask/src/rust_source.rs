use anyhow::Result;

use crate::workspace::Workspace;

/// The sources of the crates that users have: without tests, comments and what is not published.
pub(crate) struct Sources {
    files: Vec<String>,
    literals: Vec<String>,
}

impl Sources {
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let mut files = Vec::new();
        for file in workspace.files_with_extension("rs")? {
            let folder = file.iter().next().and_then(|folder| folder.to_str()).unwrap_or_default();
            let is_source = folder == "src" || file.iter().nth(1).is_some_and(|part| part == "src");
            if is_source && !["xtask", "examples"].contains(&folder) {
                files.push(workspace.read(&file)?);
            }
        }
        Ok(Self::of(files.iter().map(String::as_str)))
    }

    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a str>) -> Self {
        let files: Vec<String> = files.into_iter().map(without_tests_and_comments).collect();
        let literals = files.iter().flat_map(|file| literals(file)).collect();
        Self { files, literals }
    }

    /// String literals, with their line breaks as the compiler sees them.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.literals.iter().map(String::as_str)
    }

    /// Literals that are names of metrics.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = &str> {
        self.literals().filter(|literal| literal.starts_with("annals_"))
    }

    /// Whether there is a function with this name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.files.iter().any(|file| has_word_after(file, "fn ", name))
    }

    /// Whether there is a type, a function, a constant, a field or a variant with this name.
    pub(crate) fn declares(&self, name: &str) -> bool {
        let keywords = ["fn ", "struct ", "enum ", "trait ", "type ", "const ", "mod "];
        self.files.iter().any(|file| {
            keywords.iter().any(|keyword| has_word_after(file, keyword, name))
                || file.lines().any(|line| is_variant_or_field(line, name))
        })
    }
}

/// A line that begins with the name, as variants and fields do.
fn is_variant_or_field(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with([',', '(', ':']) || rest.starts_with(" {"))
}

fn has_word_after(file: &str, keyword: &str, name: &str) -> bool {
    file.match_indices(keyword).any(|(at, _)| {
        file[at + keyword.len()..]
            .strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    })
}

fn without_tests_and_comments(file: &str) -> String {
    let code = file.split("#[cfg(test)]\nmod ").next().unwrap_or(file);
    let code = code.split("#[cfg(test)]\n        mod ").next().unwrap_or(code);
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Literals between double quotes. A backslash at the end of a line swallows the white space that follows.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // A quote as a character is none that opens a literal.
            '\'' if characters.peek() == Some(&'"') => drop(characters.next()),
            '"' => {
                let mut literal = String::new();
                while let Some(character) = characters.next() {
                    match character {
                        '"' => break,
                        '\\' => match characters.next() {
                            Some('\n') => while characters.next_if(|next| next.is_whitespace()).is_some() {},
                            Some('n') => literal.push('\n'),
                            Some(other) => literal.push(other),
                            None => {}
                        },
                        other => literal.push(other),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_what_the_compiler_sees() {
        let code = r#"let a = "one \
                         line"; let b = '"'; let c = "a \"quoted\" word"; let d = b"bytes";"#;
        assert_eq!(literals(code), ["one line", "a \"quoted\" word", "bytes"]);
    }

    #[test]
    fn whole_words_are_declared_only() {
        let sources = Sources::of([
            "pub struct Mailbox { pub(crate) capacity: usize }\nenum E {\n    Full { at: u8 },\n    Stopped,\n}",
        ]);
        for name in ["Mailbox", "Full", "Stopped"] {
            assert!(sources.declares(name), "{name}");
        }
        for name in ["Mail", "Ful", "Stop", "at"] {
            assert!(!sources.declares(name), "{name}");
        }
    }
}

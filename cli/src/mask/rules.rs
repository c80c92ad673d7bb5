use anyhow::bail;
use serde::Deserialize;

/// What is masked and how, as the file says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[serde(default)]
    pub(super) other: Other,
    #[serde(default)]
    pub(super) ids: Vec<String>,
    #[serde(default)]
    pub(super) tags: Tags,
    #[serde(default, rename = "bytes")]
    pub(super) opaque: Opaque,
    #[serde(default)]
    pub(super) value: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Other {
    #[default]
    Keep,
    Hide,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tags {
    #[default]
    Keep,
    Pseudonym,
    Drop,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Opaque {
    #[default]
    Refuse,
    Keep,
    Empty,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(default = "any_text")]
    manifest: String,
    #[serde(default = "any_path")]
    path: String,
    pub(super) with: Option<With>,
    pub(super) value: Option<toml::Value>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum With {
    Keep,
    Hide,
    Null,
    Pseudonym,
}

impl Rules {
    /// Reads a rule file.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let rules: Self = toml::from_str(text)?;
        for rule in &rules.value {
            if rule.with.is_some() == rule.value.is_some() {
                bail!(
                    "the rule for {:?} of {:?} needs either \"with\" or \"value\"",
                    rule.path,
                    rule.manifest
                );
            }
            if rule.path.is_empty() || rule.path.split('.').any(str::is_empty) {
                bail!(
                    "the path {:?} has an empty step; write name, owner.name, items.*.name or **.name",
                    rule.path
                );
            }
        }
        Ok(rules)
    }

    /// The first rule that covers a value.
    pub(super) fn of(&self, manifest: &str, path: &[String]) -> Option<&Rule> {
        self.value.iter().find(|rule| {
            let steps: Vec<&str> = rule.path.split('.').collect();
            matches(&rule.manifest, manifest) && covers(&steps, path)
        })
    }
}

/// Whether a pattern with `*` for any text is that of a manifest.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            // The shortest text for this star first.
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// Whether steps lead to a value, or to something that it is part of.
fn covers(steps: &[&str], path: &[String]) -> bool {
    match steps {
        [] => true,
        ["**", rest @ ..] => (0..=path.len()).any(|at| covers(rest, &path[at..])),
        [step, rest @ ..] => path
            .split_first()
            .is_some_and(|(name, path)| (*step == "*" || step == name) && covers(rest, path)),
    }
}

fn any_text() -> String {
    "*".into()
}

fn any_path() -> String {
    "**".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_manifests_are_matched_step_by_step() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        for (steps, value, covered) in [
            ("a", "a", true),
            ("a", "a.b", true),
            ("a.b", "a", false),
            ("*.b", "x.b.c", true),
            ("**.c", "x.b.c", true),
            ("**.c", "c", true),
            ("**.c", "x.b", false),
            ("items.*.name", "items.0.name", true),
            ("b", "a.b", false),
        ] {
            assert_eq!(
                covers(&steps.split('.').collect::<Vec<_>>(), &path(value)),
                covered,
                "{steps} {value}"
            );
        }
        assert!(
            matches("a.*.v", "a.b.v") && matches("*", "") && matches("ab*", "ab") && !matches("a*b", "abc")
        );
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        for (rules, says) in [
            ("[[value]]\npath = \"a\"", "either"),
            ("[[value]]\nwith = \"hide\"\nvalue = 1", "either"),
            ("[[value]]\nwith = \"shred\"", "shred"),
            ("[[values]]\nwith = \"hide\"", "values"),
            ("[[value]]\npath = \"a..b\"\nwith = \"hide\"", "empty step"),
        ] {
            let error = Rules::parse(rules).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(says), "{rules}: {error}");
        }
    }
}

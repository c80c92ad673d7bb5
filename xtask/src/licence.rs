use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

/// A licence expression in the language of SPDX, such as `(MIT OR Apache-2.0) AND Unicode-3.0`.
///
/// Also takes the old form of crates.io, `MIT/Apache-2.0`, which means OR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// One licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    Or(Vec<Expression>),
    And(Vec<Expression>),
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let tokens = tokens(text);
        let mut parser = Parser { tokens: &tokens };
        let expression = parser.alternatives()?;
        ensure!(parser.tokens.is_empty(), "`{}` is left over in `{text}`", parser.tokens.join(" "));
        Ok(expression)
    }

    /// Whether one can choose so that only allowed licences apply.
    pub(crate) fn is_met_by(&self, allowed: &BTreeSet<String>) -> bool {
        match self {
            Self::Licence(name) => allowed.contains(name),
            Self::Or(parts) => parts.iter().any(|part| part.is_met_by(allowed)),
            Self::And(parts) => parts.iter().all(|part| part.is_met_by(allowed)),
        }
    }
}

/// Precedence from weak to strong: OR, AND, WITH, parentheses.
struct Parser<'a> {
    tokens: &'a [String],
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Result<Expression> {
        let mut parts = vec![self.conjunction()?];
        while self.take("OR") || self.take("/") {
            parts.push(self.conjunction()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }

    fn conjunction(&mut self) -> Result<Expression> {
        let mut parts = vec![self.licence()?];
        while self.take("AND") {
            parts.push(self.licence()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }

    fn licence(&mut self) -> Result<Expression> {
        if self.take("(") {
            let inner = self.alternatives()?;
            ensure!(self.take(")"), "a closing parenthesis is missing");
            return Ok(inner);
        }
        let mut name = self.name()?;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        Ok(Expression::Licence(name))
    }

    fn name(&mut self) -> Result<String> {
        match self.tokens.split_first() {
            Some((name, rest)) if !matches!(name.as_str(), "OR" | "AND" | "WITH" | "(" | ")" | "/") => {
                self.tokens = rest;
                Ok(name.clone())
            }
            Some((other, _)) => bail!("`{other}` stands where a licence belongs"),
            None => bail!("the expression ends where a licence belongs"),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if first == token => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

fn tokens(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '(' | ')' | '/' => spaced.extend([' ', character, ' ']),
            _ => spaced.push(character),
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str, allowed: &[&str]) -> bool {
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        Expression::parse(expression).expect("a valid expression").is_met_by(&allowed)
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(met("MIT OR Apache-2.0", &["MIT"]));
        assert!(met("MIT/Apache-2.0", &["Apache-2.0"]));
        assert!(met("MIT OR Apache-2.0 OR LGPL-2.1-or-later", &["MIT"]));
        assert!(!met("GPL-3.0-only OR LGPL-2.1-or-later", &["MIT"]));
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_allowed() {
        assert!(met("(MIT OR Apache-2.0) AND Unicode-3.0", &["MIT", "Unicode-3.0"]));
        assert!(!met("(MIT OR Apache-2.0) AND Unicode-3.0", &["MIT"]));
        assert!(!met("MIT AND GPL-3.0-only", &["MIT"]));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(met("MIT OR Apache-2.0 AND GPL-3.0-only", &["MIT"]));
        assert!(!met("GPL-3.0-only AND MIT OR Apache-2.0", &["MIT"]));
    }

    #[test]
    fn a_licence_with_an_exception_is_not_the_licence() {
        assert!(!met("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]));
        assert!(met("Apache-2.0 WITH LLVM-exception", &["Apache-2.0 WITH LLVM-exception"]));
    }

    #[test]
    fn broken_expressions_are_refused() {
        for text in ["", "MIT OR", "(MIT", "MIT)", "OR MIT", "MIT Apache-2.0", "MIT WITH", "AND"] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}

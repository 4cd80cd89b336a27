//! Templates of header values: `text {certSubjectCN} text`, with `{{` and `}}` for braces.
//!
//! A template that is one variable and nothing else renders the value as it is. Beside text or other
//! variables each value is percent-encoded outside `[A-Za-z0-9-._~@:/*]`, so that no certificate can
//! write the operator's separators. If any variable is absent, so is the header.

use std::fmt;

use crate::identity::{Values, Variable, VariableSet, encode};

/// A compiled template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(Box<str>),
    Variable(Variable),
}

/// Why a template is not one, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemplateError {
    /// Byte offset into the template.
    pub position: usize,
    /// What is wrong there.
    pub problem: TemplateProblem,
}

/// What is wrong with a template.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// Nothing to send: a header is absent or has a value.
    Empty,
    /// A byte that no header value may carry, or that would not arrive.
    Illegal(char),
    /// A space at an end of the template: receivers drop it.
    OuterSpace,
    /// `{` without `}`.
    Unclosed,
    /// `}` without `{`.
    Unopened,
    /// A name that is no variable.
    Unknown(String),
}

impl Template {
    /// Whether it is this variable and nothing else.
    pub(super) fn is_only(&self, variable: Variable) -> bool {
        matches!(&*self.parts, [Part::Variable(only)] if *only == variable)
    }

    /// Compiles a template.
    ///
    /// # Errors
    /// The first mistake, with its position; for an unknown variable the nearest name and all names.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.char_indices().peekable();
        while let Some((position, character)) = rest.next() {
            let doubled = rest.peek().is_some_and(|(_, next)| *next == character);
            match character {
                '{' | '}' if doubled => {
                    rest.next();
                    literal.push(character);
                }
                '{' => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    }
                    let after = text.get(position + 1..).unwrap_or_default();
                    let name = match after.split_once('}') {
                        Some((name, _)) if !name.contains('{') => name,
                        _ => return Err(TemplateProblem::Unclosed.at(position)),
                    };
                    parts.push(Part::Variable(Variable::parse(name).ok_or_else(|| {
                        TemplateProblem::Unknown(name.to_owned()).at(position + 1)
                    })?));
                    // The name and its brace.
                    let end = position + 1 + name.len();
                    while rest.next_if(|(at, _)| *at <= end).is_some() {}
                }
                '}' => return Err(TemplateProblem::Unopened.at(position)),
                ' '..='~' => literal.push(character),
                _ => return Err(TemplateProblem::Illegal(character).at(position)),
            }
        }
        if text.is_empty() {
            return Err(TemplateProblem::Empty.at(0));
        }
        if text.starts_with(' ') {
            return Err(TemplateProblem::OuterSpace.at(0));
        }
        if text.ends_with(' ') {
            return Err(TemplateProblem::OuterSpace.at(text.len() - 1));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self {
            parts: parts.into(),
        })
    }

    /// The template of one variable.
    pub fn of(variable: Variable) -> Self {
        Self {
            parts: Box::new([Part::Variable(variable)]),
        }
    }

    /// The variables it names.
    pub fn wanted(&self) -> VariableSet {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Literal(_) => None,
                Part::Variable(variable) => Some(*variable),
            })
            .collect()
    }

    /// Appends the header's value. Returns false, with `out` as it was, if a variable is absent.
    pub fn render(&self, values: &Values, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let alone = self.parts.len() == 1;
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => match values.get(*variable) {
                    Some(value) if alone => out.extend_from_slice(value),
                    Some(value) => escape(*variable, value, out),
                    None => {
                        out.truncate(before);
                        return false;
                    }
                },
            }
        }
        true
    }
}

/// A text value that holds a `%` was already encoded, in this same way, to be a value at all (see
/// `identity`): encoding it twice would say something else.
fn escape(variable: Variable, value: &[u8], out: &mut Vec<u8>) {
    let text = matches!(variable, Variable::SubjectCn | Variable::TrustStore);
    if text && value.contains(&b'%') {
        out.extend_from_slice(value);
    } else {
        encode::percent(out, value, encode::is_template_byte);
    }
}

impl TemplateProblem {
    fn at(self, position: usize) -> TemplateError {
        TemplateError {
            position,
            problem: self,
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.problem)
    }
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the template is empty; a header is absent or has a value"),
            Self::Illegal(character) => write!(
                f,
                "{} cannot be in a header value; allowed are visible ASCII and space",
                character.escape_default()
            ),
            Self::OuterSpace => f.write_str("a space at the end of a value is lost on the way"),
            Self::Unclosed => f.write_str("`{` has no `}`; write `{{` for a brace"),
            Self::Unopened => f.write_str("`}` has no `{`; write `}}` for a brace"),
            Self::Unknown(name) => {
                write!(f, "no variable `{}`", name.escape_default())?;
                if let Some(nearest) = nearest(name) {
                    write!(f, ", did you mean `{nearest}`?")?;
                }
                f.write_str(" (known:")?;
                for variable in Variable::all() {
                    write!(f, " {variable}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl std::error::Error for TemplateError {}

/// The variable with the least edits, if it is near: case does not count.
fn nearest(name: &str) -> Option<Variable> {
    let name = name.to_lowercase();
    let near = |variable: &Variable| distance(&name, &variable.name().to_lowercase());
    Variable::all()
        .min_by_key(near)
        .filter(|variable| near(variable) <= 1 + name.len() / 4)
}

/// Levenshtein distance, in bytes; only the first 64 bytes of `a` count.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.bytes().take(64).enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let substituted = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> (usize, TemplateProblem) {
        let error = Template::parse(text).unwrap_err();
        (error.position, error.problem)
    }

    #[test]
    fn mistakes_have_a_place() {
        assert_eq!(problem(""), (0, TemplateProblem::Empty));
        assert_eq!(problem("a{certSerial"), (1, TemplateProblem::Unclosed));
        assert_eq!(problem("{a{certSerial}"), (0, TemplateProblem::Unclosed));
        assert_eq!(problem("ab}"), (2, TemplateProblem::Unopened));
        assert_eq!(problem("{}"), (1, TemplateProblem::Unknown(String::new())));
        assert_eq!(problem("ab\r\n"), (2, TemplateProblem::Illegal('\r')));
        assert_eq!(problem("é"), (0, TemplateProblem::Illegal('é')));
        assert_eq!(problem(" {certSerial}"), (0, TemplateProblem::OuterSpace));
        assert_eq!(problem("{certSerial} "), (12, TemplateProblem::OuterSpace));
    }

    #[test]
    fn an_unknown_variable_names_the_nearest_and_all() {
        let text = Template::parse("{certsubjectDn}").unwrap_err().to_string();
        assert!(text.contains("did you mean `certSubjectDN`?"), "{text}");
        assert!(text.contains(" certTraefikInfo)"), "{text}");
        let far = Template::parse("{user}").unwrap_err().to_string();
        assert!(!far.contains("did you mean"), "{far}");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn braces_double_and_wanted_is_complete() {
        let template = Template::parse("{{{certSerial}}}-{certSKI}").unwrap();
        assert_eq!(
            template.wanted(),
            [Variable::Serial, Variable::Ski].into_iter().collect()
        );
        assert_eq!(template.parts.len(), 4);
        assert_eq!(
            Template::parse("{certSKI}").unwrap(),
            Template::of(Variable::Ski)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}a-zA-Z \\PC]{0,40}") {
            if let Err(error) = Template::parse(&text) {
                prop_assert!(text.is_char_boundary(error.position), "{error}");
            }
        }
    }
}

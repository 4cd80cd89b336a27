//! `docs/config.md`, written from the definition, so that it can't disagree with it.

use std::any::TypeId;

use clap::Arg;

use super::file::definition;

/// The whole reference page, Markdown.
pub fn page() -> String {
    let mut page = String::from(PREAMBLE);
    let mut heading = None;
    for argument in definition()
        .get_arguments()
        .filter(|argument| argument.get_id() != "config")
    {
        let section = argument
            .get_help_heading()
            .unwrap_or("Application")
            .to_owned();
        if heading.as_ref() != Some(&section) {
            page.push_str(&format!(
                "\n## {section}\n\n| key and flag | default | meaning |\n|---|---|---|\n"
            ));
            heading = Some(section);
        }
        page.push_str(&row(argument));
    }
    page
}

fn row(argument: &Arg) -> String {
    let key = argument.get_id().as_str();
    let names: Vec<&str> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| name.as_str())
        .collect();
    let is_switch = argument.get_value_parser().type_id() == TypeId::of::<bool>();
    let value = match names.join(" ") {
        names if is_switch => format!("[={names}]"),
        names => format!(" {names}"),
    };
    let default: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| !is_switch)
        .map(|choice| {
            let help = choice
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("`{}`: {help}", choice.get_name())
        })
        .collect();
    let mut meaning = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    if !choices.is_empty() {
        meaning = format!("{meaning} {}", choices.join(" "));
    }
    let default = if default.is_empty() {
        "-".into()
    } else {
        format!("`{}`", default.join(" "))
    };
    let flag = key.replace('_', "-");
    format!(
        "| `{key}` `--{flag}{value}` | {default} | {} |\n",
        meaning.replace('|', "\\|").replace('\n', " ")
    )
}

const PREAMBLE: &str = "\
# Configuration

`herald run` takes flags, a TOML file (`--config herald.toml`), or both. Every flag has its key: `--client-auth` is
`client_auth`. Flags override the file; a repeatable flag replaces the file's whole list. A repeatable key takes a string
or an array; `header` may also be a table. Unknown keys are errors, and all mistakes of a file are reported at once.
`herald check` takes the same and prints what would run, with where each value came from.

Durations are a number with `ms`, `s`, `m` or `h`; sizes a number of bytes, or with `KiB`, `MiB`, `GiB`. A switch is
`true` or `false`; as a flag it may stand alone, and `--reject-at-tls=false` overrides a file's `true`.

```toml
listen = \"0.0.0.0:443\"
cert = \"/etc/herald/server.pem\"
key = \"/etc/herald/server.key\"
client_ca = [\"/etc/herald/devices-ca.pem\", \"/etc/herald/partners-ca.pem\"]
upstream = \"http://127.0.0.1:8080\"
client_auth = \"required\"

[header]
X-Device = \"{certSubjectCN}\"
```
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::tests::parse;

    #[test]
    fn the_committed_page_is_the_definition() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            committed,
            page(),
            "write it anew with: herald reference > docs/config.md"
        );
    }

    #[test]
    fn its_example_is_a_sound_file() {
        let page = page();
        let example = page
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let config = parse(example).unwrap();
        assert_eq!(
            config.headers,
            [("X-Device".to_owned(), "{certSubjectCN}".to_owned())]
        );
        assert_eq!(config.client_ca.len(), 2);
    }
}

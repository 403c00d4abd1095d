//! Every variable and setting, as the library knows them.

use std::process::ExitCode;

use cachekit::{Environment, SettingRow, Settings, VariableRow};
use serde_json::{Value, json};

use super::args::Format;
use super::failure::Failure;
use super::output::{FAINT, Out, STRONG, styled};

/// What stands at the head of the document that is made from the tables.
const HEAD: &str = "# Settings

<!-- Made by `cargo run --features cli -- settings --format markdown > docs/settings.md`: change the doc comments of
src/config/table.rs and src/config/variables.rs, and run it again. -->

A call of the builder wins over a variable, a variable over the intent, the intent over the default. `Cache::report()` says
of each setting of a cache whence it comes, and `cachekit doctor` checks variables and backend.
";

pub(super) fn run(mut out: Out, format: Format) -> Result<ExitCode, Failure> {
    let (variables, settings) = (Environment::table(), Settings::table());
    match format {
        Format::Markdown => out.bytes(markdown(&variables, &settings).as_bytes())?,
        Format::Json => out.json(&document(&variables, &settings))?,
        Format::Text if out.json => out.json(&document(&variables, &settings))?,
        Format::Text => text(&mut out, &variables, &settings)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn document(variables: &[VariableRow], settings: &[SettingRow]) -> Value {
    let variable = |row: &VariableRow| {
        json!({
            "name": row.name, "values": row.values, "default": row.default, "setting": row.setting,
            "secret": row.is_secret, "doc": row.doc,
        })
    };
    let setting = |row: &SettingRow| {
        json!({
            "name": row.name, "type": row.type_name, "default": row.default, "variable": row.variable,
            "setter": row.has_setter, "doc": row.doc,
        })
    };
    json!({
        "variables": variables.iter().map(variable).collect::<Vec<_>>(),
        "settings": settings.iter().map(setting).collect::<Vec<_>>(),
    })
}

fn first(doc: &str) -> &str {
    doc.split("\n\n").next().unwrap_or_default()
}

fn text(out: &mut Out, variables: &[VariableRow], settings: &[SettingRow]) -> Result<(), Failure> {
    out.line(styled(STRONG, "Variables"))?;
    for row in variables {
        out.line(format!(
            "\n{}  {}",
            styled(STRONG, row.name),
            styled(FAINT, format!("{}; default {}", row.values, row.default))
        ))?;
        out.line(format!("    {}", first(&row.doc)))?;
    }
    out.line(format!("\n{}", styled(STRONG, "Settings of the builder")))?;
    for row in settings {
        let by = row.variable.map(|name| format!("; {name}")).unwrap_or_default();
        let about = format!("{}; default {}{by}", row.type_name, row.default);
        out.line(format!("\n{}  {}", styled(STRONG, row.name), styled(FAINT, about)))?;
        out.line(format!("    {}", first(&row.doc)))?;
    }
    Ok(())
}

fn markdown(variables: &[VariableRow], settings: &[SettingRow]) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut out = String::from(HEAD);
    out += "\n## Variables\n\n| variable | takes | default | |\n|---|---|---|---|\n";
    for row in variables {
        let secret = if row.is_secret { " Secret: never shown." } else { "" };
        let setting = row.setting.map(|name| format!(" Sets `{name}`.")).unwrap_or_default();
        let doc = cell(first(&row.doc));
        out +=
            &format!("| `{}` | {} | {} | {doc}{setting}{secret} |\n", row.name, cell(row.values), cell(&row.default));
    }
    out += "\n## Settings of the builder\n\n";
    out += "A setting without a setter is given by `CacheBuilder::settings`.\n\n";
    out += "| setting | type | default | variable |\n|---|---|---|---|\n";
    for row in settings {
        let setter = if row.has_setter { "" } else { " (no setter)" };
        let variable = row.variable.map(|name| format!("`{name}`")).unwrap_or_default();
        out += &format!(
            "| [`{0}`](#{0}){setter} | `{1}` | {2} | {variable} |\n",
            row.name,
            row.type_name,
            cell(&row.default)
        );
    }
    for row in settings {
        out += &format!("\n### {}\n\n{}\n", row.name, row.doc);
    }
    out
}

//! The flags of a program as lists for a document: what works, what is accepted, what is refused.

use std::fmt::Write as _;

use crate::flag::{Effect, Flag, Group};

/// One table for each class of flags, as Markdown. The prefix is that of environment variables.
#[must_use]
pub fn effect_lists(groups: &[Group], env_prefix: &str) -> String {
    let flags = |class: fn(&Effect) -> bool| {
        let flags = groups
            .iter()
            .flat_map(|group| group.flags.iter().map(move |flag| (group.title, *flag)));
        flags
            .filter(move |(_, flag)| class(&flag.effect))
            .collect::<Vec<_>>()
    };
    let effective = flags(|effect| matches!(effect, Effect::Effective(_)));
    let without = flags(|effect| matches!(effect, Effect::NoEffect(_)));
    let refused = flags(|effect| matches!(effect, Effect::Refused(_)));
    let mut text = format!(
        "Every flag has an environment variable: `{env_prefix}_` and the name in capitals, with underscores \
         for dashes.\nThe configuration file has it under the key shown; a dash means that it cannot stand \
         there.\n",
    );
    let _ = write!(text, "\n### Effective ({})\n\n", effective.len());
    push_table(&mut text, "Exceptions", &effective);
    let _ = write!(
        text,
        "\n### Accepted without effect ({})\n\nGiven, they are named in one warning at the start.\n\n",
        without.len()
    );
    push_table(&mut text, "Why", &without);
    let _ = write!(
        text,
        "\n### Refused ({})\n\nAny value but the default ends the start with a message that names the flag.\n\n",
        refused.len()
    );
    push_table(&mut text, "Why", &refused);
    text
}

fn push_table(text: &mut String, last: &str, flags: &[(&str, &Flag)]) {
    let _ = writeln!(
        text,
        "| Flag | Group | Default | Configuration key | {last} |\n|---|---|---|---|---|"
    );
    for (group, flag) in flags {
        let (Effect::Effective(note) | Effect::NoEffect(note) | Effect::Refused(note)) =
            flag.effect;
        let default = match flag.shown_default.unwrap_or(flag.default) {
            "" => "–".to_owned(),
            default => format!("`{default}`"),
        };
        let key = flag
            .file
            .map_or_else(|| "–".to_owned(), |key| format!("`{}`", key.path));
        let _ = writeln!(
            text,
            "| `--{}` | {group} | {default} | {key} | {note} |",
            flag.name
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::Kind;

    static NAME: Flag = Flag::new("name", Kind::Text, "x", "").in_file();
    static TLS: Flag = Flag::new("tls", Kind::Bool, "false", "")
        .file_key("a.tls")
        .refused("not yet");
    static WAIT: Flag = Flag::new("wait", Kind::Text, "", "").no_effect("no need");
    static GROUPS: &[Group] = &[
        Group {
            title: "First",
            flags: &[&NAME, &TLS],
        },
        Group {
            title: "Second",
            flags: &[&WAIT],
        },
    ];

    #[test]
    fn each_flag_stands_in_the_table_of_its_class() {
        let text = effect_lists(GROUPS, "ETCD");
        let sections: Vec<&str> = text.split("\n### ").collect();
        assert_eq!(sections.len(), 4);
        assert!(sections[1].starts_with("Effective (1)\n"));
        assert!(
            sections[1].contains("| `--name` | First | `x` | `name` |  |\n"),
            "{text}"
        );
        assert!(sections[2].starts_with("Accepted without effect (1)\n"));
        assert!(
            sections[2].contains("| `--wait` | Second | – | – | no need |\n"),
            "{text}"
        );
        assert!(sections[3].starts_with("Refused (1)\n"));
        assert!(
            sections[3].contains("| `--tls` | First | `false` | `a.tls` | not yet |\n"),
            "{text}"
        );
    }
}

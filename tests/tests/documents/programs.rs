//! The options and the subcommands that the help of a program names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use cc_tests::harness::binary;

use crate::root;

/// Subcommands that no help lists, because a service starts them itself.
const HIDDEN: [(&str, &str); 1] = [("claude-api", "runner")];

/// The help texts of programs, each asked for once.
#[derive(Default)]
pub(crate) struct Programs {
    texts: BTreeMap<String, String>,
}

impl Programs {
    /// Checks the words after the name of a binary of the workspace.
    pub(crate) fn check(&mut self, name: &str, words: &[String]) -> Result<(), String> {
        let mut help = self.help(name, &[]);
        let mut names = subcommands(&help);
        let mut path = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            if word.starts_with('-') {
                let takes_value = option(&help, word)
                    .ok_or_else(|| format!("{name} {} has no option {word}", path.join(" ")))?;
                if takes_value && !word.contains('=') {
                    words.next();
                }
            } else if !names.is_empty() {
                if is_placeholder(word) || HIDDEN.contains(&(name, word.as_str())) {
                    break;
                }
                if !names.contains(word) {
                    return Err(format!("{name} has no subcommand {word:?}"));
                }
                path.push(word.as_str());
                help = self.help(name, &path);
                names = subcommands(&help);
            }
        }
        Ok(())
    }

    /// Checks the words after the name of a script. Some scripts take parts or targets, see
    /// [`is_argument`].
    pub(crate) fn check_script(&mut self, name: &str, words: &[String]) -> Result<(), String> {
        if name == "ccb" {
            return self.check("ccb", words);
        }
        let path = root().join("scripts").join(name);
        if path.is_dir() {
            return Ok(());
        }
        if !path.is_file() {
            return Err(format!("there is no scripts/{name}"));
        }
        let help = self.script_help(&path);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.starts_with('-') {
                let takes_value = option(&help, word)
                    .ok_or_else(|| format!("scripts/{name} has no option {word}"))?;
                if takes_value && !word.contains('=') {
                    words.next();
                }
            } else if !is_placeholder(word) && !is_argument(name, word) {
                return Err(format!("scripts/{name} does not know {word:?}"));
            }
        }
        Ok(())
    }

    /// The help of a binary of the workspace, and that of a subcommand.
    fn help(&mut self, name: &str, subcommand: &[&str]) -> String {
        let key = format!("{name} {}", subcommand.join(" "));
        let text = self.texts.entry(key).or_insert_with(|| {
            let mut command = Command::new(binary(name));
            output(command.args(subcommand).arg("--help"))
        });
        text.clone()
    }

    fn script_help(&mut self, path: &Path) -> String {
        let key = path.to_string_lossy().into_owned();
        let text = self.texts.entry(key).or_insert_with(|| {
            // The settings of this machine are no part of the help.
            let mut command = Command::new(path);
            output(command.arg("--help").env("CCB_ENV_FILE", "none"))
        });
        text.clone()
    }
}

/// The stdout of a program that must succeed.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {error}");
    String::from_utf8(output.stdout).expect("the help is UTF-8")
}

/// Whether the option takes a value, if the help names it.
fn option(help: &str, word: &str) -> Option<bool> {
    if ["-h", "--help"].contains(&word) {
        return Some(false);
    }
    let name = word.split('=').next().unwrap_or_default();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let found = help.match_indices(name).filter_map(|(at, name)| {
        let (before, after) = (&help[..at], &help[at + name.len()..]);
        let is_whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        is_whole.then(|| begins_with_value(after))
    });
    // The same option may also stand in the description of another one.
    found.reduce(|one, other| one || other)
}

/// Whether the text behind an option names a value: `<URL>` in the help of a binary, `N` in that of
/// a script.
fn begins_with_value(text: &str) -> bool {
    let Some(text) = text.strip_prefix(' ') else {
        return false;
    };
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    let is_capital = |c: char| !c.is_ascii_lowercase();
    word.starts_with('<')
        || (word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(is_capital))
}

/// The subcommands that the help of a binary lists.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| {
        // Deeper lines continue a description.
        let name = line
            .strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))?;
        Some(name.split_whitespace().next()?.to_owned())
    });
    names.collect()
}

/// Whether a word stands for others: `ID`, `NAME...`, `...`.
fn is_placeholder(word: &str) -> bool {
    let word = word.trim_matches(['[', ']', '.', '…']);
    word.chars()
        .all(|c| c.is_ascii_uppercase() || c == '_' || c == '-')
}

/// Whether a script takes this word, beside its options.
fn is_argument(script: &str, word: &str) -> bool {
    match script {
        "test" => {
            let path = root().join("scripts/test");
            let text = std::fs::read_to_string(path).expect("scripts/test can be read");
            text.contains(&format!("\npart_{word}() {{"))
        }
        "fuzz" => root()
            .join(format!("fuzz/fuzz_targets/{word}.rs"))
            .is_file(),
        "base-images" => ["debian", "rust"].contains(&word),
        "upgrade-cli" => word == "latest" || word.starts_with(|c: char| c.is_ascii_digit()),
        _ => false,
    }
}

#[test]
fn options_are_whole_words_and_some_take_values() {
    let help = "  --url <URL>  Address\n  -q, --quiet  Less\n  --seconds S  (60)\n  \
                --only PART,...\n  \
                --claude-api <URL>  Without it and with the usual --url, another\n";
    assert_eq!(option(help, "--url"), Some(true));
    assert_eq!(option(help, "--url=x"), Some(true));
    assert_eq!(option(help, "--quiet"), Some(false));
    assert_eq!(option(help, "-q"), Some(false));
    assert_eq!(option(help, "--seconds"), Some(true));
    assert_eq!(option(help, "--only"), Some(true));
    assert_eq!(option(help, "--qui"), None);
    assert_eq!(option(help, "--urls"), None);
}

#[test]
fn words_of_our_programs_are_checked() {
    let mut programs = Programs::default();
    let mut check = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        match words[0].strip_prefix("scripts/") {
            Some(script) => programs.check_script(script, &words[1..]),
            None => programs.check(&words[0], &words[1..]),
        }
    };
    for right in [
        "ccb exec --workspace shop --json --reconnect-for 5m prompt",
        "ccb --url ws://x/ws status ID",
        "ccb exec -- --anything",
        "ccb token new NAME --role view --add FILE",
        "scripts/ccb doctor",
        "scripts/up --demo --workspace /x",
        "scripts/test --repeat 20 basic NAME...",
        "scripts/fuzz frames --seconds 180",
        "scripts/soak --plant BUG",
        "bridge serve",
        "claude-api --claude-bin x --allowed-tools Bash",
    ] {
        assert_eq!(check(right), Ok(()), "{right}");
    }
    for wrong in [
        "ccb exce prompt",
        "ccb exec --workspce shop",
        "ccb status --max-turns 3",
        "ccb token old NAME",
        "ccb token --role view",
        "scripts/up --demmo",
        "scripts/nowhere",
        "scripts/test everything",
        "scripts/fuzz lines",
        "bridge --serve",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

//! The commands in a text, as the words of each. Enough of the shell's grammar for documents:
//! quotes, comments, continued lines, operators, redirections and `$(...)`.

/// One command: the number of its line in the text, and its words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) words: Vec<String>,
}

impl Command {
    /// The program and its arguments, without assignments before it and without programs that only
    /// start another one, such as `env`.
    pub(crate) fn program(&self) -> &[String] {
        let is_before = |word: &String| {
            let name = word.split_once('=').map(|(name, _)| name);
            let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
            name.is_some_and(|name| !name.is_empty() && name.chars().all(is_name))
                || ["$", "env", "eval", "exec", "sudo", "time"].contains(&word.as_str())
        };
        let before = self.words.iter().take_while(|word| is_before(word)).count();
        &self.words[before..]
    }
}

/// Finds the commands of a text.
pub(crate) fn commands(text: &str) -> Vec<Command> {
    let mut parser = Parser {
        rest: text.chars().collect(),
        line: 1,
        ..Parser::default()
    };
    parser.rest.reverse();
    parser.run();
    parser.commands
}

#[derive(Default)]
struct Parser {
    /// The characters that are left, the next one last.
    rest: Vec<char>,
    line: usize,
    word: Option<String>,
    /// The next word is the file of a redirection.
    is_file: bool,
    command: Command,
    commands: Vec<Command>,
}

impl Parser {
    fn run(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => self.push(c),
                },
                '\'' => self.quoted('\''),
                '"' => self.quoted('"'),
                '$' if self.rest.last() == Some(&'(') => self.substitution(),
                '#' if self.word.is_none() => {
                    while self.rest.last().is_some_and(|c| *c != '\n') {
                        self.next();
                    }
                }
                '<' | '>' => self.redirection(),
                '\n' | '|' | '&' | ';' | '(' | ')' => self.end_command(),
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.pop()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn push(&mut self, c: char) {
        if self.word.is_none() && self.command.words.is_empty() {
            self.command.line = self.line;
        }
        self.word.get_or_insert_default().push(c);
    }

    /// Reads to the closing quote. The quotes are no part of the word, as in the shell.
    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return,
                '\\' if quote == '"' => {
                    if let Some(c) = self.next() {
                        self.push(c);
                    }
                }
                '$' if quote == '"' && self.rest.last() == Some(&'(') => self.substitution(),
                c => self.push(c),
            }
        }
    }

    /// Reads `$(...)`: its commands are commands too, and its output is one word.
    fn substitution(&mut self) {
        let line = self.line;
        self.next();
        let (mut depth, mut inner) = (1, String::new());
        while let Some(c) = self.next() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                break;
            }
            inner.push(c);
        }
        "$(...)".chars().for_each(|c| self.push(c));
        let shift = |command: Command| Command {
            line: command.line + line - 1,
            ..command
        };
        self.commands
            .extend(commands(&inner).into_iter().map(shift));
    }

    fn redirection(&mut self) {
        // The number before the arrow belongs to it.
        if self
            .word
            .as_ref()
            .is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()))
        {
            self.word = None;
        }
        self.end_word();
        while self
            .rest
            .last()
            .is_some_and(|c| ['<', '>', '&'].contains(c))
        {
            self.next();
        }
        self.is_file = true;
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.is_file)
        {
            self.command.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.is_file = false;
        let command = std::mem::take(&mut self.command);
        if !command.words.is_empty() {
            self.commands.push(command);
        }
    }
}

#[test]
fn commands_have_their_words_and_lines() {
    let words = |text: &str| {
        let commands = commands(text).into_iter();
        let commands = commands.map(|command| (command.line, command.program().join(" ")));
        commands.collect::<Vec<_>>()
    };
    let found = words("a -x 'b c' # d\n\nA=1 e \\\n  --f | g 2>&1 >h; i &");
    let expected = [(1, "a -x b c"), (3, "e --f"), (4, "g"), (4, "i")];
    assert_eq!(
        found,
        expected.map(|(line, words)| (line, words.to_owned()))
    );
    let found = words("eval \"$(scripts/a --b)\"\nx \"y \\\"z\\\" # w\" --v");
    let expected = [
        (1, "scripts/a --b"),
        (1, "$(...)"),
        (2, "x y \"z\" # w --v"),
    ];
    assert_eq!(
        found,
        expected.map(|(line, words)| (line, words.to_owned()))
    );
}

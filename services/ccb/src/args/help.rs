//! The texts behind the options in the help of `ccb` and its commands. They teach by examples.

pub(super) const CCB: &str = "\
Examples:
  ccb exec \"What does this repository do?\"   stream the answer to stdout
  git diff | ccb exec --append-system-prompt \"Review this diff\"
                                             read the prompt from stdin
  ccb exec --workspace shop --model sonnet --max-turns 20 - < task.md
  ccb exec --detach \"a long task\"            print the id and exit; the execution continues
  ccb attach ID                              print all output so far, then follow it
  ccb status                                 show the newest execution
  ccb cancel ID                              end an execution with every process it started
  ccb exec --ask \"Tidy up the repository\"   decide on this terminal what the model may do
  ccb questions                              show what executions ask; answer with ccb answer
  ccb share ID                               make a token that opens one execution for others
  ccb token new NAME --add tokens.toml       make a token for a user of your service
  ccb list --url wss://bridge.example --token-file ~/token
                                             use a bridge on another machine
  ccb doctor                                 check whether a prompt would run, and how to fix it

ccb reconnects by itself and resumes at the exact byte.
Ctrl-C in `exec` cancels the execution and waits for its end; a second one exits immediately.
Ctrl-C in `attach` exits; the execution continues.

Exit codes:
  0     completed
  1     failed without an exit code of the CLI, or another error
  1-255 failed: the CLI's own exit code
  64    wrong usage
  69    no bridge, or the service is unavailable
  70    a system error on this machine
  75    interrupted: the service was stopped
  76    the output is incomplete or broken
  77    the token is missing or wrong, or the operator or the token's role forbids this
  124   timed out
  130   cancelled
The CLI's own exit code may collide with 64 to 77, 124 and 130. `ccb status ID` shows the state.

The token is read from the first of: the file of --token-file or CCB_TOKEN_FILE, the variable
CCB_TOKEN, the file ~/.config/cc-bridge/token. There is no option for the token itself, because
other users can read the arguments of a process.

Environment:
  CCB_URL         the bridge's address when --url is not given
  CCB_TOKEN_FILE  the file with the token when --token-file is not given
  CCB_TOKEN       the token, when no file is named
  CCB_CA          the file with certificates when --ca is not given
  TRACEPARENT     the trace to which executions of `ccb exec` belong, with TRACESTATE";

pub(super) const EXEC: &str = "\
Examples:
  ccb exec \"What does this repository do?\"
  git diff | ccb exec --append-system-prompt \"Review this diff\"
  ccb exec -q \"Write a haiku\" > haiku.txt        only the answer; nothing on stderr but errors
  ccb exec --workspace shop --allowed-tools 'Read,Bash(git log:*)' \"What changed this week?\"
  ccb exec --max-turns 20 --deadline 30m --max-budget-usd 2 - < task.md
  ccb exec --ask \"Remove what nobody uses\"       ask before each tool that changes something
  ccb exec --conversation ID \"And in French?\"    continue a conversation that `ccb status` names
  ccb exec --url wss://bridge.example --token-file ~/token \"prompt\"
                                                 a bridge on another machine
  id=$(ccb exec --detach \"a long task\"); ccb attach \"$id\"
  ccb exec -- \"--help is a flag: explain it\"     a prompt that begins with a dash

With --ask nothing is allowed beforehand but what --allowed-tools names. A question is printed on
stderr, and the answer is read from the terminal: y allows, n denies, r also allows further uses,
m shows more, s leaves it open. A number or a text answers a choice, in which =n is the text n.
Every token that may control the execution may answer; the first valid answer counts. A question
survives this command: `ccb attach --ask ID` asks it again.

Exit code: 0 when the execution completed, the CLI's own code when it failed. That code may collide
with the codes 64 to 77, 124 and 130 of ccb, which `ccb --help` lists. `ccb status ID` shows the
state. Ctrl-C cancels the execution and waits for its end; a second one exits immediately.";

pub(super) const ATTACH: &str = "\
Examples:
  ccb attach ID                  all output from the beginning, then what follows
  ccb attach ID --offset 4096    skip the first 4096 bytes, for example those of an earlier attach
  ccb attach ID --ask            also answer its questions on this terminal

The exit code is that of `ccb exec`. Ctrl-C exits; the execution continues.";

pub(super) const DOCTOR: &str = "\
Examples:
  ccb doctor                            every check, with a remedy for each problem
  ccb doctor -q                         only warnings and failures
  ccb doctor --json                     one JSON line for programs
  ccb doctor --url wss://bridge.example --token-file ~/token
                                        check another bridge, and whether the token is valid

The exit code is 0 when a prompt would run, and 69 when not.";

pub(super) const TOKEN: &str = "\
Examples:
  ccb token new ci --out ci.token --add tokens.toml
                                 a token in a new file, its entry in the operator's file
  ccb token new ann              show the token once, and the entry to add
  ccb token new audit --role view --expires 2027-01-31 --out audit.token >> tokens.toml

CLAUDE_API_TOKENS_FILE names the operator's file, which has only the SHA-256 of each token.
claude-api reads the file again when it changes.";

pub(super) const WEBHOOK: &str = "\
Examples:
  ccb webhook secret new --out hooks.secret     a new secret, for the operator and the receiver
  ccb webhook verify --headers head.txt --secret-file hooks.secret < body.json
                                                is this webhook genuine?

No bridge is needed.";

pub(super) const WEBHOOK_VERIFY: &str = "\
Examples:
  ccb webhook verify --headers head.txt --secret-file hooks.secret body.json
  ccb webhook verify --secret-file hooks.secret --header 'webhook-id: evt_1' \\
      --header 'webhook-timestamp: 1800000000' --header 'webhook-signature: v1,...' < body.json
  ccb webhook verify --tolerance 1d ...         a webhook that was stored earlier

The body must be exactly the bytes that were received. The secret is read from --secret-file, or
from the variable CCB_WEBHOOK_SECRET; with two secrets in it, either may fit. It is never an
argument.

Exit code: 0 if the webhook is genuine, 1 if not, 64 for wrong arguments. The reason is on stderr.
A receiver must also remember the ids that it has handled: an event can arrive more than once.";

pub(super) const NEW_TOKEN: &str = "\
Examples:
  ccb token new ci --out ci.token --add tokens.toml
                                 a token in a new file, its entry in the operator's file
  ccb token new ann              show the token once, and the entry to add
  ccb token new audit --role view --expires 2027-01-31 --out audit.token >> tokens.toml
  ccb token new shop-bot --workspaces 'shop,docs-*' --budget-usd-per-day 50 --running 4
  ccb token new ci-2 --principal ci --out ci-2.token --add tokens.toml
                                 a second token for the executions of ci, to replace the first
  ccb token new ci --out - | vault write secret/ccb token=-
                                 hand the token to another program

The token is shown once and stored nowhere else. Its owner uses it with --token-file FILE,
CCB_TOKEN_FILE or CCB_TOKEN. No bridge is needed.";

pub(super) const SHARE: &str = "\
Examples:
  ccb share ID                           the token can read this one execution for a day
  ccb share ID --role control --expires 2h
  ccb share ID --json                    also print the share's id, to end it early (DELETE)

stdout has only the token. The receiver saves it in a file of mode 600 and runs:
  ccb attach ID --url URL --token-file FILE";

pub(super) const QUESTIONS: &str = "\
Examples:
  ccb questions                  the oldest 16 open questions of each execution, one a line
  ccb questions ID               all open questions of one execution, each with its whole input
  ccb questions ID --json        the same for programs

An execution asks if it was started with `ccb exec --ask`, or with \"permissionPrompts\": \"ask\".
`ccb answer` answers a question. An unanswered one is denied after its time.";

pub(super) const ANSWER: &str = "\
Examples:
  ccb answer ID QUESTION allow
  ccb answer ID QUESTION deny --message \"keep the build folder\"
  ccb answer ID QUESTION allow --remember 'Bash(rm -r build)'
                                 allow this use for the rest of the execution, too
  ccb answer ID QUESTION allow --input '{\"command\": \"ls build\"}'
                                 run the tool with another input
  ccb answer ID QUESTION allow --choice 'Which database?=SQLite' --choice 2=yes
                                 answer the parts of a choice, each named by text or number

`ccb questions` shows the ids. The first answer counts. The same answer again is no error; if
somebody has decided otherwise, the exit code is 1, and stderr says who and how.";

//! The process tree that pause and cancel are tried on: the real CLI, its Bash tool, and below that a grandchild
//! in a session of its own, twice forked, with a cleared environment. Both count, each into a file of its own: the
//! grandchild has become a child of the runner, the tool lies deep below the CLI, and either may be missed alone.

use std::time::Duration;

use super::{Project, until};

/// Started by the tool; what is counted says when it lives.
const PROGRAM: &str = r#"import os,sys,time
path,mark=sys.argv[1],sys.argv[2]
if os.fork()==0:
    os.setsid()
    if os.fork():
        os._exit(0)
    null=os.open("/dev/null",os.O_RDWR)
    for fd in (0,1,2):
        os.dup2(null,fd)
    count="n=0; while :; do n=$((n+1)); echo $n >$0; sleep 0.05; done"
    os.execve("/bin/sh",["sh","-c",count,path,mark],{"PATH":"/usr/bin:/bin"})
print("started",flush=True)
for n in range(6000):
    with open(path+".tool","w") as file:
        file.write(str(n))
    time.sleep(0.05)
"#;
/// In which one that runs counts a few times, and a stopped one shows that it does not.
const LOOK: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(60);
/// The time in which the processes of an execution end after a cancel (docs/protocol.md,
/// "Controls").
const GONE: Duration = Duration::from_secs(5);

/// The workspace of the tool.
const FOLDER: &str = "/workspace/default";

/// One such tree, by its own mark.
#[derive(Debug, Clone)]
pub struct Tree {
    mark: String,
}

impl Tree {
    /// Puts its program into the container.
    pub async fn prepare(project: &Project) -> Self {
        let mark = format!("tree-{}", uuid::Uuid::new_v4().simple());
        project
            .write("claude-api", &format!("{FOLDER}/{mark}.py"), PROGRAM)
            .await;
        Self { mark }
    }

    /// The prompt that starts it.
    #[must_use]
    pub fn prompt(&self) -> String {
        let mark = &self.mark;
        format!("@say begun\n@bash python3 {FOLDER}/{mark}.py {FOLDER}/{mark}.count {mark}")
    }

    /// How far the grandchild and the tool have counted; a file that is being written has no number.
    async fn counts(&self, project: &Project) -> [Option<u64>; 2] {
        let script = format!(
            "cd {FOLDER}; for f in {0}.count {0}.count.tool; do echo \"$(cat $f)\"; done",
            self.mark
        );
        let text = project.exec("claude-api", &["sh", "-c", &script]).await;
        let text = text.expect("the container answers");
        let mut lines = text.lines().map(|line| line.trim().parse().ok());
        [lines.next().flatten(), lines.next().flatten()]
    }

    /// Waits until both count on.
    ///
    /// # Panics
    /// If one does not.
    pub async fn wait_counting(&self, project: &Project) {
        let mut before = [None; 2];
        until(
            "the tool and its grandchild to count",
            PATIENCE,
            async || {
                let now = self.counts(project).await;
                for (before, now) in before.iter_mut().zip(now) {
                    *before = before.or(now);
                }
                (now[0] > before[0] && now[1] > before[1]).then_some(())
            },
        )
        .await;
    }

    /// Looks for a while whether both stand still.
    ///
    /// # Panics
    /// If one counts.
    pub async fn assert_still(&self, project: &Project) {
        let before = self.counts(project).await;
        tokio::time::sleep(LOOK).await;
        assert_eq!(
            self.counts(project).await,
            before,
            "the grandchild or the tool counts on"
        );
    }

    /// The processes that carry its mark.
    ///
    /// # Panics
    /// If the container does not answer: that would look like none.
    pub async fn processes(&self, project: &Project) -> Vec<String> {
        let all = project
            .exec("claude-api", &["ps", "-eo", "pid,ppid,stat,args"])
            .await
            .expect("the container answers");
        all.lines()
            .filter(|line| line.contains(&self.mark))
            .map(str::to_owned)
            .collect()
    }

    /// Waits until no process of it is left.
    ///
    /// # Panics
    /// If one is after 5 s.
    pub async fn assert_gone(&self, project: &Project) {
        until("the tree to be gone", GONE, async || {
            self.processes(project).await.is_empty().then_some(())
        })
        .await;
        self.assert_still(project).await;
    }
}

//! The process tree that pause and cancel are tried on: the real CLI, its Bash tool, and below that a grandchild
//! in a session of its own, twice forked, with a cleared environment, that counts into a file.

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
time.sleep(300)
"#;
/// In which one that runs counts a few times, and a stopped one shows that it does not.
const LOOK: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(60);
/// The contract's promise after a cancel.
const GONE: Duration = Duration::from_secs(5);

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
            .write("claude-api", &format!("/workspace/{mark}.py"), PROGRAM)
            .await;
        Self { mark }
    }

    /// The prompt that starts it.
    #[must_use]
    pub fn prompt(&self) -> String {
        let mark = &self.mark;
        format!("@say begun\n@bash python3 /workspace/{mark}.py /workspace/{mark}.count {mark}")
    }

    async fn count(&self, project: &Project) -> Option<u64> {
        let path = format!("/workspace/{}.count", self.mark);
        let text = project.exec("claude-api", &["cat", &path]).await.ok()?;
        text.trim().parse().ok()
    }

    /// Waits until it counts on.
    ///
    /// # Panics
    /// If it does not.
    pub async fn wait_counting(&self, project: &Project) {
        let mut before = None;
        until("the grandchild to count", PATIENCE, async || {
            let now = self.count(project).await?;
            let earlier = *before.get_or_insert(now);
            (now > earlier).then_some(())
        })
        .await;
    }

    /// Looks for a while whether it stands still.
    ///
    /// # Panics
    /// If it counts.
    pub async fn assert_still(&self, project: &Project) {
        let before = self.count(project).await;
        tokio::time::sleep(LOOK).await;
        assert_eq!(
            self.count(project).await,
            before,
            "the grandchild counts on"
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

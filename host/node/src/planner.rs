//! The thread in which the scheduler runs. A panic there is "no plan, and an alert", never a dead node, and a plan that
//! takes long delays nothing but itself.

use hakudo_base::WallTime;
use hakudo_cib::Document;
use hakudo_scheduler::Transition;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use tokio::sync::mpsc;

/// A question to the scheduler.
pub(crate) struct Question {
    pub(crate) token: u64,
    pub(crate) cib: Document,
    pub(crate) now: WallTime,
}

/// Its answer.
pub(crate) struct Answer {
    pub(crate) token: u64,
    pub(crate) result: Result<Box<Transition>, String>,
}

/// Starts the thread.
///
/// # Errors
/// Where the system gives no thread.
pub(crate) fn start(answers: mpsc::UnboundedSender<Answer>) -> std::io::Result<Sender<Question>> {
    let (questions, queue) = channel::<Question>();
    std::thread::Builder::new().name("planner".into()).spawn(move || {
        while let Ok(Question { token, cib, now }) = queue.recv() {
            let plan = catch_unwind(AssertUnwindSafe(|| hakudo_scheduler::plan(&cib, now)));
            let result = plan.map(|plan| Box::new(plan.transition)).map_err(|panic| message(&*panic));
            if answers.send(Answer { token, result }).is_err() {
                return;
            }
        }
    })?;
    Ok(questions)
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the scheduler panicked without a word".into())
}

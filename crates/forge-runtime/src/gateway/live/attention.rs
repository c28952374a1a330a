//! What a connection is woken for.
//!
//! A task is woken without being told by what, and asking everything that it waits for costs more than what it is woken for most often: to
//! write a frame. So the rest has a waker of its own, which remembers that it was used, and is asked only then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Wakes a task, and remembers that it did.
#[derive(Debug)]
struct Flag {
    raised: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// Of what is asked only when it has something to say.
#[derive(Debug)]
pub(super) struct Attention {
    flag: Arc<Flag>,
    waker: Waker,
}

impl Attention {
    /// It is asked the first time in any case.
    pub(super) fn new() -> Self {
        let flag = Arc::new(Flag { raised: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { waker: flag.clone().into(), flag }
    }

    /// Asks, if the waker that was given the last time was used since, or there was an answer.
    pub(super) fn poll<T>(&self, cx: &mut Context<'_>, ask: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.flag.task.register(cx.waker());
        if !self.flag.raised.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let answer = ask(&mut Context::from_waker(&self.waker));
        if answer.is_ready() {
            // Perhaps there is more.
            self.flag.raised.store(true, Ordering::Release);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn it_asks_when_it_was_woken_and_as_long_as_there_are_answers() {
        let attention = Attention::new();
        let (mut asked, mut given) = (0, None);
        let mut poll = |answer: Poll<()>| {
            let task = noop_waker();
            let _ = attention.poll(&mut Context::from_waker(&task), |cx| {
                (asked, given) = (asked + 1, Some(cx.waker().clone()));
                answer
            });
            (asked, given.clone())
        };
        assert_eq!(poll(Poll::Ready(())).0, 1);
        assert_eq!(poll(Poll::Pending).0, 2);
        let (times, waker) = poll(Poll::Pending);
        assert_eq!(times, 2, "nothing has happened");
        waker.unwrap().wake();
        assert_eq!(poll(Poll::Pending).0, 3);
        assert_eq!(poll(Poll::Pending).0, 3);
    }
}
